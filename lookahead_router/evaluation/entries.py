"""What every predictor says of a dataset's prompts: fitted where need be, asked once, kept for the next time."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lookahead_router import __version__
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError
from lookahead_router.evaluation.measure import Predicted
from lookahead_router.files import replacing_file, write_text
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.calibration import MIN_CALIBRATION_PROMPTS
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.predictors.fitted.base import FittedPredictor
from lookahead_router.predictors.load import load_predictor
from lookahead_router.types import Prediction


@dataclass(frozen=True)
class Entry:
    """A predictor to compare, under a label of its own."""

    label: str
    baseline: str | None = None
    """Kind of baseline to fit on the training split."""
    locations: tuple[str | None, ...] = ()
    """Saved predictors otherwise; those with the dataset's candidates are its seeds. `None` is the embedded one."""


@dataclass(frozen=True)
class Predictions:
    """Asks predictors about the prompts of one dataset."""

    rows: RoutingDataset
    """Prompts to route."""
    train: RoutingDataset | None
    """What baselines are fitted on, the same candidates in the same order."""
    validation: RoutingDataset | None
    """What they are calibrated on; they stay uncalibrated without it."""
    embedder: Callable[[], Embedder]
    """Gives the encoder that they share, called when one needs it."""
    cache: Path | None
    """Folder for fits and scores; nothing is kept without it."""
    n_seeds: int
    """Fits of each baseline that is random."""

    @cached_property
    def _asked(self) -> str:
        return self.rows.fingerprint()

    @cached_property
    def _learnt_from(self) -> tuple[str, str]:
        return tuple("" if part is None else part.fingerprint() for part in (self.train, self.validation))

    def of(self, entry: Entry) -> Iterator[Predicted]:
        """What every seed of a predictor says.

        Raises:
            LookaheadRouterError: it cannot be fitted, loaded, or used for these candidates.
        """
        if entry.baseline is None:
            for predictor in self._fitting(entry.locations):
                yield self._ask(predictor, None)
            return
        kind = fitted_class(entry.baseline)
        if self.train is None:
            raise ConfigurationError("no training split to fit it on; give one in the file, or with --fit-data")
        encoder = self.embedder() if kind.reads_embeddings else None
        for seed in range(self.n_seeds if kind.is_random else 1):
            predictor, seconds = self._fit(kind(embedder=encoder, seed=seed))
            yield self._ask(predictor, seconds)

    def _fitting(self, locations: Sequence[str | None]) -> list[Predictor]:
        """The saved predictors whose candidates are the dataset's.

        Raises:
            PoolMismatchError: of the only one, if they are others.
            ConfigurationError: none of several.
        """
        loaded = [load_predictor(location) for location in locations]
        fitting = [one for one in loaded if set(one.pool.names) == set(self.rows.pool.names)]
        if not fitting and len(loaded) == 1:
            self.rows.align(loaded[0].pool)
        if not fitting:
            raise ConfigurationError("none of its saved predictors has the candidates of this dataset")
        return fitting

    def _fit(self, baseline: FittedPredictor) -> tuple[Predictor, float]:
        """The fitted baseline, out of the cache if it is there, and how long it took without embeddings."""
        settings = json.dumps(baseline.settings.model_dump(), sort_keys=True)
        encoder = "" if baseline.embedder is None else baseline.embedder.fingerprint
        key = _key(baseline.kind, settings, encoder, *self._learnt_from)
        folder = None if self.cache is None else self.cache / "baselines" / f"{baseline.kind}-{key}"
        if folder is not None:
            with suppress(OSError, ValueError, KeyError):  # nothing there, or damaged: it is fitted again
                loaded = type(baseline).load(folder, embedder=baseline.embedder)
                return loaded, json.loads(folder.with_suffix(".json").read_bytes())["fit_seconds"]
        for dataset in (self.train, self.validation):
            if dataset is not None:
                _embed_ahead(baseline, dataset)
        start = time.perf_counter()
        baseline.fit(self.train)
        seconds = time.perf_counter() - start
        if (
            self.validation is not None
            and (~np.isnan(self.validation.scores)).sum(axis=0).min() >= MIN_CALIBRATION_PROMPTS
        ):
            baseline.fit_calibration(self.validation)
        if folder is not None:
            with suppress(ConfigurationError):  # something else is there: it is used all the same, and not kept
                baseline.save(folder)
                write_text(folder.with_suffix(".json"), json.dumps({"fit_seconds": seconds}))
        return baseline, seconds

    def _ask(self, predictor: Predictor, fit_seconds: float | None) -> Predicted:
        """What it foresees for all prompts, in the dataset's columns, out of the cache if it is there."""
        backend = getattr(getattr(predictor, "backend", None), "name", "")
        key = _key(predictor.name, str(predictor.revision), backend, self._asked)
        path = None if self.cache is None else self.cache / "predictions" / f"{key}.npz"
        prediction = seconds = None
        if path is not None:
            with suppress(OSError, ValueError, EOFError, KeyError, BadZipFile):  # nothing there, or damaged
                kept = dict(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False))
                seconds = float(kept.pop("seconds"))
                prediction = Prediction(predictor.pool, **kept)
        if prediction is None:
            embedder = getattr(predictor, "embedder", None)
            if embedder is not None and self.cache is not None:
                embedder.cache = embedder.cache or self.cache / "embeddings"
            _embed_ahead(predictor, self.rows)
            start = time.perf_counter()
            prediction = predictor.predict(self.rows.prompts)
            seconds = time.perf_counter() - start
            if path is not None:
                arrays = {name: values for name, values in vars(prediction).items() if isinstance(values, np.ndarray)}
                with replacing_file(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, seconds=seconds, **arrays)
        prediction = prediction.select(self.rows.pool.names)
        return Predicted(str(predictor.revision), prediction, fit_seconds, seconds)


def _key(*parts: str) -> str:
    """A file name for what these parts, and this version of the library, determine."""
    return hashlib.sha256(json.dumps([__version__, *parts]).encode()).hexdigest()[:24]


def _embed_ahead(predictor: Predictor, rows: RoutingDataset) -> None:
    """Has the embeddings of the rows kept, so that they do not count in the time of what follows."""
    embedder = getattr(predictor, "embedder", None)
    if embedder is not None and embedder.cache is not None:
        embedder.embed(rows.prompts)
