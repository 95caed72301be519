"""What every router of a comparison foresees: loaded or fitted where need be, asked once, kept for the next time."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lookahead_router import __version__
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, PoolMismatchError
from lookahead_router.evaluation.prices import expected_pool
from lookahead_router.files import replacing_file, write_text
from lookahead_router.policies import Policy, checked_utilities
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.calibration import MIN_CALIBRATION_PROMPTS
from lookahead_router.predictors.embedder import BLOCK_SIZE, Embedder
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.predictors.fitted.base import FittedPredictor
from lookahead_router.predictors.load import load_predictor
from lookahead_router.prompts import Prompt, Request
from lookahead_router.router import Router
from lookahead_router.types import CandidatePool, Prediction

Tell = Callable[[str, float], None]
"""Told what is being done, and what share of it is."""
Ask = Callable[[Predictor, Sequence[Sequence[str]]], Iterable[Prediction]]
"""Has a predictor predict blocks of prompts; a prediction for each, in their order."""


def ask_here(predictor: Predictor, blocks: Sequence[Sequence[str]]) -> Iterator[Prediction]:
    """Predicts one block after the other in this process."""
    return map(predictor.predict, blocks)


@dataclass(frozen=True)
class Entry:
    """What takes part in a comparison, under a label of its own: a kind to fit, saved predictors, or a router."""

    label: str
    baseline: str | None = None
    """Kind of predictor to fit on the training split."""
    locations: tuple[str | None, ...] = ()
    """Saved predictors otherwise; those with the dataset's candidates are its seeds. `None` is the embedded one."""
    router: Router | None = None
    """Or a router, with its own policy, names, prices and restriction."""
    backend: str = "auto"
    """Backend of the saved predictors."""
    revision: str | None = None
    """Branch, tag or commit of the saved predictors on the Hub."""


@dataclass(frozen=True)
class Foreseen:
    """A router, and what it foresees for all prompts of a dataset."""

    router: Router
    prediction: Prediction
    """Over the router's pool."""
    fit_seconds: float | None
    predict_seconds: float | None

    def choices(self, pool: CandidatePool) -> np.ndarray:
        """The columns of `pool` that the router decides for, `(n_prompts,)`."""
        columns = np.array([pool.index(name) for name in self.router.pool.names])
        return columns[checked_utilities(self.router.policy, self.prediction, self.router.pool).argmax(axis=1)]

    def scores(self, pool: CandidatePool) -> np.ndarray:
        """Predicted scores in the columns of `pool`, `(n_prompts, n_candidates)`; -inf for who is never chosen."""
        found = np.full((len(self.prediction), len(pool)), -np.inf)
        excluded = self.router.excluded
        for column, name in enumerate(self.router.pool.names):
            if name not in excluded:
                found[:, pool.index(name)] = self.prediction.scores[:, column]
        return found


