"""`compare`: is this router better than what could be done without it?"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lookahead_router import __version__, metrics
from lookahead_router._files import replacing_file
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError, LookaheadRouterError, TruncatedPromptWarning
from lookahead_router.evaluation.bootstrap import Resamples, costs_at_quality
from lookahead_router.evaluation.leakage import find_leakage
from lookahead_router.evaluation.results import (
    CalibrationResult,
    CandidateResult,
    ComparisonReport,
    CostResult,
    DatasetResult,
    PredictorResult,
    ReferenceResult,
)
from lookahead_router.metrics import Interval
from lookahead_router.policies import BestQuality, Policy
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.baselines.registry import baseline_class, load_predictor
from lookahead_router.predictors.calibration import MIN_CALIBRATION_PROMPTS
from lookahead_router.predictors.embedder import Embedder

QUALITY_SHARES = (1.0, 0.95)
"""Of the best single candidate's quality, at which dollars are compared."""
N_WEIGHTS = 60
"""Settings on a cost-quality curve."""
RIGHT = 0.5
"""Score from which on an answer counts as right, in the tables by number of right candidates."""


@dataclass(frozen=True)
class Entry:
    """A predictor to compare, under a label of its own."""

    label: str
    baseline: str | None = None
    """Kind of baseline to fit on the training split."""
    locations: tuple[str | None, ...] = ()
    """Saved predictors otherwise; those with the dataset's candidates are its seeds. `None` is the embedded one."""


@dataclass(frozen=True)
class Material:
    """A dataset as a comparison needs it: prompts to route, and what baselines may learn from."""

    name: str
    split: str
    evaluation: RoutingDataset
    train: RoutingDataset | None = None
    validation: RoutingDataset | None = None
    """Calibrates baselines; uncalibrated without it."""


@dataclass(frozen=True)
class Predicted:
    """What a predictor said of all prompts."""

    revision: str
    scores: np.ndarray
    """`(n, K)`."""
    probabilities: np.ndarray | None
    """`(n, K)`; `None` where it is not calibrated."""
    fit_seconds: float | None
    predict_seconds: float | None


def compare(
    entries: Sequence[Entry],
    materials: Sequence[Material],
    *,
    policy: Policy | None = None,
    embedder: Callable[[], Embedder] = Embedder.load,
    cache: Path | None = None,
    n_seeds: int = 1,
    n_resamples: int = 1000,
    seed: int = 0,
    check_leakage: bool = True,
    on_progress: Callable[[str], None] = lambda step: None,
) -> ComparisonReport:
    """Routes every dataset with every predictor, on the same rows and the same resamples of them.

    A predictor that fails is a row with its error; the others go on.

    Args:
        entries: the first is the reference, which the others are compared to in pairs.
        materials: the datasets.
        policy: scores to utilities; `BestQuality()` when absent. Prices are the mean costs of the training split.
        embedder: gives the encoder that the baselines share, called when one needs it.
        cache: folder that keeps fitted baselines and predictions; nothing is kept when absent.
        n_seeds: fits of each baseline that is random, averaged.
        n_resamples: bootstrap samples behind the 95 % intervals.
        seed: of the bootstrap.
        check_leakage: whether to look for evaluation prompts in the training split.
        on_progress: told before each step what comes.

    Raises:
        ConfigurationError: no predictor, no dataset, or a label twice.
        DataError: a dataset without any prompt with a score of every candidate.
    """
    labels = [entry.label for entry in entries]
    if not entries or not materials:
        raise ConfigurationError("name at least one predictor and one dataset to compare")
    if len(set(labels)) < len(labels):
        raise ConfigurationError(f"labels must differ, got {', '.join(labels)}; name one with LABEL=LOCATION")
    start = time.perf_counter()
    policy = BestQuality() if policy is None else policy
    results = []
    for material in materials:
        one = _Comparison(material, policy, cache, n_resamples, seed)
        predicted = [(entry, one.predict(entry, embedder, n_seeds, on_progress)) for entry in entries]
        on_progress(f"{material.name}: intervals")
        results.append(one.result(predicted, check_leakage))
    seconds = time.perf_counter() - start
    return ComparisonReport(tuple(results), repr(policy), n_resamples, __version__, seconds)


