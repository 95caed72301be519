"""Measures of routing quality: pure functions on score arrays.

Throughout, `scores` is `(n_prompts, n_candidates)` observed scores in [0, 1], and `choices` is
`(n_prompts,)` candidate columns. Higher is better unless said otherwise.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float


def chosen_scores(scores: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """`(n_prompts,)` score of the chosen candidate."""
    return scores[np.arange(len(scores)), choices]


def random_scores(scores: np.ndarray) -> np.ndarray:
    """`(n_prompts,)` expected score of a uniformly random choice."""
    return scores.mean(axis=1)


def oracle_scores(scores: np.ndarray) -> np.ndarray:
    """`(n_prompts,)` score of the best candidate."""
    return scores.max(axis=1)


def normalized_score(chosen: np.ndarray, scores: np.ndarray) -> float:
    """100 * (router - random) / (oracle - random): 0 is a random choice, 100 the oracle (paper §5).

    NaN where all candidates score alike on every prompt, so that nothing can be gained.

    Args:
        chosen: `(n_prompts,)` score of the routed answer.
        scores: `(n_prompts, n_candidates)`.
    """
    floor, ceiling = random_scores(scores).mean(), oracle_scores(scores).mean()
    if np.isclose(ceiling, floor, rtol=0, atol=1e-12):
        return float("nan")
    return float(100.0 * (chosen.mean() - floor) / (ceiling - floor))


def regret(chosen: np.ndarray, scores: np.ndarray) -> float:
    """Mean score lost to the oracle, >= 0; lower is better."""
    return float((oracle_scores(scores) - chosen).mean())


def gap_recovered(chosen: np.ndarray, scores: np.ndarray, best_single: int) -> float:
    """(router - best single) / (oracle - best single): 0 is the best single candidate, 1 the oracle.

    NaN where the best single candidate is the oracle.

    Args:
        chosen: `(n_prompts,)` score of the routed answer.
        scores: `(n_prompts, n_candidates)`.
        best_single: its column, chosen on training data.
    """
    floor, ceiling = scores[:, best_single].mean(), oracle_scores(scores).mean()
    if np.isclose(ceiling, floor, rtol=0, atol=1e-12):
        return float("nan")
    return float((chosen.mean() - floor) / (ceiling - floor))


def hit_rate(chosen: np.ndarray, scores: np.ndarray) -> float:
    """Share of prompts on which the choice ties the oracle, in [0, 1]."""
    return float((chosen >= oracle_scores(scores) - 1e-9).mean())


def shares(choices: np.ndarray, n_candidates: int) -> np.ndarray:
    """`(n_candidates,)` fraction of prompts sent to each candidate; sums to 1."""
    return np.bincount(choices, minlength=n_candidates) / len(choices)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    groups: np.ndarray,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """A statistic of the rows, with the percentile bootstrap's interval.

    Rows are drawn again within their group, so that every benchmark keeps its size.

    Args:
        statistic: of an array of row indices.
        groups: `(n,)` the benchmark of each row.
        n_resamples: bootstrap samples.
        confidence: coverage of the interval, in (0, 1).
        seed: the same seed, the same interval.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    samples = [
        statistic(np.concatenate([rows[generator.integers(len(rows), size=len(rows))] for rows in members]))
        for _ in range(n_resamples)
    ]
    tail = 100 * (1 - confidence) / 2
    if np.isnan(samples).all():
        return Interval(statistic(np.arange(len(groups))), float("nan"), float("nan"))
    low, high = np.nanpercentile(samples, [tail, 100 - tail])
    return Interval(statistic(np.arange(len(groups))), float(low), float(high))


def expected_calibration_error(probabilities: np.ndarray, outcomes: np.ndarray, *, n_bins: int = 15) -> float:
    """Mean gap between predicted and observed shares over bins of equally many prompts, in [0, 1]; lower is better.

    Args:
        probabilities: `(n,)` in [0, 1].
        outcomes: `(n,)` in [0, 1].
        n_bins: fewer where there are fewer prompts.
    """
    order = np.argsort(probabilities, kind="stable")
    bins = [part for part in np.array_split(order, n_bins) if len(part)]
    gaps = [abs(probabilities[part].mean() - outcomes[part].mean()) * len(part) for part in bins]
    return float(np.sum(gaps) / len(probabilities))