@dataclass(frozen=True)
class Foresight:
    """Asks routers about the prompts of one dataset."""

    rows: RoutingDataset
    """Prompts to route."""
    train: RoutingDataset | None
    """What predictors are fitted on, the same candidates in the same order."""
    validation: RoutingDataset | None
    """What they are calibrated on; they stay uncalibrated without it."""
    policy: Policy
    """The policy of all but routers, which bring their own."""
    embedder: Callable[[], Embedder]
    """Gives the encoder that they share, called when one needs it."""
    cache: Path | None
    """Folder for fits and predictions; nothing is kept without it."""
    n_seeds: int
    """Fits of each predictor that is random."""
    ask: Ask = ask_here
    """Predicts, for predictors that need no embeddings: these are kept here."""

    @cached_property
    def _asked(self) -> str:
        return self.rows.fingerprint()

    @cached_property
    def _learnt_from(self) -> tuple[str, str]:
        return tuple("" if part is None else part.fingerprint() for part in (self.train, self.validation))

    def of(self, entry: Entry, tell: Tell = lambda what, share: None) -> Iterator[Foreseen]:
        """What every seed of an entry foresees.

        Args:
            entry: one router, or all seeds of a predictor.
            tell: told of steps that take long.

        Raises:
            LookaheadRouterError: it cannot be fitted, loaded, or used for these candidates.
        """
        if entry.router is not None:
            self._check_pool(entry.router.pool)
            yield self._ask(entry.router, None, tell)
        elif entry.baseline is None:
            fitting = self._fitting(entry)
            for seed, predictor in enumerate(fitting):
                yield self._ask(self._router(predictor), None, within(tell, seed, seed + 1, of=len(fitting)))
        else:
            kind = fitted_class(entry.baseline)
            if self.train is None:
                raise ConfigurationError("no training split to fit it on; give one in the file, or with --fit-data")
            encoder = self.embedder() if kind.reads_embeddings else None
            n_seeds = self.n_seeds if kind.is_random else 1
            for seed in range(n_seeds):
                fit, ask = (within(tell, at, at + 0.5, of=n_seeds) for at in (seed, seed + 0.5))
                predictor, seconds = self._fit(kind(embedder=encoder, seed=seed), fit)
                yield self._ask(self._router(predictor), seconds, ask)

    def _router(self, predictor: Predictor) -> Router:
        """The predictor under the comparison's policy, at the expected prices."""
        pool = expected_pool(predictor.pool, self.train, self.validation, self.rows)
        return Router(predictor, policy=self.policy, aliases=dict(zip(predictor.pool.names, pool, strict=True)))

    def _check_pool(self, pool: CandidatePool) -> None:
        """Raises `PoolMismatchError` where the router may choose a candidate whose answers are not known."""
        if not set(pool.names) <= set(self.rows.pool.names):
            raise PoolMismatchError(pool.names, self.rows.pool.names)

    def _fitting(self, entry: Entry) -> list[Predictor]:
        """The saved predictors whose candidates are the dataset's; of the only one, some of them are enough.

        Raises:
            PoolMismatchError: of the only one, if it has others.
            ConfigurationError: none of several.
        """
        options = {"backend": entry.backend, "revision": entry.revision}
        loaded = [load_predictor(location, **options) for location in entry.locations]
        fitting = [one for one in loaded if set(one.pool.names) == set(self.rows.pool.names)]
        if not fitting and len(loaded) == 1:
            self._check_pool(loaded[0].pool)
            return loaded
        if not fitting:
            raise ConfigurationError("none of its saved predictors has the candidates of this dataset")
        return fitting

    def _fit(self, predictor: FittedPredictor, tell: Tell) -> tuple[Predictor, float]:
        """The fitted predictor, out of the cache if it is there, and how long it took without embeddings."""
        settings = json.dumps(predictor.settings.model_dump(), sort_keys=True)
        encoder = "" if predictor.embedder is None else predictor.embedder.fingerprint
        key = _key(predictor.kind, settings, encoder, *self._learnt_from)
        folder = None if self.cache is None else self.cache / "baselines" / f"{predictor.kind}-{key}"
        if folder is not None:
            with suppress(OSError, ValueError, KeyError):  # nothing there, or damaged: it is fitted again
                loaded = type(predictor).load(folder, embedder=predictor.embedder)
                return loaded, json.loads(folder.with_suffix(".json").read_bytes())["fit_seconds"]
        for at, dataset in enumerate((self.train, self.validation)):
            if dataset is not None:
                _embed_ahead(predictor, dataset, within(tell, at, at + 1, of=3))
        tell("fitting", 2 / 3)
        start = time.perf_counter()
        predictor.fit(self.train)
        seconds = time.perf_counter() - start
        if (
            self.validation is not None
            and (~np.isnan(self.validation.scores)).sum(axis=0).min() >= MIN_CALIBRATION_PROMPTS
        ):
            predictor.fit_calibration(self.validation)
        if folder is not None:
            with suppress(ConfigurationError):  # something else is there: it is used all the same, and not kept
                predictor.save(folder)
                write_text(folder.with_suffix(".json"), json.dumps({"fit_seconds": seconds}))
        return predictor, seconds

    def _ask(self, router: Router, fit_seconds: float | None, tell: Tell) -> Foreseen:
        """What the router foresees for all prompts, out of the cache if it is there."""
        predictor = router.predictor
        path = None
        if self.cache is not None and predictor.revision is not None:  # without one it may be anything
            backend = getattr(getattr(predictor, "backend", None), "name", "")
            key = _key(predictor.name, predictor.revision, backend, self._asked)
            path = self.cache / "predictions" / f"{key}.npz"
        prediction = seconds = None
        if path is not None:
            with suppress(OSError, ValueError, EOFError, KeyError, BadZipFile):  # nothing there, or damaged
                kept = dict(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False))
                seconds = float(kept.pop("seconds"))
                prediction = router.over_pool(Prediction(predictor.pool, **kept), len(self.rows))
        if prediction is None:
            embedder = getattr(predictor, "embedder", None)
            if isinstance(embedder, Embedder) and self.cache is not None:
                embedder.cache = embedder.cache or self.cache / "embeddings"
            _embed_ahead(predictor, self.rows, within(tell, 0, 1, of=2))
            start = time.perf_counter()
            ask, told = (self.ask, tell) if embedder is None else (ask_here, within(tell, 1, 2, of=2))
            reads_context = getattr(predictor, "reads_context", False)
            prompts = self.rows.requests() if reads_context else self.rows.prompts
            asked = _predict(predictor, prompts, ask, told)
            seconds = time.perf_counter() - start
            prediction = router.over_pool(asked, len(self.rows))
            if path is not None:
                with replacing_file(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, seconds=seconds, **_arrays(asked))
        return Foreseen(router, prediction, fit_seconds, seconds)


