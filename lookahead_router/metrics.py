"""Measures of routing quality: pure functions on score arrays.

Throughout, `scores` is `(n_prompts, n_candidates)` observed scores in [0, 1], and `choices` is
`(n_prompts,)` candidate columns. Higher is better unless said otherwise.
"""

from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A figure with its bootstrap interval."""

    value: float
    low: float
    high: float


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logits to chances in [0, 1], of the same shape, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.maximum(logits, -60)))


def averaged_sigmoid(logits: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The mean of the sigmoid over normal logits of these means and variances, by the probit approximation of
    MacKay (1992)."""
    return sigmoid(logits / np.sqrt(1.0 + np.pi / 8.0 * variances))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits to shares that sum to 1 over the last axis, without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def known_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean over an axis of the values that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    totals, counts = np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis)
    return np.divide(totals, counts, out=np.full(np.shape(totals), np.nan), where=counts > 0)


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
    return float(hits(chosen, scores).mean())


def hits(chosen: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`(n_prompts,)` whether the choice ties the oracle."""
    return chosen >= oracle_scores(scores) - 1e-9


def shares(choices: np.ndarray, n_candidates: int) -> np.ndarray:
    """`(n_candidates,)` fraction of prompts sent to each candidate; sums to 1."""
    return np.bincount(choices, minlength=n_candidates) / len(choices)


def model_recall(chosen: np.ndarray, scores: np.ndarray, *, right: float = 0.5) -> float:
    """How often the only right candidate is found, in [0, 1]; NaN where no prompt has just one.

    Args:
        chosen: `(n_prompts,)` score of the routed answer.
        scores: `(n_prompts, n_candidates)`; NaN counts as not right.
        right: score from which on an answer is right.
    """
    lonely = (scores >= right).sum(axis=1) == 1
    return float((chosen[lonely] >= right).mean()) if lonely.any() else float("nan")


def collapse_index(shares: np.ndarray) -> float:
    """Share of the candidate that gets most prompts: from 1 / n_candidates to 1, where one gets all."""
    return float(shares.max())


def mean_cost(costs_usd: np.ndarray, choices: np.ndarray) -> float:
    """US dollars a prompt; NaN where the cost of a chosen answer is unknown.

    Args:
        costs_usd: `(n_prompts, n_candidates)`.
        choices: `(n_prompts,)`.
    """
    return float(chosen_scores(costs_usd, choices).mean())


def cost_quality_frontier(costs: np.ndarray, qualities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best that settings can be mixed to: corners of the rising, concave hull of their points.

    Between two corners lies what sending each prompt to one of two settings at random gives, as in
    RouterBench (arXiv 2403.12031).

    Args:
        costs: `(n,)` mean cost of each setting, e.g. of every weight on cost; those of unknown cost or quality are
            left out.
        qualities: `(n,)` mean score of each.

    Returns:
        Costs and qualities of the corners, both rising strictly; empty where nothing is known.
    """
    corners: list[tuple[float, float]] = []
    known = np.isfinite(costs) & np.isfinite(qualities)
    points = zip(costs[known].tolist(), qualities[known].tolist(), strict=True)
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if corners and quality <= corners[-1][1]:
            continue
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], (cost, quality)):
            corners.pop()
        corners.append((cost, quality))
    found = np.array(corners).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Quality for cost from one point to a dearer one."""
    return (second[1] - first[1]) / (second[0] - first[0])


_ROUNDING = 1e-6
"""Difference of means that are computed in another order, in single precision where there are many."""


def cost_at_quality(costs: np.ndarray, qualities: np.ndarray, target: float) -> float:
    """Least cost at which the settings' frontier reaches a quality; NaN where it does not."""
    corner_costs, corner_qualities = cost_quality_frontier(costs, qualities)
    if not len(corner_costs) or target > corner_qualities[-1] + _ROUNDING:
        return float("nan")
    return float(np.interp(target, corner_qualities, corner_costs))


def quality_at_cost(costs: np.ndarray, qualities: np.ndarray, budget: float) -> float:
    """Best quality of the settings' frontier within a mean cost; NaN where even the cheapest costs more."""
    corner_costs, corner_qualities = cost_quality_frontier(costs, qualities)
    if not len(corner_costs) or budget < corner_costs[0] * (1 - _ROUNDING):
        return float("nan")
    return float(np.interp(budget, corner_costs, corner_qualities))


def area_under_frontier(costs: np.ndarray, qualities: np.ndarray, low: float, high: float) -> float:
    """Mean quality of the settings' frontier over the costs from `low` to `high`; NaN where that range is empty.

    Below its cheapest corner the frontier counts as that corner's quality, so give the same range to
    all that are compared, e.g. from the cheapest candidate's cost to the dearest's.
    """
    corner_costs, corner_qualities = cost_quality_frontier(costs, qualities)
    if not len(corner_costs) or low >= high:
        return float("nan")
    inner = corner_costs[(corner_costs > low) & (corner_costs < high)]
    grid = np.concatenate([[low], inner, [high]])
    heights = np.interp(grid, corner_costs, corner_qualities)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(grid)).sum() / (high - low))


def resample_counts(groups: np.ndarray, *, n_resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each row is drawn in each bootstrap sample, rows drawn again within their group.

    The same counts for all that is compared make every comparison a paired one, and a mean over
    resampled rows a product of matrices.

    Args:
        groups: `(n,)` the benchmark of each row.
        n_resamples: bootstrap samples.
        seed: the same seed, the same counts.

    Returns:
        `(n_resamples + 1, n)` float32; the first row is the data itself, ones.
    """
    generator = np.random.default_rng(seed)
    counts = np.ones((n_resamples + 1, len(groups)), dtype=np.float32)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        counts[1:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=n_resamples)
    return counts


def sample_interval(samples: np.ndarray, *, confidence: float = 0.95) -> Interval:
    """The interval of a figure computed on each row of `resample_counts`, the data itself first; NaN is left out."""
    tail = 100 * (1 - confidence) / 2
    known = samples[1:][~np.isnan(samples[1:])]
    low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (float("nan"), float("nan"))
    return Interval(float(samples[0]), float(low), float(high))


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
