"""The figures of one router, and of the reference lines, on the rows of one dataset."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError
from lookahead_router.evaluation.bootstrap import Resamples, costs_at_quality
from lookahead_router.evaluation.entries import Foreseen
from lookahead_router.evaluation.prices import expected_pool, usual_costs
from lookahead_router.evaluation.results import (
    CalibrationResult,
    CandidateResult,
    CostResult,
    PredictorResult,
    Reference,
    ReferenceResult,
)
from lookahead_router.metrics import Interval

QUALITY_SHARES = (1.0, 0.95)
"""Shares of the best single candidate's quality at which dollars are compared."""
N_WEIGHTS = 60
"""Settings on a cost-quality curve."""
RIGHT = 0.5
"""Score from which on an answer counts as right, in the tables by number of right candidates."""


class Yardstick:
    """The rows of an evaluation, with what all predictors on them are measured against."""

    def __init__(
        self,
        evaluation: RoutingDataset,
        train: RoutingDataset | None,
        validation: RoutingDataset | None = None,
        *,
        n_resamples: int,
        seed: int,
    ) -> None:
        """Draws the resamples that every figure shares.

        Args:
            evaluation: prompts with observed scores; those that lack one of a candidate's are left out.
            train: where the best single candidate is looked up, and the expected prices first of all.
            validation: where the expected prices are looked up next, before the evaluation itself.
            n_resamples: bootstrap samples.
            seed: seed of the bootstrap.

        Raises:
            DataError: no prompt has a score of every candidate.
        """
        is_scored = ~np.isnan(evaluation.scores).any(axis=1)
        if not is_scored.any():
            raise DataError(
                "no prompt has a score of every candidate, so nothing can be compared; leave out candidates that were "
                "hardly judged with dataset.with_candidates(names)"
            )
        self.rows = evaluation.select(is_scored)
        self.n_unscored = int((~is_scored).sum())
        self.pool = expected_pool(evaluation.pool, train, validation, self.rows)
        self.call_costs = usual_costs(self.pool)
        """Expected dollars of a call, `(n_candidates,)`; NaN where unknown."""
        self.resamples = Resamples(self.rows.scores, self.rows.sources, n_resamples=n_resamples, seed=seed)
        self.best_single = None if train is None else train.best_single()
        """Column of the candidate with the best mean score on the training data; `None` without any."""

    @cached_property
    def has_costs(self) -> bool:
        """Whether the dollars of every candidate are known, so that routes can be priced."""
        return not np.isnan(self.call_costs).any()

    @cached_property
    def costs(self) -> np.ndarray:
        """Dollars of every answer, `(n, K)`; the expected ones where they are unknown."""
        return np.where(np.isnan(self.rows.costs_usd), self.call_costs, self.rows.costs_usd)

    def candidates(self) -> Iterator[CandidateResult]:
        """Figures of each candidate for all prompts."""
        for k, name in enumerate(self.pool.names):
            scores = self.rows.scores[:, k]
            yield CandidateResult(
                candidate=name,
                score=float(scores.mean()),
                mean_usd=float(self.costs[:, k].mean()) if self.has_costs else None,
                average=float(self.resamples.normalized(scores)[0, -1]),
            )

    def references(self) -> Iterator[ReferenceResult]:
        """Reference lines: random, best single, best per benchmark in hindsight, oracle."""
        scores, costs = self.rows.scores, self.costs
        for reference in Reference:
            if reference is Reference.RANDOM:
                chosen, spent = scores.mean(axis=1), costs.mean(axis=1)
            elif (choices := self._choices(reference)) is not None:
                chosen, spent = metrics.chosen_scores(scores, choices), metrics.chosen_scores(costs, choices)
            else:
                continue
            average, by_source = self.intervals(self.resamples.normalized(chosen))
            yield ReferenceResult(
                reference=reference,
                average=average,
                by_source=by_source,
                score=float(chosen.mean()),
                score_by_source=self.by_source(chosen),
                mean_usd=float(spent.mean()) if self.has_costs else None,
            )

    def _choices(self, reference: Reference) -> np.ndarray | None:
        """The columns `(n,)` that a reference line takes; `None` where it is not known."""
        scores = self.rows.scores
        if reference is Reference.BEST_SINGLE:
            return None if self.best_single is None else np.full(len(scores), self.best_single)
        if reference is Reference.HINDSIGHT:
            choices = np.zeros(len(scores), dtype=int)
            for source in self.resamples.sources:
                rows = self.rows.sources == source
                choices[rows] = scores[rows].mean(axis=0).argmax()
            return choices
        # Of those that are best, the cheapest: it is the oracle of cost, too.
        is_best = scores >= scores.max(axis=1, keepdims=True) - 1e-9
        return np.where(is_best, self.costs if self.has_costs else 0.0, np.inf).argmin(axis=1)

    def by_source(self, values: np.ndarray) -> dict[str, float]:
        """Mean of `(n,)` values on each benchmark."""
        return {source: float(values[self.rows.sources == source].mean()) for source in self.resamples.sources}

    def intervals(self, samples: np.ndarray) -> tuple[Interval, dict[str, Interval]]:
        """The average's interval, and each benchmark's, from normalised scores on all resamples."""
        found = [metrics.sample_interval(column) for column in samples.T]
        return found[-1], dict(zip(self.resamples.sources, found, strict=False))


