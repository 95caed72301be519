"""A small network reads a candidate's record, prompts and how it did on them, and foretells the next answer.

ICL-Router (arXiv 2510.09719) has an LLM of 7B parameters read the record in its context. Here one layer of attention
over frozen embeddings does. The network knows no candidate, so that whoever brings a record joins without training.
"""

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from lookahead_router.errors import DataError
from lookahead_router.extras import require
from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings
from lookahead_router.predictors.fitted.descending import scaled
from lookahead_router.types import CandidatePool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lookahead_router.data.dataset import RoutingDataset

MIN_RECORD = 20
"""Scored answers below which a record says little."""
SIZES = (10, 20, 50, 100, 200, 500)
"""Prompts on record, of which an episode of the training has some number."""
_ASKED, _HIDDEN, _AT_ONCE = 64, 16, 256
_ONE_SOURCE, _MOST_SOURCES = 0.3, 6


class InContextSettings(Settings):
    """What `in-context` can be told."""

    n_anchors: int = Field(default=500, ge=1)
    """Scored answers of each candidate that are kept as its record, as far as there are so many."""
    n_dimensions: int = Field(default=64, ge=1)
    n_heads: int = Field(default=8, ge=1)
    n_epochs: int = Field(default=30, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1.0, ge=0)


class InContext(FittedPredictor):
    """Attention from the prompt to the prompts on a candidate's record, whose scores move its mean.

    `onboard` adds candidates to a fitted one by their records alone.
    """

    kind = "in-context"
    Settings = InContextSettings

    def _fit_rows(self, rows: "RoutingDataset") -> Arrays:
        features, settings = self._features(rows.requests()), self.settings
        start = _start(features.shape[1], settings)
        draw = Episodes(rows.sources.astype(str))
        if len(rows) >= 3:  # a record, and a prompt that is not on it
            require("torch", "train")
            from lookahead_router.networks.episodes import train_reader

            network = train_reader(
                start,
                scaled(features).astype(np.float32),
                rows.scores,
                draw,
                n_steps=settings.n_epochs * -(-len(rows) // _ASKED),
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                min_record=min(5, len(rows) // 3),
                seed=settings.seed,
            )
        else:
            network = {name: np.asarray(value, dtype=np.float32) for name, value in start.items()}
        kept = self._kept(rows.scores)
        return {**network, "anchors": features[kept], "scores": rows.scores[kept]}

    def _kept(self, scores: np.ndarray) -> np.ndarray:
        """Rows that go on record: of every candidate `n_anchors` at random, or all that it has."""
        order = np.random.default_rng(self.settings.seed).permutation(len(scores))
        judged = ~np.isnan(scores)
        counts, kept = np.zeros(scores.shape[1], dtype=int), []
        for row in order:
            if (judged[row] & (counts < self.settings.n_anchors)).any():
                counts += judged[row]
                kept.append(row)
        return np.sort(kept)

    def onboard(self, dataset: "RoutingDataset", *, min_record: int = MIN_RECORD) -> Self:
        """A predictor that has read further records, without training. It is not calibrated; this one stays as it was.

        Args:
            dataset: scored answers of some candidates; those of other names join, and the records of known ones grow.
            min_record: scored answers that each of them has to have.

        Raises:
            NotFittedError: before `fit`.
            DataError: too few scored answers of a candidate.
        """
        pool, arrays = self._fitted_pool(), self._arrays
        counts = (~np.isnan(dataset.scores)).sum(axis=0)
        few = [f"{name} ({n})" for name, n in zip(dataset.pool.names, counts, strict=True) if n < min_record]
        if few:
            raise DataError(f"a record takes at least {min_record} scored answers; too few of {', '.join(few)}")
        rows = dataset.select((~np.isnan(dataset.scores)).any(axis=1))
        kept = self._kept(rows.scores)
        rows = rows.select(kept)
        joined = [candidate for candidate in dataset.pool if candidate.name not in pool.names]
        both = CandidatePool([*pool, *joined])
        scores = np.full((len(arrays["scores"]) + len(rows), len(both)), np.nan)
        scores[: len(arrays["scores"]), : len(pool)] = arrays["scores"]
        scores[len(arrays["scores"]) :, [both.index(name) for name in dataset.pool.names]] = rows.scores
        anchors = np.concatenate([arrays["anchors"], self._features(rows.requests())])
        return self._like(both, {**arrays, "anchors": anchors, "scores": scores})

    @property
    def n_on_record(self) -> dict[str, int]:
        """Scored answers on each candidate's record.

        Raises:
            NotFittedError: before `fit`.
        """
        names = self._fitted_pool().names
        return dict(zip(names, (~np.isnan(self._arrays["scores"])).sum(axis=0).tolist(), strict=True))

    def with_candidates(self, names: "Sequence[str]") -> Self:
        """A predictor of these candidates alone, in this order, by the same network and records. It is not calibrated.

        Raises:
            NotFittedError: before `fit`.
            UnknownCandidateError: a name that has no record.
        """
        pool, arrays = self._fitted_pool(), self._arrays
        columns = [pool.index(name) for name in names]
        scores = arrays["scores"][:, columns]
        kept = (~np.isnan(scores)).any(axis=1)
        chosen = CandidatePool([list(pool)[column] for column in columns])
        return self._like(chosen, {**arrays, "anchors": arrays["anchors"][kept], "scores": scores[kept]})

    def _like(self, pool: CandidatePool, arrays: Arrays) -> Self:
        return type(self)(embedder=self.embedder, **self.settings.model_dump())._keep(pool, arrays)

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        x, anchors = scaled(features), scaled(arrays["anchors"])
        key = np.einsum("nh,ahd->and", anchors, arrays["key"].astype(np.float64))
        parts = [log_odds(arrays, x[at : at + _AT_ONCE], key, arrays["scores"]) for at in range(0, len(x), _AT_ONCE)]
        return sigmoid(np.concatenate(parts))


def log_odds(network: Arrays, x: np.ndarray, key: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`(m, K)` log-odds of good answers to the prompts `x` `(m, H)`.

    Args:
        network: the parameters, by name.
        x: embeddings at unit variance a dimension.
        key: `(n_heads, n, D)` of the prompts on record.
        scores: `(n, K)` on record, NaN where there is none.
    """
    judged = (~np.isnan(scores)).astype(np.float64)
    known = np.where(judged == 1, scores, 0.0)
    query = np.einsum("nh,ahd->and", x, network["query"].astype(np.float64))
    fit = query @ key.transpose(0, 2, 1) / key.shape[2] ** 0.5
    weight = np.exp(np.maximum(fit - fit.max(axis=2, keepdims=True), -20))
    n, total, squares = judged.sum(axis=0), known.sum(axis=0), (known**2).sum(axis=0)
    mean, count = (total + 0.5) / (n + 1), np.maximum(n, 1)
    spread = np.sqrt(np.maximum(squares / count - (total / count) ** 2, 1e-12))
    mass = np.maximum(weight @ judged, 1e-9)
    shift = weight @ ((known - mean) * judged) / mass
    focus = weight**2 @ judged / mass**2
    about = np.broadcast_to(np.stack([mean, spread, np.log(n + 1) / 6], axis=1), (len(x), len(mean), 3))
    seen = np.concatenate([shift.transpose(1, 2, 0), focus.transpose(1, 2, 0), about], axis=2)
    hidden = np.tanh(seen @ network["inner"] + network["inner_bias"]) @ network["outer"] + network["outer_bias"]
    bounded = np.clip(mean, 0.02, 0.98)
    return np.log(bounded / (1 - bounded)) + np.tensordot(network["trust"], shift, 1) + spread * hidden


def _start(width: int, settings: InContextSettings) -> Arrays:
    """Query and key alike, so that attention begins as nearest neighbours."""
    generator = np.random.default_rng(settings.seed)
    n_heads, n_seen = settings.n_heads, 2 * settings.n_heads + 3
    alike = generator.normal(0, width**-0.5, (n_heads, width, settings.n_dimensions))
    return {
        "query": alike,
        "key": alike.copy(),
        "trust": np.full(n_heads, 4.0 / n_heads),
        "inner": generator.normal(0, n_seen**-0.5, (n_seen, _HIDDEN)),
        "inner_bias": np.zeros(_HIDDEN),
        "outer": generator.normal(0, 0.1 * _HIDDEN**-0.5, _HIDDEN),
        "outer_bias": np.zeros(1),
    }


class Episodes:
    """Draws prompts on record and prompts that are asked, of one source or of several in equal shares."""

    def __init__(self, sources: np.ndarray) -> None:
        """Takes the `(n,)` source of each row."""
        self._rows = [np.flatnonzero(sources == source) for source in np.unique(sources)]

    def __call__(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows on record, and rows that are asked; never the same."""
        n_sources = 1
        if len(self._rows) > 1 and generator.random() > _ONE_SOURCE:
            n_sources = int(generator.integers(2, min(_MOST_SOURCES, len(self._rows)) + 1))
        chosen = generator.choice(len(self._rows), n_sources, replace=False)
        size = int(generator.choice(SIZES))
        share = -(-(size + _ASKED) // n_sources)
        rows = np.concatenate([generator.permutation(self._rows[each])[:share] for each in chosen])
        if len(rows) < 3:  # hardly a source
            rows = np.concatenate(self._rows)
        rows = generator.permutation(rows)
        n_asked = min(_ASKED, max(len(rows) // 3, 1))
        return rows[n_asked : n_asked + size], rows[:n_asked]
