"""`LookaheadPredictor`: scores candidates by the responses it foresees."""

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from pydantic import ValidationError

from lookahead_router.backends.base import Backend, checked_logits
from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    PoolMismatchError,
    PredictionError,
    TruncatedPromptWarning,
)
from lookahead_router.files import replacing_folder
from lookahead_router.hub import HubOptions, is_repo_id
from lookahead_router.metrics import sigmoid
from lookahead_router.networks.configuration import NetworkConfig, parse_network_config
from lookahead_router.predictors.base import prompt_texts
from lookahead_router.predictors.calibration import Calibration
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.prompts import Prompt
from lookahead_router.saved.fetch import fetch, refuse_options
from lookahead_router.saved.folder import PredictorConfig, PredictorFolder
from lookahead_router.threads import check_n_threads
from lookahead_router.types import CandidatePool, Prediction, describe

if TYPE_CHECKING:
    from lookahead_router.saved.push import Upload

EMBEDDED = Path(__file__).parent.parent / "pretrained" / "Llama-lookahead-mlm-minilm"
"""The predictor in the wheel."""

WEIGHTS = {"onnx-int8": "onnx/model_int8.onnx", "onnx": "onnx/model.onnx", "torch": "model.safetensors"}
"""The file that each backend runs, in the order of preference."""
BACKENDS = ("auto", *WEIGHTS)