class Measured:
    """A router's choices on one dataset, and all that follows from them."""

    def __init__(self, yardstick: Yardstick, label: str, seeds: list[Foreseen]) -> None:
        self.yardstick, self.label, self.seeds = yardstick, label, seeds
        rows = yardstick.rows
        self.choices = [seed.choices(rows.pool) for seed in seeds]
        self.chosen = [metrics.chosen_scores(rows.scores, choice) for choice in self.choices]
        # Linear in the chosen scores, so that the mean over seeds is that of their mean.
        self.samples = yardstick.resamples.normalized(np.mean(self.chosen, axis=0))

    @cached_property
    def savings(self) -> tuple[CostResult, dict[str, np.ndarray]] | None:
        """The cost-quality curve, and on every resample the shares of dollars saved; `None` if dollars are unknown."""
        one = self.yardstick
        if not one.has_costs or one.best_single is None:
            return None
        scores, costs, prices = one.rows.scores, one.costs, one.call_costs
        spread = max(float(np.ptp(prices)), 1e-12)
        weights = np.concatenate([[0.0], np.geomspace(1e-3, 1e2, N_WEIGHTS - 1) / spread])
        every = np.arange(len(scores))[:, None]
        spent, gained = np.zeros((len(scores), N_WEIGHTS)), np.zeros((len(scores), N_WEIGHTS))
        for seed in self.seeds:
            utilities = seed.scores(one.pool)[:, None, :] - weights[None, :, None] * prices
            choice = utilities.argmax(axis=2)
            spent += costs[every, choice] / len(self.seeds)
            gained += scores[every, choice] / len(self.seeds)
        spent, gained = one.resamples.means(spent), one.resamples.means(gained)
        single_usd = one.resamples.means(costs[:, one.best_single])
        single_score = one.resamples.means(scores[:, one.best_single])
        saved, is_reached = {}, {}
        for share in QUALITY_SHARES:
            least = costs_at_quality(spent, gained, share * single_score)
            is_reached[f"{share:.2f}"] = bool(~np.isnan(least[0]))
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(np.isnan(least), 0.0, np.maximum(1 - least / single_usd, 0.0))
            saved[f"{share:.2f}"] = np.where(single_usd > 0, shares, np.nan)
        means = costs.mean(axis=0)
        result = CostResult(
            mean_usd=float(np.mean([metrics.mean_cost(costs, choice) for choice in self.choices])),
            weights=tuple(weights.tolist()),
            frontier_usd=tuple(spent[0].tolist()),
            frontier_score=tuple(gained[0].tolist()),
            area=metrics.area_under_frontier(spent[0], gained[0], means.min(), means.max()),
            score_at_best_single_usd=metrics.quality_at_cost(spent[0], gained[0], single_usd[0]),
            saved={share: metrics.sample_interval(samples) for share, samples in saved.items()},
            is_reached=is_reached,
            saved_minus_reference=None,
        )
        return result, saved

    def result(self, reference: "Measured") -> PredictorResult:
        """All figures, with paired differences to the reference."""
        one, scores = self.yardstick, self.yardstick.rows.scores
        average, by_source = one.intervals(self.samples)
        is_other = reference is not self
        cost = None
        if self.savings is not None:
            cost, saved = self.savings
            if is_other:
                gaps = {share: metrics.sample_interval(saved[share] - reference.savings[1][share]) for share in saved}
                cost = replace(cost, saved_minus_reference=gaps)
        shares = {source: self._shares(one.rows.sources == source) for source in one.resamples.sources}
        return PredictorResult(
            predictor=self.label,
            revisions=tuple(seed.router.predictor.revision for seed in self.seeds),
            router=repr(self.seeds[0].router),
            policy=repr(self.seeds[0].router.policy),
            average=average,
            seeds=tuple(float(one.resamples.normalized(chosen)[0, -1]) for chosen in self.chosen),
            minus_reference=metrics.sample_interval((self.samples - reference.samples)[:, -1]) if is_other else None,
            by_source=by_source,
            score=self._mean(lambda chosen: float(chosen.mean())),
            score_by_source=one.by_source(np.mean(self.chosen, axis=0)),
            regret=self._mean(lambda chosen: metrics.regret(chosen, scores)),
            gap_recovered=None
            if one.best_single is None
            else self._mean(lambda chosen: metrics.gap_recovered(chosen, scores, one.best_single)),
            hit_rate=self._mean(lambda chosen: metrics.hit_rate(chosen, scores)),
            hit_rate_by_source=one.by_source(np.mean([metrics.hits(chosen, scores) for chosen in self.chosen], axis=0)),
            model_recall=self._mean(lambda chosen: metrics.model_recall(chosen, scores, right=RIGHT)),
            collapse_index=float(
                np.mean([metrics.collapse_index(metrics.shares(choice, scores.shape[1])) for choice in self.choices])
            ),
            shares=self._shares(np.ones(len(scores), dtype=bool)),
            shares_by_source=shares,
            against_best_single=self._against_best_single(),
            cost=cost,
            calibration=self._calibration(),
            fit_seconds=self.seeds[0].fit_seconds,
            predict_seconds=self.seeds[0].predict_seconds,
        )

    def _mean(self, figure: Callable[[np.ndarray], float]) -> float:
        return float(np.mean([figure(chosen) for chosen in self.chosen]))

    def _shares(self, mask: np.ndarray) -> dict[str, float]:
        names = self.yardstick.pool.names
        found = np.mean([metrics.shares(choice[mask], len(names)) for choice in self.choices], axis=0)
        return dict(zip(names, found.tolist(), strict=True))

    def _against_best_single(self) -> tuple[tuple[int, int, float, float, float], ...]:
        single, scores = self.yardstick.best_single, self.yardstick.rows.scores
        if single is None:
            return ()
        gaps = np.stack([chosen - scores[:, single] for chosen in self.chosen])
        n_right = (scores >= RIGHT).sum(axis=1)
        found = []
        for number in np.unique(n_right):
            part = gaps[:, n_right == number]
            shares = ((part > 1e-9).mean(), (abs(part) <= 1e-9).mean(), (part < -1e-9).mean())
            found.append((int(number), part.shape[1], *map(float, shares)))
        return tuple(found)

    def _calibration(self) -> CalibrationResult | None:
        prediction, rows = self.seeds[0].prediction, self.yardstick.rows
        probabilities = prediction.probabilities
        if probabilities is None:
            return None
        scores = rows.scores[:, [rows.pool.index(name) for name in prediction.pool.names]]
        errors = [metrics.expected_calibration_error(p, y) for p, y in zip(probabilities.T, scores.T, strict=True)]
        order = np.argsort(probabilities, axis=None, kind="stable")
        bins = [part for part in np.array_split(order, 10) if len(part)]
        return CalibrationResult(
            error=float(np.mean(errors)),
            predicted=tuple(float(probabilities.ravel()[part].mean()) for part in bins),
            observed=tuple(float(scores.ravel()[part].mean()) for part in bins),
        )
