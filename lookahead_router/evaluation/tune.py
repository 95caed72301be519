"""`calibrate`: which setting of a policy reaches a target, and what does it buy?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.policies import CostAware, Policy, Threshold, call_costs, checked_utilities, priced
from lookahead_router.router import Router
from lookahead_router.types import CandidatePool, Prediction

N_SETTINGS = 200
"""Settings that a sweep tries, at most."""


@dataclass(frozen=True)
class SplitResult:
    """What a policy gets on the rows of a split, beside the best single candidate."""

    split: str
    n_prompts: int
    score: float
    """Mean score of the chosen answers, in [0, 1]."""
    best_single: str
    """The candidate with the best mean score where the setting was chosen."""
    best_single_score: float
    usd_per_prompt: float
    best_single_usd_per_prompt: float
    saved: float | None
    """Share of the best single candidate's dollars that is saved, at most 1; `None` where that one is free."""
    shares: dict[str, float]
    """Fraction of the prompts sent to each candidate."""


@dataclass(frozen=True)
class CalibrationReport:
    """The chosen policy, the prices it goes by, and its results: where it was chosen, and where it was not."""

    policy: Policy
    usd_per_call: dict[str, float]
    """Dollars of one call by candidate name."""
    results: tuple[SplitResult, ...]
    n_unscored: int
    """Prompts left out because a candidate has no score there."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "policy": repr(self.policy), "results": [asdict(result) for result in self.results]}


def calibrate(
    router: Router,
    dataset: RoutingDataset,
    *,
    kind: str = "threshold",
    target_quality: float | None = None,
    target_usd: float | None = None,
    split: str = "validation",
    test_split: str | None = "test",
) -> CalibrationReport:
    """Finds the cheapest setting of a policy that keeps a quality, or the best one within a budget.

    Prices are the mean costs that the dataset's train split holds, else those of `split`, else the pool's.

    Args:
        router: what predicts; its own policy does not matter.
        dataset: prompts with observed scores, and costs if there are any.
        kind: `threshold` or `cost-aware`.
        target_quality: share of the best single candidate's mean score on `split`, > 0; or else
        target_usd: mean dollars a prompt, >= 0.
        split: where the setting is chosen.
        test_split: where it is shown as well, if the dataset has it.

    Raises:
        PoolMismatchError: other candidates than the router's.
        DataError: no such split, or no prompt in it with a score of every candidate.
        ConfigurationError: not one target, one out of range or out of reach, or a candidate without a price.
    """
    _check_targets(target_quality, target_usd)
    if kind not in _GRIDS:
        raise ConfigurationError(f"unknown policy {kind!r}; choose one of {', '.join(_GRIDS)}")
    dataset = dataset.align(router.pool)
    chosen_on = dataset.filter(split=split)
    pool = priced_pool(router.pool, dataset, chosen_on)
    rows, n_unscored = _scored(chosen_on)
    costs = expected_prices(pool)
    prediction = router.predict(rows.prompts).with_pool(pool)
    policies = _GRIDS[kind](prediction, costs)
    choices = [_choices(policy, prediction) for policy in policies]
    dollars = np.where(np.isnan(rows.costs_usd), costs, rows.costs_usd)
    scores = np.array([metrics.chosen_scores(rows.scores, choice).mean() for choice in choices])
    spent = np.array([metrics.mean_cost(dollars, choice) for choice in choices])
    single = int(rows.scores.mean(axis=0).argmax())
    if target_quality is None:
        best = best_within(spent, scores, target_usd)
    else:
        best = cheapest_reaching(spent, scores, target_quality * rows.scores[:, single].mean())
    policy = policies[best]
    results = [_result(split, rows, choices[best], single, costs)]
    if test_split in dataset.splits and test_split != split:
        shown, missing = _scored(dataset.filter(split=test_split))
        n_unscored += missing
        seen = router.predict(shown.prompts).with_pool(pool)
        results.append(_result(test_split, shown, _choices(policy, seen), single, costs))
    return CalibrationReport(
        policy=policy,
        usd_per_call=dict(zip(pool.names, costs.tolist(), strict=True)),
        results=tuple(results),
        n_unscored=n_unscored,
    )


def priced_pool(pool: CandidatePool, dataset: RoutingDataset, rows: RoutingDataset) -> CandidatePool:
    """The pool with the mean costs observed on the train split, else on the given rows, else as it is.

    Raises:
        ConfigurationError: a candidate has no price.
    """
    train = dataset.filter(split="train") if "train" in dataset.splits else rows
    source = train if not np.isnan(train.costs_usd).all() else rows
    with_costs = pool.with_call_costs(source.call_costs())
    try:
        expected_prices(with_costs)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}. Give cost_usd in the outcomes of the dataset, or use a predictor whose pool has prices"
        ) from error
    return with_costs


def cheapest_reaching(costs: np.ndarray, scores: np.ndarray, target: float) -> int:
    """Index of the least cost among the settings of at least the target score; of equals, the better one.

    Args:
        costs: `(n,)` mean dollars of each setting.
        scores: `(n,)` mean score of each.
        target: the score to reach; a shortfall below 1e-12 is rounding.

    Raises:
        ConfigurationError: no setting reaches it.
    """
    reaching = np.flatnonzero(scores >= target - 1e-12)
    if not len(reaching):
        raise ConfigurationError(
            f"no setting reaches a mean score of {target:.4f}; the best has {scores.max():.4f}. Lower the target"
        )
    return int(min(reaching, key=lambda k: (costs[k], -scores[k])))


def best_within(costs: np.ndarray, scores: np.ndarray, budget: float) -> int:
    """Index of the best score among the settings within the budget; of equals, the cheaper one.

    Args:
        costs: `(n,)` mean dollars of each setting.
        scores: `(n,)` mean score of each.
        budget: mean dollars a prompt; an excess of one part in 1e12 is rounding.

    Raises:
        ConfigurationError: every setting costs more.
    """
    within = np.flatnonzero(costs <= budget * (1 + 1e-12))
    if not len(within):
        raise ConfigurationError(
            f"no setting stays within {budget:g} dollars a prompt; the cheapest takes {costs.min():.3g}. Raise it"
        )
    return int(min(within, key=lambda k: (-scores[k], costs[k])))


def threshold_grid(probabilities: np.ndarray) -> list[Threshold]:
    """Thresholds from 0 to 1 at the quantiles of the probabilities, rounded down to four digits."""
    values = np.quantile(probabilities, np.linspace(0, 1, N_SETTINGS - 2))
    return [Threshold(float(value)) for value in np.unique([0.0, *np.floor(values * 1e4) / 1e4, 1.0])]


def weight_grid(costs: np.ndarray) -> list[CostAware]:
    """Weights on cost: 0, and from where no difference in cost counts to where the smallest outweighs any score.

    Args:
        costs: `(n_candidates,)` dollars of one call.
    """
    steps = np.diff(np.unique(costs))
    if not len(steps):
        return [CostAware(0.0)]
    weights = np.geomspace(1e-3 / np.ptp(costs), 2.0 / steps.min(), N_SETTINGS - 1)
    return [CostAware(0.0), *(CostAware(float(f"{weight:.4g}")) for weight in weights)]


def expected_prices(pool: CandidatePool) -> np.ndarray:
    """`(n_candidates,)` dollars of a call of the usual lengths.

    Raises:
        ConfigurationError: a candidate has no price.
    """
    return priced(call_costs(Prediction(pool, np.zeros((1, len(pool)))), pool), pool)[0]


def _choices(policy: Policy, prediction: Prediction) -> np.ndarray:
    """`(n_prompts,)` columns, as the router decides."""
    return checked_utilities(policy, prediction, prediction.pool).argmax(axis=1)


_GRIDS: dict[str, Callable[[Prediction, np.ndarray], Sequence[Policy]]] = {
    "threshold": lambda seen, costs: threshold_grid(seen.scores if seen.probabilities is None else seen.probabilities),
    "cost-aware": lambda seen, costs: weight_grid(costs),
}


def _check_targets(quality: float | None, usd: float | None) -> None:
    if (quality is None) == (usd is None):
        raise ConfigurationError("give one target: a quality, or dollars a prompt")
    if quality is not None and not 0 < quality < float("inf"):
        raise ConfigurationError(f"the target quality is a share > 0 of the best single score, got {quality!r}")
    if usd is not None and not 0 <= usd < float("inf"):
        raise ConfigurationError(f"the target must be dollars >= 0 a prompt, got {usd!r}")


def _scored(rows: RoutingDataset) -> tuple[RoutingDataset, int]:
    """The rows with a score of every candidate, and the number of the others."""
    scored = ~np.isnan(rows.scores).any(axis=1)
    if not scored.any():
        raise DataError("no prompt has a score of every candidate, so nothing can be compared")
    return rows.select(scored), int((~scored).sum())


def _result(split: str, rows: RoutingDataset, choices: np.ndarray, single: int, costs: np.ndarray) -> SplitResult:
    dollars = np.where(np.isnan(rows.costs_usd), costs, rows.costs_usd)
    spent, reference = metrics.mean_cost(dollars, choices), float(dollars[:, single].mean())
    shares = metrics.shares(choices, len(rows.pool))
    return SplitResult(
        split=split,
        n_prompts=len(rows),
        score=float(metrics.chosen_scores(rows.scores, choices).mean()),
        best_single=rows.pool.names[single],
        best_single_score=float(rows.scores[:, single].mean()),
        usd_per_prompt=spent,
        best_single_usd_per_prompt=reference,
        saved=1 - spent / reference if reference > 0 else None,
        shares=dict(zip(rows.pool.names, shares.tolist(), strict=True)),
    )