class LookaheadPredictor:
    """A trained Lookahead network with its tokenizer and pool, ready to predict.

    Safe under threads. Pickling stores the location and loads again; a deep copy is the same object,
    so weights are never in memory twice.
    """

    def __init__(
        self,
        *,
        pool: CandidatePool,
        network: NetworkConfig,
        tokenizer: PromptTokenizer,
        backend: Backend,
        name: str = "lookahead",
        revision: str | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        """Puts loaded parts together; `load` is what users call.

        Raises:
            PoolMismatchError: the network has another number of candidates than the pool.
        """
        if network.n_candidates != len(pool):
            raise PoolMismatchError(
                [f"{network.n_candidates} candidates"], [f"{len(pool)} candidates"], where="the saved pool"
            )
        self.pool = pool
        self.network = network
        self.tokenizer = tokenizer
        self.backend = backend
        self.name = name
        self.revision = revision
        self.calibration = calibration
        """Curves from scores to probabilities; `None` where the predictor was not calibrated."""
        self.location: Path | None = None
        """The folder it was loaded from, in the cache for one of the Hub; `None` for the embedded one and for
        one just built."""
        self._root: Path | None = None
        self._reload: tuple | None = None
        self._has_warned = False

    @classmethod
    def load(
        cls,
        location: str | Path | None = None,
        *,
        backend: str = "auto",
        n_threads: int | None = None,
        **hub: Unpack[HubOptions],
    ) -> "LookaheadPredictor":
        """The predictor of a folder, of a repository of the Hugging Face Hub, or the embedded one.

        Args:
            location: folder of a saved predictor, or `org/name` on the Hub; the embedded default when absent.
            backend: `onnx-int8`, `onnx`, `torch`, or `auto` for the first of them that is there.
            n_threads: threads of one ONNX pass; the physical cores that this process may use when absent.
            hub: `revision`, `token`, `cache_dir`, `local_files_only` and `endpoint`, for a repository.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
            HubError: the repository cannot be read.
            ConfigurationError: an unknown backend, no count of threads, or options of the Hub for a folder.
            MissingDependencyError: the torch backend without torch.
        """
        if backend not in BACKENDS:
            raise ConfigurationError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
        check_n_threads(n_threads)
        if is_repo_id(location):
            return cls._load_repository(location, backend, n_threads, hub)
        refuse_options(hub, location)
        folder = PredictorFolder(EMBEDDED if location is None else Path(location))
        predictor = cls._open(folder, backend, n_threads)
        predictor.location = None if location is None else folder.path
        options = {"backend": predictor.backend.name, "n_threads": n_threads}
        reload = cls.load, (None if location is None else folder.path.absolute(),), options
        predictor._reload = (*reload, predictor.revision)
        return predictor

    @classmethod
    def _load_repository(
        cls, repo_id: str, backend: str, n_threads: int | None, hub: HubOptions
    ) -> "LookaheadPredictor":
        folder = fetch(repo_id, list(WEIGHTS.values()) if backend == "auto" else [WEIGHTS[backend]], hub)
        with folder.named_in_errors():
            predictor = cls._open(folder, backend, n_threads)
        predictor.location, predictor._root = folder.path, folder.root
        # Another process may stand elsewhere and be online. A token is a secret, but `False` is a choice.
        again = {**hub, "revision": folder.commit, "local_files_only": False}
        if hub.get("cache_dir") is not None:
            again["cache_dir"] = Path(hub["cache_dir"]).absolute()
        if hub.get("token") is not False:
            again.pop("token", None)
        arguments = (repo_id, predictor.backend.name, n_threads, again)
        predictor._reload = (cls._load_repository, arguments, {}, predictor.revision)
        return predictor

    @classmethod
    def _open(cls, folder: PredictorFolder, backend: str, n_threads: int | None) -> "LookaheadPredictor":
        folder.check(needs_weights=backend == "auto")  # a named backend says itself what it lacks
        config = folder.read_config()
        pool = folder.read_pool()
        network = network_config(config, folder)
        weights, backend = choose_backend(folder, backend)
        folder.verify(config, [folder.pool, folder.tokenizer, weights, folder.calibration])
        predictor = cls(
            pool=pool,
            network=network,
            tokenizer=PromptTokenizer.of(network, PromptTokenizer.read(folder.tokenizer)),
            backend=_open_backend(backend, weights, network, n_threads),
            name=config.name,
            revision=folder.revision(config),
            calibration=(Calibration.read(folder.calibration, pool.names) if folder.calibration.is_file() else None),
        )
        ids, mask = left_pad(predictor.tokenizer.encode(["a", "a"])[0], network.pad_token_id)
        try:  # weights that give no scores are told now, not at the first prompt
            checked_logits(predictor.backend, ids, mask, len(pool))
        except PredictionError as error:
            raise CheckpointError(str(error), location=folder.location) from error
        return predictor

    def predict(self, prompts: Sequence[Prompt]) -> Prediction:
        """Predicted scores, and probabilities where the predictor is calibrated.

        A score is relative to the pool: by the objective of training, the predicted chance to be near the
        best on this prompt (paper §4), the expected place between its worst (0) and best (1), or 0.5 plus
        the expected score above the candidates' mean. It is not the chance to be right; the probability is:
        on prompts like those of the calibration, of the answers with probability 0.7 about seven in ten are
        good. Each probability is read from that candidate's score alone.

        Batches are sorted by length and hold no more prompts than the backend keeps apart; row `i`
        depends on prompt `i` only.

        Raises:
            PromptError: a prompt that cannot be routed; says which.
            PredictionError: the weights give no scores.
        """
        rows, is_truncated = self.tokenizer.encode(prompt_texts(prompts))
        if is_truncated.any() and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"a prompt is longer than the window of {self.network.max_prompt_tokens} tokens; "
                "its middle is left out (said once)",
                TruncatedPromptWarning,
                stacklevel=2,
            )
        logits = np.empty((len(rows), len(self.pool)), dtype=np.float64)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), self.backend.max_batch_size):
            batch = by_length[start : start + self.backend.max_batch_size]
            ids, mask = left_pad([rows[row] for row in batch], self.tokenizer.pad_token_id)
            logits[batch] = checked_logits(self.backend, ids, mask, len(self.pool))
        scores = sigmoid(logits)
        curves = self.calibration
        probabilities = None if curves is None else curves.probabilities(scores, self.pool.names)
        return Prediction(self.pool, scores, probabilities)

    def save(self, folder: str | Path, *, backend: str | None = None) -> None:
        """Copies the saved predictor to another folder, whole or not at all.

        Args:
            folder: new, or that of a saved predictor, which is replaced.
            backend: copy the weights of this backend alone, for a small folder that routes; all when absent.

        Raises:
            ConfigurationError: it was not loaded from a folder, so there is nothing to copy; or an unknown backend.
            CheckpointError: the weights of that backend are not there.
        """
        if backend is not None and backend not in WEIGHTS:
            raise ConfigurationError(f"unknown backend {backend!r}; choose one of {', '.join(WEIGHTS)}")
        if self._reload is None:
            raise ConfigurationError("this predictor was not loaded from a folder; save the network it was built from")
        source = PredictorFolder(EMBEDDED if self.location is None else self.location, root=self._root)
        source.check(needs_weights=backend is None)
        if backend is not None:
            choose_backend(source, backend)
        target = PredictorFolder(Path(folder))
        if target.path.exists() and not target.holds_nothing_else():
            raise ConfigurationError(f"{folder} exists and holds more than a saved predictor; choose another folder")
        others = set() if backend is None else {name for key, name in WEIGHTS.items() if key != backend}
        copied = [name for name in source.names() if name not in others and (source.path / name).is_file()]
        source.verify(source.read_config(), [source.path / name for name in copied])
        with replacing_folder(target.path) as temporary:
            for name in copied:
                (temporary / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source.path / name, temporary / name)
            PredictorFolder(temporary).forget_absent_files()

    def push_to_hub(self, repo_id: str, **options: Any) -> "Upload":
        """Sends the folder that this predictor was loaded from to the Hugging Face Hub, in one commit.

        Args:
            repo_id: `org/name`; created, private, if need be.
            options: those of `lookahead_router.saved.push.push_folder`: `private`, `revision`, `tag`, `create_pr`,
                `message`, `dry_run`, `token`, `endpoint`.

        Raises:
            ConfigurationError: it was not loaded from a folder.
            CheckpointError: the folder is incomplete, damaged, or without a card.
            HubError: the Hub refused or cannot be reached.
        """
        if self._reload is None:
            raise ConfigurationError("this predictor was not loaded from a folder; save the network it was built from")
        from lookahead_router.saved.push import push_folder

        return push_folder(EMBEDDED if self.location is None else self.location, repo_id, **options)

    def __reduce__(self):
        if self._reload is None:
            raise ConfigurationError("only a predictor loaded from a folder can be pickled; save it and load it")
        return _load_again, self._reload

    def __deepcopy__(self, memo: dict) -> "LookaheadPredictor":
        return self

    def __repr__(self) -> str:
        return f"LookaheadPredictor({self.name!r}, {len(self.pool)} candidates, backend={self.backend.name!r})"