def _key(*parts: str) -> str:
    """A file name for what these parts, and this version of the library, determine."""
    return hashlib.sha256(json.dumps([__version__, *parts]).encode()).hexdigest()[:24]


def within(tell: Tell, low: float, high: float, *, of: float = 1.0) -> Tell:
    """Progress of a part of what is told, from `low` to `high` of so many."""
    return lambda what, share: tell(what, (low + (high - low) * share) / of)


def _embed_ahead(predictor: Predictor, rows: RoutingDataset, tell: Tell) -> None:
    """Has the embeddings of the rows kept, so that they do not count in the time of what follows."""
    embedder = getattr(predictor, "embedder", None)
    if isinstance(embedder, Embedder) and embedder.cache is not None:
        for at in range(0, len(rows), BLOCK_SIZE):
            tell("embedding", at / len(rows))
            embedder.embed(rows.prompts[at : at + BLOCK_SIZE])


def _predict(predictor: Predictor, prompts: Sequence[Prompt | Request], ask: Ask, tell: Tell) -> Prediction:
    """The prediction for all prompts, asked for in parts: a row depends on its prompt alone."""
    blocks = [prompts[at : at + BLOCK_SIZE] for at in range(0, len(prompts), BLOCK_SIZE)]
    parts = []
    tell("predicting", 0.0)
    for part in ask(predictor, blocks):
        parts.append(part)
        tell("predicting", len(parts) / len(blocks))
    return _joined(parts)


def _joined(parts: Sequence[Prediction]) -> Prediction:
    """One prediction of the rows of several."""
    arrays = [_arrays(part) for part in parts]
    return Prediction(parts[0].pool, **{name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]})


def _arrays(prediction: Prediction) -> dict[str, np.ndarray]:
    """The arrays of a prediction that are there, by the names of its fields."""
    values = {field.name: getattr(prediction, field.name) for field in fields(prediction) if field.name != "pool"}
    return {name: value for name, value in values.items() if value is not None}