class _Comparison:
    """All predictors on one dataset."""

    def __init__(self, material: Material, policy: Policy, cache: Path | None, n_resamples: int, seed: int) -> None:
        rows = material.evaluation
        is_scored = ~np.isnan(rows.scores).any(axis=1)
        if not is_scored.any():
            raise DataError(f"{material.name}: no prompt has a score of every candidate, so nothing can be compared")
        pool = rows.pool
        self.material = material
        self.rows = rows.select(is_scored)
        self.n_unscored = int((~is_scored).sum())
        self.train = None if material.train is None else material.train.align(pool)
        self.validation = None if material.validation is None else material.validation.align(pool)
        self.policy, self.cache = policy, cache
        self.call_costs = (rows if self.train is None else self.train).call_costs()
        self.pool = pool.with_call_costs(self.call_costs)
        self.resamples = Resamples(self.rows.scores, self.rows.sources, n_resamples=n_resamples, seed=seed)
        means = None if self.train is None else _means(self.train.scores)
        self.best_single = None if means is None or np.isnan(means).all() else int(np.nanargmax(means))

    @cached_property
    def has_costs(self) -> bool:
        """Whether all dollars are known, so that routes can be priced."""
        return not (np.isnan(self.rows.costs_usd).any() or np.isnan(self.call_costs).any())

    def predict(
        self, entry: Entry, embedder: Callable[[], Embedder], n_seeds: int, on_progress: Callable[[str], None]
    ) -> list[Predicted] | str:
        """What every seed of a predictor says, or why it could not."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TruncatedPromptWarning)
                return list(self._predictions(entry, embedder, n_seeds, on_progress))
        except Exception as error:  # one predictor must not lose the run for the others
            expected = isinstance(error, LookaheadRouterError)
            return str(error) if expected else f"{type(error).__name__} while predicting"

    def _predictions(
        self, entry: Entry, embedder: Callable[[], Embedder], n_seeds: int, on_progress: Callable[[str], None]
    ) -> Iterator[Predicted]:
        if entry.baseline is None:
            for location in self._fitting(entry.locations):
                on_progress(f"{self.material.name}: {entry.label}")
                yield self._ask(load_predictor(location), None)
            return
        kind = baseline_class(entry.baseline)
        if self.train is None:
            raise ConfigurationError("no training split to fit it on; give one in the file, or with --fit-data")
        encoder = embedder() if kind.reads_embeddings else None
        for seed in range(n_seeds if kind.is_random else 1):
            on_progress(f"{self.material.name}: {entry.label}" + (f", seed {seed}" if seed else ""))
            predictor, seconds = self._fit(kind(embedder=encoder, seed=seed))
            yield self._ask(predictor, seconds)

    def _fitting(self, locations: Sequence[str | None]) -> list[str | None]:
        """The saved predictors whose candidates are the dataset's.

        Raises:
            PoolMismatchError: of the only one, if they are others.
            ConfigurationError: none of several.
        """
        names = set(self.pool.names)
        fitting = [place for place in locations if set(load_predictor(place).pool.names) == names]
        if not fitting and len(locations) == 1:
            self.rows.align(load_predictor(locations[0]).pool)
        if not fitting:
            raise ConfigurationError("none of its saved predictors has the candidates of this dataset")
        return fitting

    def _fit(self, baseline) -> tuple[Predictor, float]:
        """The fitted baseline, out of the cache if it is there, and how long it took without embeddings."""
        parts = [repr(type(baseline)), json.dumps(baseline.settings(), sort_keys=True), self.train.fingerprint()]
        parts.append("" if self.validation is None else self.validation.fingerprint())
        parts.append("" if baseline.embedder is None else baseline.embedder.fingerprint)
        key = hashlib.sha256(" ".join([__version__, *parts]).encode()).hexdigest()[:24]
        folder = None if self.cache is None else self.cache / "baselines" / f"{baseline.kind}-{key}"
        if folder is not None and (folder / "fit.json").is_file():
            loaded = type(baseline).load(folder, embedder=baseline.embedder)
            return loaded, json.loads((folder / "fit.json").read_bytes())["seconds"]
        for dataset in (self.train, self.validation):
            if dataset is not None and baseline.embedder is not None:
                baseline.embedder.embed(dataset.prompts)  # kept there, so that it does not count below
        start = time.perf_counter()
        baseline.fit(self.train)
        seconds = time.perf_counter() - start
        if (
            self.validation is not None
            and (~np.isnan(self.validation.scores)).sum(axis=0).min() >= MIN_CALIBRATION_PROMPTS
        ):
            baseline.fit_calibration(self.validation)
        if folder is not None:
            baseline.save(folder)
            (folder / "fit.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")
        return baseline, seconds

    def _ask(self, predictor: Predictor, fit_seconds: float | None) -> Predicted:
        """Scores of all prompts, in the dataset's columns, out of the cache if they are there."""
        backend = getattr(getattr(predictor, "backend", None), "name", "")
        key = f"{predictor.revision}-{backend}-{self.rows.fingerprint()}"
        path = None if self.cache is None else self.cache / "scores" / f"{predictor.name}-{key}.npz"
        if path is not None and path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                scores, seconds = kept["scores"], float(kept["seconds"])
        else:
            if getattr(predictor, "embedder", None) is not None:
                predictor.embedder.embed(self.rows.prompts)
            start = time.perf_counter()
            scores = predictor.predict_scores(self.rows.prompts)
            seconds = time.perf_counter() - start
            if path is not None:
                with replacing_file(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, scores=scores, seconds=seconds)
        is_calibrated = getattr(predictor, "calibration", None) is not None
        probabilities = predictor.calibrate(scores) if is_calibrated else None
        columns = [predictor.pool.index(name) for name in self.pool.names]
        probabilities = None if probabilities is None else probabilities[:, columns]
        return Predicted(str(predictor.revision), scores[:, columns], probabilities, fit_seconds, seconds)

    def result(self, predicted: list[tuple[Entry, list[Predicted] | str]], check_leakage: bool) -> DatasetResult:
        """Every predictor measured, and the references beside them."""
        measured = [self._measure(entry.label, found) for entry, found in predicted]
        reference = next((one for one in measured if isinstance(one, _Measured)), None)
        rows, names, counts = self.rows, self.pool.names, dict.fromkeys(self.resamples.sources, 0)
        for source in rows.sources:
            counts[str(source)] += 1
        return DatasetResult(
            dataset=self.material.name,
            split=self.material.split,
            fingerprint=rows.fingerprint(),
            n_prompts=counts,
            n_unscored=self.n_unscored,
            reference=predicted[0][0].label if reference is None else reference.label,
            predictors=tuple(one.result(reference) if isinstance(one, _Measured) else one for one in measured),
            references=tuple(self._references()),
            candidates=tuple(
                CandidateResult(
                    candidate=name,
                    score=float(rows.scores[:, k].mean()),
                    mean_usd=float(rows.costs_usd[:, k].mean()) if self.has_costs else None,
                    average=float(self.resamples.normalized(rows.scores[:, k])[0, -1]),
                )
                for k, name in enumerate(names)
            ),
            leakage=find_leakage(self.train.prompts, rows.prompts, rows.ids)
            if check_leakage and self.train is not None
            else None,
            best_single=None if self.best_single is None else names[self.best_single],
        )

    def _measure(self, label: str, found: list[Predicted] | str) -> "_Measured | PredictorResult":
        if isinstance(found, str):
            return PredictorResult(label, error=found)
        try:
            return _Measured(self, label, found)
        except LookaheadRouterError as error:  # the policy has no use for this predictor
            return PredictorResult(label, error=str(error))

    def _references(self) -> Iterator[ReferenceResult]:
        scores, costs = self.rows.scores, self.rows.costs_usd
        every = np.arange(len(scores))
        choices: dict[str, np.ndarray] = {"random": np.zeros(0)}
        if self.best_single is not None:
            choices["best single"] = np.full(len(scores), self.best_single)
        choices["best per benchmark, in hindsight"] = np.zeros(len(scores), dtype=int)
        for source in self.resamples.sources:
            rows = self.rows.sources == source
            choices["best per benchmark, in hindsight"][rows] = scores[rows].mean(axis=0).argmax()
        # Of those that are best, the cheapest: it is the oracle of cost, too.
        is_best = scores >= scores.max(axis=1, keepdims=True) - 1e-9
        choices["oracle"] = np.where(is_best, costs if self.has_costs else 0.0, np.inf).argmin(axis=1)
        for name, choice in choices.items():
            chosen, spent = (
                values.mean(axis=1) if name == "random" else values[every, choice] for values in (scores, costs)
            )
            average, by_source = self.intervals(self.resamples.normalized(chosen))
            mean_usd = float(spent.mean()) if self.has_costs else None
            yield ReferenceResult(name, average, by_source, float(chosen.mean()), mean_usd)

    def intervals(self, samples: np.ndarray) -> tuple[Interval, dict[str, Interval]]:
        """Of normalised scores on all resamples: the average's interval, and each benchmark's."""
        found = [metrics.sample_interval(column) for column in samples.T]
        return found[-1], dict(zip(self.resamples.sources, found, strict=False))