def _load_again(load: Callable, arguments: tuple, options: dict, revision: str) -> LookaheadPredictor:
    predictor = load(*arguments, **options)
    if predictor.revision != revision:
        # Columns that a pickled router remembers would go by other candidates.
        raise CheckpointError(
            f"changed since it was pickled: it was {revision} and is {predictor.revision}; load it anew",
            location=str(arguments[0] or "the embedded predictor"),
        )
    return predictor


def network_config(config: PredictorConfig, folder: PredictorFolder) -> NetworkConfig:
    """The checked shape of the network.

    Raises:
        CheckpointError: malformed.
    """
    try:
        return parse_network_config(config.network)
    except ValidationError as error:
        raise CheckpointError(f"config.json, network: {describe(error)}", location=folder.location) from error


def choose_backend(folder: PredictorFolder, backend: str) -> tuple[Path, str]:
    """The file of weights that a backend runs, and its name; for `auto`, the first that is there.

    Raises:
        CheckpointError: it is not there.
    """
    if backend == "auto":
        backend = next(name for name, file in WEIGHTS.items() if (folder.path / file).is_file())
    name = WEIGHTS[backend]
    if not (folder.path / name).is_file():
        raise CheckpointError(f"no {name}, which the {backend} backend needs", location=folder.location, missing=[name])
    return folder.path / name, backend


def _open_backend(name: str, weights: Path, network: NetworkConfig, n_threads: int | None) -> Backend:
    if name == "torch":
        from lookahead_router.backends.torch import TorchBackend

        return TorchBackend.load(network, weights)
    from lookahead_router.backends.onnx import OnnxBackend

    return OnnxBackend(weights, n_threads=n_threads)
