"""`evaluate`: how much better than without it is a router, on prompts whose outcomes are known?"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.results import DatasetResult, LeakageResult, PredictorResult, Reference, plain
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
    """Score of the candidate that is best on these very rows."""
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
    """A comparison of one router with the reference lines, benchmark by benchmark and on average."""

    router: str
    revision: str | None
    data_fingerprint: str
    best_single: str | None
    """The candidate with the best mean score on training data; `None` where no training data was given."""
    sources: tuple[SourceResult, ...]
    average: SourceResult
    """Plain means over the benchmarks, as the paper's Table 1 averages."""
    n_unscored: int
    """Prompts left out because a candidate has no score there."""
    seconds: float
    """Wall time of predicting all prompts."""
    leakage: LeakageResult | None = None
    """Evaluation prompts that stand in the training data; `None` without any."""

    @classmethod
    def of(cls, result: DatasetResult, found: PredictorResult) -> "EvaluationReport":
        """The figures of one predictor of a comparison, with those of the reference lines."""
        sources = tuple(_source_result(result, found, source) for source in result.n_prompts)
        return cls(
            router=found.router,
            revision=found.revisions[0],
            data_fingerprint=result.fingerprint,
            best_single=result.best_single,
            sources=sources,
            average=_average(sources, found),
            n_unscored=result.n_unscored,
            seconds=found.predict_seconds,
            leakage=result.leakage,
        )

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
    check_leakage: bool = True,
) -> EvaluationReport:
    """Routes every prompt of a dataset and scores the choices: a comparison of one router.

    The dataset's candidates are the field: a router that decides among some of them is measured against all, and
    `dataset.with_candidates(router.pool.names)` narrows the field to its own. The router decides by its own policy
    and prices.

    Args:
        router: what to evaluate; the dataset must hold all of its candidates.
        dataset: prompts with observed scores.
        train: where the best single candidate is looked up; without it that reference is left out.
        n_resamples: bootstrap samples behind the 95 % intervals, drawn per benchmark.
        seed: seed of the bootstrap.
        check_leakage: whether to look for prompts of the dataset in `train`.

    Raises:
        PoolMismatchError: the router has a candidate that the dataset lacks, or `train` has others.
        DataError: no prompt with a score of every candidate.
    """
    report = compare(
        [Entry(repr(router), router=router)],
        [Material("", "", dataset, train)],
        n_resamples=n_resamples,
        seed=seed,
        check_leakage=check_leakage,
        keep_going=False,
    )
    result = report.datasets[0]
    return EvaluationReport.of(result, result.predictors[0])


def _source_result(result: DatasetResult, found: PredictorResult, source: str) -> SourceResult:
    lines = {one.reference: one for one in result.references}
    scores = {name: one.score_by_source[source] for name, one in lines.items()}
    levels = {name: one.by_source[source].value for name, one in lines.items()}
    return SourceResult(
        source=source,
        n_prompts=result.n_prompts[source],
        router=found.score_by_source[source],
        random=scores[Reference.RANDOM],
        best_single=scores.get(Reference.BEST_SINGLE),
        hindsight=scores[Reference.HINDSIGHT],
        oracle=scores[Reference.ORACLE],
        normalized=found.by_source[source],
        best_single_normalized=levels.get(Reference.BEST_SINGLE),
        hindsight_normalized=levels[Reference.HINDSIGHT],
        hit_rate=found.hit_rate_by_source[source],
        shares=found.shares_by_source[source],
    )


_AVERAGED = (
    "router", "random", "best_single", "hindsight", "oracle", "best_single_normalized", "hindsight_normalized",
    "hit_rate",
)  # fmt: skip


def _average(sources: tuple[SourceResult, ...], found: PredictorResult) -> SourceResult:
    means = metrics.known_mean(np.array([[getattr(one, name) for name in _AVERAGED] for one in sources], dtype=float))
    return SourceResult(
        source="average",
        n_prompts=sum(one.n_prompts for one in sources),
        normalized=found.average,
        shares=found.shares,
        **{name: None if np.isnan(mean) else float(mean) for name, mean in zip(_AVERAGED, means, strict=True)},
    )
