"""`FittedPredictor`: a predictor that is fitted on a routing dataset in seconds, and its saved folder.

config.json         which kind, its settings, the embedder it reads, the revision that all files must give
pool.json           the candidates, in column order
arrays.npz          what was fitted
calibration.json    maps scores to probabilities, once calibrated
network/            the network whose embeddings it reads, unless these are a sentence encoder's, which is named
README.md           what it is, where `fit` made it
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import ConfigDict, Field

from lookahead_router.errors import CheckpointError, ConfigurationError, DataError, NotFittedError
from lookahead_router.files import replacing_folder
from lookahead_router.metrics import known_mean
from lookahead_router.predictors.base import read_requests
from lookahead_router.predictors.calibration import Calibration, fit_calibration
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.predictors.network_embedder import NETWORK, NetworkEmbedder
from lookahead_router.prompts import Prompt, Request
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.types import CandidatePool, Prediction
from lookahead_router.values import Value

if TYPE_CHECKING:  # a saved one routes without the data that it was fitted on
    from lookahead_router.data.dataset import RoutingDataset

FORMAT_VERSION = 1
FILES = frozenset({"config.json", "pool.json", "arrays.npz", "calibration.json", "README.md"})
Arrays = dict[str, np.ndarray]


class Settings(Value):
    """What every kind can be told."""

    model_config = ConfigDict(strict=True)

    seed: int = Field(default=0, ge=0)
    """Seed of whatever is random in fitting; `random` predicts by it."""


class FittedPredictor:
    """A predictor fitted on observed scores. Safe under threads once fitted, and picklable.

    A subclass gives `Settings`, `_fit` and `_predict`; what it learns is arrays.
    """

    kind: ClassVar[str]
    """The kind's name on the command line."""
    reads_embeddings: ClassVar[bool] = True
    """Whether `_fit` and `_predict` get embeddings of the prompts, or their texts."""
    reads_context: ClassVar[bool] = False
    """Whether passages that go along with a prompt change what is predicted."""
    is_random: ClassVar[bool] = True
    """Whether another seed gives another predictor."""
    Settings: ClassVar[type[Settings]] = Settings
    """Its settings, with their defaults and domains."""

    def __init__(self, *, embedder: Embedder | NetworkEmbedder | None = None, **settings: Any) -> None:
        """Takes the settings, and fits nothing yet.

        Args:
            embedder: the encoder of prompts, for a kind that reads embeddings.
            settings: those of the kind's `Settings`.

        Raises:
            ConfigurationError: an unknown setting, or a value out of its domain.
        """
        self.settings = self.Settings(**settings)
        self.embedder = embedder
        self.pool: CandidatePool | None = None
        """The candidates, in column order; `None` before `fit`."""
        self.calibration: Calibration | None = None
        """Curves from scores to probabilities; `None` before `fit_calibration`."""
        self.revision: str | None = None
        """Hash of settings, candidates and all that was fitted; `None` before `fit`."""
        self._arrays: Arrays | None = None

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings.model_dump().items())
        return f"{type(self).__name__}({settings})"

    @property
    def name(self) -> str:
        return self.kind

    def _hash(self) -> str:
        digest = hashlib.sha256(json.dumps([self.kind, self.settings.model_dump(), self.pool.names]).encode())
        digest.update(self.embedder.fingerprint.encode() if self.reads_embeddings else b"")
        for name, array in sorted(self._arrays.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()[:12]

    def fit(self, dataset: "RoutingDataset") -> Self:
        """Learns from the observed scores of a dataset; prompts without any are left out.

        Args:
            dataset: training prompts; scores may be missing for some candidates of a prompt.

        Raises:
            DataError: a candidate has no score at all.
            ConfigurationError: embeddings are needed and no embedder was given.
            MissingDependencyError: scikit-learn or torch is needed and not installed.
        """
        judged = ~np.isnan(dataset.scores)
        unjudged = [name for name, column in zip(dataset.pool.names, judged.T, strict=True) if not column.any()]
        if unjudged:
            raise DataError(f"no training prompt has a score of {', '.join(unjudged)}; judge some, or leave them out")
        rows = dataset.select(judged.any(axis=1))
        return self._keep(dataset.pool, self._fit_rows(rows))

    def _keep(self, pool: CandidatePool, fitted: Arrays) -> Self:
        self.pool, self.calibration = pool, None
        self._arrays = {name: np.asarray(array) for name, array in fitted.items()}
        self.revision = self._hash()
        return self

    def _fit_rows(self, rows: "RoutingDataset") -> Arrays:
        """What is learnt of prompts that each have a score, as arrays."""
        return self._fit(self._features(rows.requests()), rows.scores)

    def fit_calibration(self, dataset: "RoutingDataset") -> Self:
        """Fits the curves that map scores to probabilities of a good answer, on prompts that fitted nothing.

        Raises:
            NotFittedError: before `fit`.
            PoolMismatchError: other candidates.
            DataError: too few judged prompts.
        """
        dataset = dataset.align(self._fitted_pool())
        self.calibration = fit_calibration(self.predict(dataset.requests()).scores, dataset.scores, self.pool.names)
        return self

    def predict(self, prompts: Sequence[Prompt | Request]) -> Prediction:
        """Predicted scores, and probabilities once it is calibrated.

        Raises:
            NotFittedError: before `fit`.
            PromptError: a prompt that cannot be routed; says which.
        """
        pool = self._fitted_pool()
        requests = read_requests(prompts)
        scores = np.zeros((0, len(pool)))
        if requests:
            scores = np.clip(self._predict(self._features(requests), self._arrays).astype(np.float64), 0.0, 1.0)
        curves = self.calibration
        return Prediction(pool, scores, None if curves is None else curves.probabilities(scores, pool.names))

    def save(self, folder: str | Path) -> None:
        """Writes the fitted predictor, whole or not at all. A sentence encoder is named, and a network copied.

        Raises:
            NotFittedError: before `fit`.
            ConfigurationError: the folder holds something else, or the path is a file's.
        """
        self._fitted_pool()
        folder = Path(folder)
        if folder.exists() and not holds_nothing_else(folder):
            raise ConfigurationError(f"{folder} holds more than a saved predictor; choose another folder")
        config = {
            "format_version": FORMAT_VERSION,
            "predictor": self.kind,
            "revision": self.revision,
            "settings": self.settings.model_dump(),
        }
        if self.reads_embeddings:
            config["embedder"] = {"location": self.embedder.location, "fingerprint": self.embedder.fingerprint}
        with replacing_folder(folder) as temporary:
            (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            pool = json.dumps(self.pool.to_dict(), indent=2, ensure_ascii=False)
            (temporary / "pool.json").write_text(pool + "\n", encoding="utf-8")
            np.savez(temporary / "arrays.npz", **self._arrays)
            if self.reads_embeddings and isinstance(self.embedder, NetworkEmbedder):
                self.embedder.save(temporary)
            if self.calibration is not None:
                (temporary / "calibration.json").write_text(self.calibration.model_dump_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, *, embedder: Embedder | NetworkEmbedder | None = None) -> Self:
        """The predictor that `save` wrote.

        Args:
            folder: of this kind; `load_predictor` reads any.
            embedder: the one it was fitted with; loaded from where it was then when absent.

        Raises:
            CheckpointError: missing, damaged, of another kind, or the embedder is another one.
            HubError: its embedder is on the Hub and cannot be read.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_bytes())
            pool = CandidatePool(json.loads((folder / "pool.json").read_bytes())["candidates"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointError(f"not a saved predictor: {error}", location=str(folder)) from error
        kind = config.get("predictor") if isinstance(config, dict) else None
        if kind != cls.kind or config.get("format_version") != FORMAT_VERSION:
            found = f"{kind!r}, format {config.get('format_version')}" if kind else "something else"
            expected = f"expected {cls.kind!r}, format {FORMAT_VERSION}"
            raise CheckpointError(f"{expected}, found {found}; fit it again", location=str(folder))
        arrays = _read_arrays(folder)
        try:
            predictor = cls(**config["settings"])
        except (KeyError, TypeError, ConfigurationError) as error:
            raise CheckpointError(f"config.json, settings: {error}", location=str(folder)) from error
        if cls.reads_embeddings:
            predictor.embedder = _embedder_of(config, embedder, folder)
        predictor.pool, predictor._arrays = pool, arrays
        predictor.revision = predictor._hash()
        if predictor.revision != config.get("revision"):
            raise CheckpointError("its files were damaged or swapped; fit it again", location=str(folder))
        if (folder / "calibration.json").is_file():
            predictor.calibration = Calibration.read(folder / "calibration.json", pool.names)
        return predictor

    def _fit(self, features: Any, scores: np.ndarray) -> Arrays:
        """What is learnt, as arrays.

        Args:
            features: `(n, H)` unit embeddings, or `n` texts.
            scores: `(n, K)` observed, NaN where not judged; there is one in every row and every column.
        """
        raise NotImplementedError

    def _predict(self, features: Any, arrays: Arrays) -> np.ndarray:
        """`(n, K)` scores."""
        raise NotImplementedError

    def _features(self, requests: list[Request]) -> Any:
        texts = [request.text for request in requests]
        if not self.reads_embeddings:
            return texts
        if self.embedder is None:
            raise ConfigurationError(f"{self.kind} reads embeddings; pass embedder=Embedder.load(...)")
        return self.embedder.embed(texts)

    def _fitted_pool(self) -> CandidatePool:
        if self._arrays is None:
            raise NotFittedError(f"the {self.kind} predictor is not fitted; call fit(dataset) first")
        return self.pool


def holds_nothing_else(folder: Path) -> bool:
    """Whether it is a folder that is empty or holds a saved predictor of these kinds alone."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    if NETWORK in names and not PredictorFolder(folder / NETWORK).holds_nothing_else():
        return False
    return not names or ("arrays.npz" in names and names <= FILES | {NETWORK})


def _read_arrays(folder: Path) -> Arrays:
    try:
        with (folder / "arrays.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # those of zipfile, zlib and numpy share no base
        raise CheckpointError(f"arrays.npz cannot be read: {error}; fit it again", location=str(folder)) from error


def _embedder_of(config: dict, given: Embedder | NetworkEmbedder | None, folder: Path) -> Embedder | NetworkEmbedder:
    saved = config.get("embedder")
    if not isinstance(saved, dict) or not isinstance(saved.get("location"), str) or not saved["location"]:
        raise CheckpointError("config.json names no embedder; fit it again", location=str(folder))
    embedder = given
    if given is None:
        is_within = saved["location"] == NETWORK
        embedder = NetworkEmbedder.load(folder) if is_within else Embedder.load(saved["location"])
    if embedder.fingerprint != saved.get("fingerprint"):
        raise CheckpointError(
            f"fitted on embeddings of {saved.get('location')} ({saved.get('fingerprint')}), and the one given or "
            f"found there now is {embedder.fingerprint}; pass the right embedder, or fit it again",
            location=str(folder),
        )
    return embedder


def filled_scores(scores: np.ndarray) -> np.ndarray:
    """Observed scores `(n, K)`, missing ones as that candidate's mean."""
    return np.where(np.isnan(scores), known_mean(scores), scores)


def group_means(groups: np.ndarray, n_groups: int, scores: np.ndarray, *, prior_prompts: float) -> np.ndarray:
    """`(n_groups, K)` mean scores of each group's prompts, drawn to the mean of all as by that many more prompts.

    Args:
        groups: `(n,)` which group each prompt is in.
        n_groups: the number of groups; one may be empty.
        scores: `(n, K)`, NaN where not judged.
        prior_prompts: > 0.
    """
    overall = known_mean(scores)
    member = np.eye(n_groups)[groups]
    judged = ~np.isnan(scores)
    sums, counts = member.T @ np.where(judged, scores, 0.0), member.T @ judged
    return (sums + prior_prompts * overall) / (counts + prior_prompts)
