"""What a comparison of predictors found, as plain values; `report.py` writes it out."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from lookahead_router.metrics import Interval

SCHEMA_VERSION = 1
"""The version of `ComparisonReport.to_dict`; raised when a field changes its meaning or goes."""


class Reference(StrEnum):
    """The lines that every report shows beside the routers; a value is what readers see."""

    RANDOM = "random"
    """A uniformly random candidate: 0 of the normalised score."""
    BEST_SINGLE = "best single"
    """The candidate with the best mean score on the train split, always."""
    HINDSIGHT = "best per benchmark, in hindsight"
    """The candidate that is best on these very rows of the benchmark; out of a router's reach."""
    ORACLE = "oracle"
    """The best candidate of every prompt, of equals the cheapest: 100 of the normalised score; out of reach."""


@dataclass(frozen=True)
class CostResult:
    """What routing cost, where the dataset knows the dollars of every answer."""

    mean_usd: float
    """Mean dollars a prompt, under the policy."""
    weights: tuple[float, ...]
    """Score per dollar that `CostAware` is swept over, with expected costs of the training split."""
    frontier_usd: tuple[float, ...]
    frontier_score: tuple[float, ...]
    """Mean dollars and mean score a prompt at each weight."""
    area: float
    """Mean score of the frontier between the cheapest candidate's cost and the dearest's."""
    score_at_best_single_usd: float
    """Mean score of the frontier at the best single candidate's cost."""
    saved: dict[str, Interval]
    """Share of the best single candidate's dollars saved at a share of its quality, by that share: `"1.00"`, `"0.95"`.

    0 where the router does not reach the quality or pays more for it, as one may use that candidate instead; NaN where
    that one is free."""
    is_reached: dict[str, bool]
    """Whether it does reach it."""
    saved_minus_reference: dict[str, Interval] | None
    """Paired difference to the reference predictor's."""


@dataclass(frozen=True)
class CalibrationResult:
    """Predicted probabilities against what came, over all candidates."""

    error: float
    """Expected calibration error, mean over candidates."""
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    """Mean predicted probability and observed score in ten bins of equally many answers."""


@dataclass(frozen=True)
class PredictorResult:
    """One predictor on one dataset; of several seeds or trainings, their mean."""

    predictor: str
    revisions: tuple[str | None, ...] = ()
    """Revision of the predictor of each seed; `None` of one that has none."""
    router: str | None = None
    """What decided, in words: predictor, policy and candidates, of the first seed."""
    policy: str | None = None
    """The policy that decided, in words."""
    error: str | None = None
    """Why there is no result; all that follows is empty then."""
    average: Interval | None = None
    """Normalised score, mean over the benchmarks: 0 random, 100 oracle."""
    seeds: tuple[float, ...] = ()
    """That average of each seed."""
    minus_reference: Interval | None = None
    """Paired difference of the average to the reference predictor's; `None` of itself."""
    by_source: dict[str, Interval] | None = None
    """Normalised score of each benchmark."""
    score: float | None = None
    """Mean observed score over all prompts, in [0, 1]."""
    score_by_source: dict[str, float] | None = None
    """Mean observed score of each benchmark."""
    regret: float | None = None
    gap_recovered: float | None = None
    hit_rate: float | None = None
    hit_rate_by_source: dict[str, float] | None = None
    """Hit rate of each benchmark."""
    model_recall: float | None = None
    collapse_index: float | None = None
    shares: dict[str, float] | None = None
    """Fraction of the prompts sent to each candidate."""
    shares_by_source: dict[str, dict[str, float]] | None = None
    """Fraction of each benchmark's prompts sent to each candidate."""
    against_best_single: tuple[tuple[int, int, float, float, float], ...] = ()
    """Rows by number of right candidates: it, prompts, and shares won, tied, lost against the best single one."""
    cost: CostResult | None = None
    calibration: CalibrationResult | None = None
    fit_seconds: float | None = None
    predict_seconds: float | None = None
    """Wall time when it was first done, without embeddings; `None` for a saved predictor."""


@dataclass(frozen=True)
class ReferenceResult:
    """A reference line on one dataset."""

    reference: Reference
    average: Interval
    """Normalised score, mean over the benchmarks."""
    by_source: dict[str, Interval]
    """Normalised score of each benchmark."""
    score: float
    """Mean observed score over all prompts, in [0, 1]."""
    score_by_source: dict[str, float]
    """Mean observed score of each benchmark."""
    mean_usd: float | None
    """Mean dollars a prompt; `None` where they are not known."""


@dataclass(frozen=True)
class CandidateResult:
    """One candidate for all prompts."""

    candidate: str
    score: float
    mean_usd: float | None
    average: float
    """Normalised score, mean over the benchmarks."""


@dataclass(frozen=True)
class LeakageResult:
    """Evaluation prompts that stand in the training split too."""

    n_exact: int
    """Equal but for case and space."""
    n_near: int | None
    """Beyond those, nearly equal: cosine of word three-grams weighted by rarity at least `threshold`; `None` where
    scikit-learn, which counts them, is not installed."""
    threshold: float
    ids: tuple[str, ...]
    """Ids of the evaluation prompts, exact ones first."""


@dataclass(frozen=True)
class DatasetResult:
    """Every predictor on one dataset."""

    dataset: str
    split: str
    fingerprint: str
    n_prompts: dict[str, int]
    """Prompts of each benchmark."""
    n_unscored: int
    """Prompts left out because a candidate has no score there."""
    reference: str
    """The predictor that the others are compared to, the first that works; empty where none does."""
    predictors: tuple[PredictorResult, ...]
    references: tuple[ReferenceResult, ...]
    candidates: tuple[CandidateResult, ...]
    leakage: LeakageResult | None
    """`None` without a training split, or where it was not looked for."""
    best_single: str | None
    """The candidate with the best mean score on the training split; `None` without one."""


@dataclass(frozen=True)
class ComparisonReport:
    """Predictors on datasets: what `lookahead-router evaluate` shows and writes."""

    datasets: tuple[DatasetResult, ...]
    policy: str
    n_resamples: int
    library_version: str
    seconds: float
    """Wall time of the whole comparison."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; NaN becomes null, intervals objects of `value`, `low` and `high`."""
        return {"schema_version": SCHEMA_VERSION, **plain(asdict(self))}


def plain(value: Any) -> Any:
    """A structure with intervals as objects and null for NaN and infinities, which JSON lacks."""
    if isinstance(value, Interval):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
