"""The choice that `fit` makes: a kind of predictor and a setting, and what such a choice gets on prompts new to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.evaluation.crossfit import Crossfitted
from lookahead_router.evaluation.prices import usual_costs
from lookahead_router.metrics import Interval
from lookahead_router.policies import BestQuality, KeepQuality, checked_utilities
from lookahead_router.types import CandidatePool

PROFILES, BEST_SINGLE = "profiles", "best-single"
SHARES = (None, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.87, 0.85, 0.8, 0.75, 0.7)
"""Shares of the best candidate's expected quality that are tried; `None` asks for the best."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What routing got and spent on the user's prompts, each foreseen by fits on others."""

    score: Interval
    """Mean score of the chosen answers, in [0, 1]."""
    gained: Interval
    """Score above that of the candidate that the other folds have as the best single one, prompt by prompt."""
    standard_error: float
    """Standard error of `gained`."""
    usd_per_prompt: float | None
    """Mean dollars; `None` where a candidate's are not known."""
    saved: Interval | None
    """Share of the best single candidate's dollars, at most 1; `None` where they are not known, or 0."""
    shares: dict[str, float]
    """Fraction of the prompts sent to each candidate."""


@dataclass(frozen=True, kw_only=True)
class Setting(Measured):
    """What one predictor would have got under one policy. Of several, the one that looks best had luck as well."""

    quality: float | None
    """Share of the best candidate's expected quality that is kept, as `quality=` takes it; `None` asks for the best."""