class _Measured:
    """A predictor's choices on one dataset, and all that follows from them."""

    def __init__(self, comparison: _Comparison, label: str, seeds: list[Predicted]) -> None:
        self.comparison, self.label, self.seeds = comparison, label, seeds
        rows = comparison.rows
        self.choices = [self._choose(seed) for seed in seeds]
        self.chosen = [metrics.chosen_scores(rows.scores, choice) for choice in self.choices]
        # Linear in the chosen scores, so that the mean over seeds is that of their mean.
        self.samples = comparison.resamples.normalized(np.mean(self.chosen, axis=0))

    def _choose(self, seed: Predicted) -> np.ndarray:
        policy, pool = self.comparison.policy, self.comparison.pool
        if getattr(policy, "reads_probabilities", False):
            if seed.probabilities is None:
                raise ConfigurationError(f"{policy!r} reads probabilities and {self.label} is not calibrated")
            return policy.utilities(seed.scores, pool, seed.probabilities).argmax(axis=1)
        return policy.utilities(seed.scores, pool).argmax(axis=1)

    @cached_property
    def savings(self) -> tuple[CostResult, dict[str, np.ndarray]] | None:
        """The cost-quality curve, and on every resample the shares of dollars saved; `None` if dollars are unknown."""
        one = self.comparison
        if not one.has_costs or one.best_single is None:
            return None
        scores, costs, prices = one.rows.scores, one.rows.costs_usd, one.call_costs
        spread = max(float(np.ptp(prices)), 1e-12)
        weights = np.concatenate([[0.0], np.geomspace(1e-3, 1e2, N_WEIGHTS - 1) / spread])
        every = np.arange(len(scores))[:, None]
        spent, gained = np.zeros((len(scores), N_WEIGHTS)), np.zeros((len(scores), N_WEIGHTS))
        for seed in self.seeds:
            utilities = seed.scores[:, None, :] - weights[None, :, None] * prices
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
            saved[f"{share:.2f}"] = np.where(np.isnan(least), 0.0, 1 - least / single_usd)
        means = costs.mean(axis=0)
        result = CostResult(
            mean_usd=float(np.mean([metrics.mean_cost(costs, choice) for choice in self.choices])),
            weights=tuple(weights.tolist()),
            frontier_usd=tuple(spent[0].tolist()),
            frontier_score=tuple(gained[0].tolist()),
            area=metrics.area_under_frontier(spent[0], gained[0], means.min(), means.max()),
            saved={share: metrics.sample_interval(samples) for share, samples in saved.items()},
            is_reached=is_reached,
            saved_minus_reference=None,
        )
        return result, saved

    def result(self, reference: "_Measured") -> PredictorResult:
        """All figures, with paired differences to the reference."""
        one, scores = self.comparison, self.comparison.rows.scores
        average, by_source = one.intervals(self.samples)
        is_other = reference is not self
        cost = None
        if self.savings is not None:
            cost, saved = self.savings
            if is_other:
                gaps = {share: metrics.sample_interval(saved[share] - reference.savings[1][share]) for share in saved}
                cost = replace(cost, saved_minus_reference=gaps)
        shares = {source: self._shares(one.rows.sources == source) for source in one.resamples.sources}
        everywhere = self._shares(np.ones(len(scores), dtype=bool))
        return PredictorResult(
            predictor=self.label,
            revisions=tuple(seed.revision for seed in self.seeds),
            average=average,
            seeds=tuple(float(one.resamples.normalized(chosen)[0, -1]) for chosen in self.chosen),
            minus_reference=metrics.sample_interval((self.samples - reference.samples)[:, -1]) if is_other else None,
            by_source=by_source,
            score=self._mean(lambda chosen: float(chosen.mean())),
            regret=self._mean(lambda chosen: metrics.regret(chosen, scores)),
            gap_recovered=None
            if one.best_single is None
            else self._mean(lambda chosen: metrics.gap_recovered(chosen, scores, one.best_single)),
            hit_rate=self._mean(lambda chosen: metrics.hit_rate(chosen, scores)),
            model_recall=self._mean(lambda chosen: metrics.model_recall(chosen, scores, right=RIGHT)),
            collapse_index=max(everywhere.values()),
            shares={"": everywhere, **shares},
            against_best_single=self._against_best_single(),
            cost=cost,
            calibration=self._calibration(),
            fit_seconds=self.seeds[0].fit_seconds,
            predict_seconds=self.seeds[0].predict_seconds,
        )

    def _mean(self, figure: Callable[[np.ndarray], float]) -> float:
        return float(np.mean([figure(chosen) for chosen in self.chosen]))

    def _shares(self, mask: np.ndarray) -> dict[str, float]:
        names = self.comparison.pool.names
        found = np.mean([metrics.shares(choice[mask], len(names)) for choice in self.choices], axis=0)
        return dict(zip(names, found.tolist(), strict=True))

    def _against_best_single(self) -> tuple[tuple[int, int, float, float, float], ...]:
        single, scores = self.comparison.best_single, self.comparison.rows.scores
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
        probabilities, scores = self.seeds[0].probabilities, self.comparison.rows.scores
        if probabilities is None:
            return None
        errors = [metrics.expected_calibration_error(p, y) for p, y in zip(probabilities.T, scores.T, strict=True)]
        order = np.argsort(probabilities, axis=None, kind="stable")
        bins = [part for part in np.array_split(order, 10) if len(part)]
        return CalibrationResult(
            error=float(np.mean(errors)),
            predicted=tuple(float(probabilities.ravel()[part].mean()) for part in bins),
            observed=tuple(float(scores.ravel()[part].mean()) for part in bins),
        )


def _means(scores: np.ndarray) -> np.ndarray:
    """`(K,)` mean of what is judged; NaN where nothing is."""
    judged = ~np.isnan(scores)
    sums, counts = np.where(judged, scores, 0.0).sum(axis=0), judged.sum(axis=0)
    return np.divide(sums, counts, out=np.full(scores.shape[1], np.nan), where=counts > 0)
