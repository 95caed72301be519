"""`LookaheadPredictor`: scores candidates by the responses it foresees."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from lookahead_router.backends.base import Backend, checked_logits
from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    PoolMismatchError,
    PredictionError,
    TruncatedPromptWarning,
)
from lookahead_router.metrics import sigmoid
from lookahead_router.networks.configuration import NetworkConfig
from lookahead_router.predictors.base import prompt_texts
from lookahead_router.predictors.calibration import Calibration
from lookahead_router.predictors.network import open_network
from lookahead_router.predictors.passes import passes
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.prompts import Prompt
from lookahead_router.saved.find import EMBEDDED, Found, LoadOptions, check_unchanged, find
from lookahead_router.saved.folder import WEIGHTS, PredictorFolder
from lookahead_router.types import CandidatePool, Prediction

if TYPE_CHECKING:
    from lookahead_router.saved.push import Upload


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
        self.found: Found | None = None
        """Where it was loaded from; `None` for one just built."""
        self._has_warned = False

    @classmethod
    def load(cls, location: str | Path | None = None, **options: Unpack[LoadOptions]) -> "LookaheadPredictor":
        """The predictor of a folder, of a repository of the Hugging Face Hub, or the embedded one.

        Args:
            location: folder of a saved predictor, or `org/name` on the Hub; the embedded default when absent.
            options: `backend`: `onnx-int8`, `onnx`, `torch`, or `auto` for the first of them that is there;
                `n_threads` of one ONNX pass, the physical cores that this process may use when absent; and
                `revision`, `token`, `cache_dir`, `local_files_only` and `endpoint`, for a repository.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
            HubError: the repository cannot be read.
            ConfigurationError: an unknown backend, no count of threads, or options of the Hub for a folder.
            MissingDependencyError: the torch backend without torch.
        """
        return cls.from_found(find(location, EMBEDDED, **options))

    @classmethod
    def from_found(cls, found: Found) -> "LookaheadPredictor":
        """The predictor of a folder that was found; see `load`."""
        with found.folder.named_in_errors():
            network = open_network(found, "lookahead")
            pool, curves = found.folder.read_pool(), found.folder.calibration
            predictor = cls(
                pool=pool,
                network=network.configuration,
                tokenizer=network.tokenizer,
                backend=network.backend,
                name=network.name,
                revision=network.revision,
                calibration=Calibration.read(curves, pool.names) if curves.is_file() else None,
            )
            ids, mask = left_pad(predictor.tokenizer.encode(["a", "a"])[0], predictor.tokenizer.pad_token_id)
            try:  # weights that give no scores are told now, not at the first prompt
                checked_logits(predictor.backend, ids, mask, len(pool))
            except PredictionError as error:
                raise CheckpointError(str(error), location=found.folder.location) from error
        predictor.found = found
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

        def run(backend: Backend, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return checked_logits(backend, ids, mask, len(self.pool))

        for batch, found in passes(self.backend, rows, self.tokenizer.pad_token_id, run):
            logits[batch] = found
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
        source = self._found_folder()
        source.check(needs_weights=backend is None)
        if backend is not None:
            source.choose_weights(backend)
        others = set() if backend is None else {name for key, name in WEIGHTS.items() if key != backend}
        with source.copied(folder, [name for name in source.names() if name not in others]) as copy:
            copy.forget_absent_files()

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
        from lookahead_router.saved.push import push_folder

        return push_folder(self._found_folder().path, repo_id, **options)

    def _found_folder(self) -> PredictorFolder:
        if self.found is None:
            raise ConfigurationError("this predictor was not loaded from a folder; save the network it was built from")
        return self.found.folder

    def __reduce__(self) -> tuple[Any, ...]:
        if self.found is None:
            raise ConfigurationError("only a predictor loaded from a folder can be pickled; save it and load it")
        return _load_again, (self.found, self.revision)

    def __deepcopy__(self, memo: dict[int, Any]) -> "LookaheadPredictor":
        return self

    def __repr__(self) -> str:
        return f"LookaheadPredictor({self.name!r}, {len(self.pool)} candidates, backend={self.backend.name!r})"


def _load_again(found: Found, revision: str) -> LookaheadPredictor:
    predictor = LookaheadPredictor.from_found(found)
    check_unchanged(found, revision, predictor.revision)
    return predictor