@dataclass(frozen=True, kw_only=True)
class Outlook(Measured):
    """What choosing a predictor and a setting gets on prompts that it was not chosen by: a fold's by the others.

    These figures hold none of the luck of the best of several.
    """

    n_routed: int
    """Folds in which the others have routing recommended; elsewhere all goes to the best single candidate."""
    n_folds: int


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A kind of predictor and its setting, as some prompts have it."""

    errors: dict[str, float]
    """Mean squared error of what it foresees, by kind."""
    kind: str
    """The one that is chosen, other than `best-single`."""
    settings: tuple[Setting, ...] = field(repr=False)
    """Its settings, by falling share of quality."""
    setting: Setting | None
    """The one that beats the best single candidate; `None` where none does."""


def squared_error(foreseen: np.ndarray, observed: np.ndarray) -> float:
    """Mean squared error of predicted scores: least where they are the expected ones.

    It reads every answer, where the routed score reads only the prompts that are routed otherwise; among some hundred
    prompts it tells predictors apart where that one is noise.

    Args:
        foreseen: `(n, K)` predicted scores.
        observed: `(n, K)` observed scores.
    """
    return float(((foreseen - observed) ** 2).mean())


class Trial:
    """What each kind of predictor foresaw of prompts with a score of every candidate, and whom it would have asked."""

    def __init__(self, tried: Mapping[str, Crossfitted], rows: RoutingDataset, pool: CandidatePool) -> None:
        """Lays out the figures.

        Args:
            tried: by kind. `best-single`, which the others are compared to, is among them.
            rows: prompts that all of these know, with every candidate's score.
            pool: the candidates with their expected prices.
        """
        self.dataset = rows
        self.dollars = np.where(np.isnan(rows.costs_usd), usual_costs(pool), rows.costs_usd)
        """`(n, K)`: measured, or the expected ones where they were not."""
        self.has_dollars = not np.isnan(self.dollars).any() and not np.isnan(usual_costs(pool)).any()
        self._predictions = {kind: one.predict(rows.requests()) for kind, one in tried.items()}
        self._errors = {
            kind: ((each.scores - rows.scores) ** 2).mean(axis=1) for kind, each in self._predictions.items()
        }
        self.single = self._predictions[BEST_SINGLE].scores.argmax(axis=1)
        """`(n,)` column of the candidate that the other folds have as the best single one."""
        self.single_scores = metrics.chosen_scores(rows.scores, self.single)
        self.single_dollars = metrics.chosen_scores(self.dollars, self.single)
        self.choice = cache(self._choice)

    def choose(
        self, quality: float | None, where: np.ndarray | None = None, *, n_resamples: int = 1000, seed: int = 0
    ) -> Chosen:
        """The predictor that foresees best, and its setting.

        Args:
            quality: share of the best single candidate's mean score to keep; the best score when absent.
            where: `(m,)` rows that the choice reads; all when absent.
            n_resamples: bootstrap samples behind the intervals.
            seed: of the bootstrap.
        """
        where = np.arange(len(self.dataset)) if where is None else where
        errors = {kind: float(by_row[where].mean()) for kind, by_row in self._errors.items()}
        kind = self._nearest(errors, where)
        counts = metrics.resample_counts(np.zeros(len(where)), n_resamples=n_resamples, seed=seed)
        settings = tuple(
            Setting(quality=share, **self._measure(self.choice(kind, share), where, counts))
            for share in (SHARES if self.has_dollars else SHARES[:1])
        )
        setting = recommended(settings, quality, float(self.single_scores[where].mean()))
        return Chosen(errors=errors, kind=kind, settings=settings, setting=setting)

    def outlook(self, quality: float | None, folds: np.ndarray, *, n_resamples: int = 1000, seed: int = 0) -> Outlook:
        """What `choose` gets on prompts that it has not read.

        Args:
            quality: as `choose` takes it.
            folds: `(n,)` of each row.
            n_resamples: bootstrap samples behind the intervals.
            seed: of the bootstrap.
        """
        choice, numbers, n_routed = self.single.copy(), np.unique(folds), 0
        for number in numbers:
            held = folds == number
            found = self.choose(quality, np.flatnonzero(~held), n_resamples=min(n_resamples, 200), seed=seed)
            if found.setting is not None:
                choice[held] = self.choice(found.kind, found.setting.quality)[held]
                n_routed += 1
        counts = metrics.resample_counts(np.zeros(len(choice)), n_resamples=n_resamples, seed=seed)
        measured = self._measure(choice, np.arange(len(choice)), counts)
        return Outlook(**measured, n_routed=n_routed, n_folds=len(numbers))

    def _nearest(self, errors: Mapping[str, float], where: np.ndarray) -> str:
        """The kind of least error; profiles, which go on learning, where that is no more than a standard error less."""
        best = min((kind for kind in errors if kind != BEST_SINGLE), key=errors.__getitem__)
        if PROFILES not in errors:
            return best
        gaps = self._errors[PROFILES][where] - self._errors[best][where]
        return PROFILES if gaps.mean() <= gaps.std() / len(gaps) ** 0.5 else best

    def _choice(self, kind: str, share: float | None) -> np.ndarray:
        """`(n,)` column of whom a predictor would ask."""
        prediction = self._predictions[kind]
        policy = BestQuality() if share is None else KeepQuality(share)
        return checked_utilities(policy, prediction, prediction.pool).argmax(axis=1)

    def _measure(self, choice: np.ndarray, where: np.ndarray, counts: np.ndarray) -> dict:
        """Figures of a choice on some rows."""

        def means(values: np.ndarray) -> np.ndarray:
            return counts @ values / len(values)

        scores = metrics.chosen_scores(self.dataset.scores, choice)[where]
        spent, single = metrics.chosen_scores(self.dollars, choice)[where], self.single_dollars[where]
        gaps = scores - self.single_scores[where]
        saved = None
        if self.has_dollars and single.sum() > 0:
            saved = metrics.sample_interval(1 - means(spent) / np.maximum(means(single), 1e-300))
        names = self.dataset.pool.names
        return {
            "score": metrics.sample_interval(means(scores)),
            "gained": metrics.sample_interval(means(gaps)),
            "standard_error": float(gaps.std() / len(gaps) ** 0.5),
            "usd_per_prompt": float(spent.mean()) if self.has_dollars else None,
            "saved": saved,
            "shares": dict(zip(names, metrics.shares(choice[where], len(names)).tolist(), strict=True)),
        }


def recommended(settings: Sequence[Setting], quality: float | None, single: float) -> Setting | None:
    """The setting that beats the best single candidate; `None` where none does.

    Asked for a share of its quality, it is the cheapest setting that keeps it. Else it is the best quality, if that
    gains more than its standard error; or the cheapest setting that loses nothing by more than its standard error.
    What is cheaper has to be by more than chance.

    Args:
        settings: by falling share of quality.
        quality: share of the best single candidate's mean score to keep; the best score when absent.
        single: that mean score.
    """
    cheaper = [each for each in settings if each.saved is not None and each.saved.low > 0]
    if quality is None and settings[0].gained.value > settings[0].standard_error:
        return settings[0]
    if quality is None:
        kept = [each for each in cheaper if each.gained.value - each.standard_error >= -1e-12]
    else:
        kept = [each for each in cheaper if each.score.value >= quality * single - 1e-12]
    return max(kept, key=lambda each: each.saved.value, default=None)
