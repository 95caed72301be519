"""`tune`: which setting of a policy reaches a target, and what does it buy?"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError, PoolMismatchError
from lookahead_router.evaluation.prices import expected_pool, usual_costs
from lookahead_router.evaluation.results import plain
from lookahead_router.policies import CostAware, Policy, Restricted, Threshold, checked_utilities, priced
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
class TuneReport:
    """The chosen policy, the prices it goes by, and its results: where it was chosen, and where it was not."""

    policy: Policy
    usd_per_call: dict[str, float]
    """Dollars of one call by candidate name."""
    results: tuple[SplitResult, ...]
    n_unscored: int
    """Prompts left out because a candidate has no score there."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain({**asdict(self), "policy": repr(self.policy)})


def tune(
    router: Router,
    dataset: RoutingDataset,
    *,
    kind: str = "threshold",
    target_quality: float | None = None,
    target_usd: float | None = None,
    split: str = "validation",
    test_split: str | None = "test",
) -> TuneReport:
    """Finds the cheapest setting of a policy that keeps a quality, or the best one within a budget.

    Prices are those of the router if it prices every candidate; else the mean costs of the train split, else of the
    validation split, else of `split` (`lookahead_router.evaluation.prices`).

    Args:
        router: what predicts; of its own policy, only the rules of a `Restricted` matter, and they stay. The dataset
            must hold all of its candidates, and may hold more.
        dataset: prompts with observed scores, and costs if there are any.
        kind: `threshold` or `cost-aware`.
        target_quality: share of the best single candidate's mean score on `split`, > 0; or else
        target_usd: mean dollars a prompt, >= 0.
        split: where the setting is chosen.
        test_split: where it is shown as well, if the dataset has it.

    Raises:
        PoolMismatchError: the router has a candidate that the dataset lacks.
        DataError: no such split, or no prompt in it with a score of every candidate.
        ConfigurationError: not one target, one out of range or out of reach, or a candidate without a price.
    """
    _check_targets(target_quality, target_usd)
    if kind not in _GRIDS:
        raise ConfigurationError(f"unknown policy {kind!r}; choose one of {', '.join(_GRIDS)}")
    if not set(router.pool.names) <= set(dataset.pool.names):
        raise PoolMismatchError(router.pool.names, dataset.pool.names)
    chosen_on = dataset.filter(split=split)
    pool = _priced_pool(router.pool, dataset, chosen_on)
    rows, n_unscored = _scored(chosen_on)
    usual = usual_costs(pool)
    seen = _Seen.of(router, rows, pool)
    policies = [_within_rules(router.policy, setting) for setting in _GRIDS[kind](seen.prediction, usual)]
    choices = [seen.choices(policy) for policy in policies]
    scores = np.array([metrics.chosen_scores(rows.scores, choice).mean() for choice in choices])
    spent = np.array([metrics.mean_cost(seen.dollars, choice) for choice in choices])
    single = int(rows.scores.mean(axis=0).argmax())
    if target_quality is None:
        best = best_within(spent, scores, target_usd)
    else:
        best = cheapest_reaching(spent, scores, target_quality * rows.scores[:, single].mean())
    policy = policies[best]
    results = [_result(split, seen, policy, single)]
    if test_split in dataset.splits and test_split != split:
        shown, missing = _scored(dataset.filter(split=test_split))
        n_unscored += missing
        results.append(_result(test_split, _Seen.of(router, shown, pool), policy, single))
    prices = dict(zip(pool.names, usual.tolist(), strict=True))
    return TuneReport(policy=policy, usd_per_call=prices, results=tuple(results), n_unscored=n_unscored)


@dataclass(frozen=True)
class _Seen:
    """Rows of a split, and what the router foresees for them."""

    rows: RoutingDataset
    prediction: Prediction
    """Over the router's candidates, at the prices that policies go by."""
    dollars: np.ndarray
    """Dollars of every answer, `(n, K)`; the expected ones where they are unknown."""

    @classmethod
    def of(cls, router: Router, rows: RoutingDataset, pool: CandidatePool) -> "_Seen":
        usual = usual_costs(expected_pool(rows.pool.rename({candidate.name: candidate for candidate in pool}), rows))
        dollars = np.where(np.isnan(rows.costs_usd), usual, rows.costs_usd)
        return cls(rows, router.predict(rows.requests()).with_pool(pool), dollars)

    def choices(self, policy: Policy) -> np.ndarray:
        """Columns of the rows, `(n_prompts,)`, as a router of that policy decides."""
        pool = self.prediction.pool
        columns = np.array([self.rows.pool.index(name) for name in pool.names])
        return columns[checked_utilities(policy, self.prediction, pool).argmax(axis=1)]


def _within_rules(own: Policy, setting: Policy) -> Policy:
    """The setting under the rules of the router's own policy."""
    return replace(own, policy=_within_rules(own.policy, setting)) if isinstance(own, Restricted) else setting


def _priced_pool(pool: CandidatePool, dataset: RoutingDataset, chosen_on: RoutingDataset) -> CandidatePool:
    """The pool at the expected prices.

    Raises:
        ConfigurationError: a candidate has no price.
    """
    known = [dataset.filter(split=name) for name in ("train", "validation") if name in dataset.splits]
    found = expected_pool(pool, *known, chosen_on)
    try:
        priced(usual_costs(found), found)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}. Give cost_usd in the outcomes of the dataset, or use a predictor whose pool has prices"
        ) from error
    return found


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


def _result(split: str, seen: _Seen, policy: Policy, single: int) -> SplitResult:
    rows, choices = seen.rows, seen.choices(policy)
    spent, reference = metrics.mean_cost(seen.dollars, choices), float(seen.dollars[:, single].mean())
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
