"""`evaluate`: how much better than without it is a router, on prompts whose outcomes are known?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError
from lookahead_router.evaluation.results import plain
from lookahead_router.metrics import Interval
from lookahead_router.router import Router


@dataclass(frozen=True)
class SourceResult:
    """One benchmark, or the mean of all: scores in [0, 1], normalised scores from 0 to 100."""

    source: str
    n_prompts: int
    router: float
    random: float
    best_single: float | None
    hindsight: float
    """The candidate that is best on these very rows, always."""
    oracle: float
    normalized: Interval
    """Normalised score of the router with its interval."""
    best_single_normalized: float | None
    hindsight_normalized: float
    hit_rate: float
    shares: dict[str, float]
    """Fraction of the prompts sent to each candidate."""


@dataclass(frozen=True)
class EvaluationReport:
    """A router against the references, per benchmark and on average."""

    router: str
    revision: str | None
    data_fingerprint: str
    best_single: str | None
    """Best mean score on training data; `None` where no training data was given."""
    sources: tuple[SourceResult, ...]
    average: SourceResult
    """Plain means over the benchmarks, as the paper's Table 1 averages."""
    n_unscored: int
    """Prompts left out because a candidate has no score there."""
    seconds: float
    """Wall time of routing all prompts."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(asdict(self))


def evaluate(
    router: Router,
    dataset: RoutingDataset,
    *,
    train: RoutingDataset | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> EvaluationReport:
    """Routes every prompt of a dataset and scores the choices.

    Args:
        router: what to evaluate; its pool must be the dataset's.
        dataset: prompts with observed scores.
        train: where the best single candidate is looked up; without it that reference is left out.
        n_resamples: bootstrap samples behind the 95 % intervals, drawn per benchmark.
        seed: of the bootstrap.

    Raises:
        PoolMismatchError: other candidates than the router's.
        DataError: no prompt with a score of every candidate.
    """
    dataset = dataset.align(router.pool)
    scored = ~np.isnan(dataset.scores).any(axis=1)
    if not scored.any():
        raise DataError("no prompt has a score of every candidate, so nothing can be compared")
    rows = dataset.select(scored)
    decisions = router.route_batch(rows.prompts)
    choices = np.array([router.pool.index(decision.name) for decision in decisions])
    best_single = None if train is None else train.align(router.pool).best_single()
    sources = tuple(
        _source_result(source, rows.sources == source, rows.scores, choices, best_single, router, n_resamples, seed)
        for source in dict.fromkeys(rows.sources.tolist())
    )
    return EvaluationReport(
        router=repr(router),
        revision=router.predictor.revision,
        data_fingerprint=rows.fingerprint(),
        best_single=None if best_single is None else router.pool.names[best_single],
        sources=sources,
        average=_average(sources, rows, choices, n_resamples, seed),
        n_unscored=int((~scored).sum()),
        seconds=sum(decision.latency_seconds for decision in decisions),
    )


def _source_result(
    source: str,
    mask: np.ndarray,
    all_scores: np.ndarray,
    all_choices: np.ndarray,
    best_single: int | None,
    router: Router,
    n_resamples: int,
    seed: int,
) -> SourceResult:
    scores, choices = all_scores[mask], all_choices[mask]
    chosen = metrics.chosen_scores(scores, choices)
    hindsight = int(scores.mean(axis=0).argmax())
    single = None if best_single is None else scores[:, best_single]
    return SourceResult(
        source=source,
        n_prompts=len(scores),
        router=float(chosen.mean()),
        random=float(metrics.random_scores(scores).mean()),
        best_single=None if single is None else float(single.mean()),
        hindsight=float(scores[:, hindsight].mean()),
        oracle=float(metrics.oracle_scores(scores).mean()),
        normalized=metrics.bootstrap_interval(
            lambda rows: metrics.normalized_score(chosen[rows], scores[rows]),
            np.zeros(len(scores)),
            n_resamples=n_resamples,
            seed=seed,
        ),
        best_single_normalized=None if single is None else metrics.normalized_score(single, scores),
        hindsight_normalized=metrics.normalized_score(scores[:, hindsight], scores),
        hit_rate=metrics.hit_rate(chosen, scores),
        shares=dict(zip(router.pool.names, metrics.shares(choices, len(router.pool)).tolist(), strict=True)),
    )


def average_normalized_score(chosen: np.ndarray, scores: np.ndarray, sources: np.ndarray) -> float:
    """Plain mean over the benchmarks of the normalised score; benchmarks without a gap are left out.

    Args:
        chosen: `(n_prompts,)` score of the routed answer.
        scores: `(n_prompts, n_candidates)`.
        sources: `(n_prompts,)` benchmark names.
    """
    masks = [sources == source for source in np.unique(sources)]
    values = np.array([metrics.normalized_score(chosen[mask], scores[mask]) for mask in masks])
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")


def _average(
    sources: tuple[SourceResult, ...], rows: RoutingDataset, choices: np.ndarray, n_resamples: int, seed: int
) -> SourceResult:
    def mean(name: str) -> float | None:
        values = [getattr(source, name) for source in sources]
        known = [value for value in values if value is not None and not np.isnan(value)]
        return float(np.mean(known)) if known else None

    chosen = metrics.chosen_scores(rows.scores, choices)
    return SourceResult(
        source="average",
        n_prompts=len(rows),
        normalized=metrics.bootstrap_interval(
            lambda index: average_normalized_score(chosen[index], rows.scores[index], rows.sources[index]),
            rows.sources,
            n_resamples=n_resamples,
            seed=seed,
        ),
        shares=dict(zip(rows.pool.names, metrics.shares(choices, len(rows.pool)).tolist(), strict=True)),
        **{
            name: mean(name)
            for name in (
                "router", "random", "best_single", "hindsight", "oracle", "best_single_normalized",
                "hindsight_normalized", "hit_rate",
            )
        },
    )  # fmt: skip
