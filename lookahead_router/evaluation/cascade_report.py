"""`compare_cascades`: asking again after a look at the answer, beside routing before the call over the same pool."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router import __version__, metrics
from lookahead_router.dispatch.cascade import check_order
from lookahead_router.dispatch.checks import Check
from lookahead_router.dispatch.stopping import Stopping, log_odds_of
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.evaluation.bootstrap import costs_at_quality
from lookahead_router.evaluation.cascades import (
    Asked,
    CheckResult,
    Looked,
    measure_checks,
    replay,
    stop_in_hindsight,
)
from lookahead_router.evaluation.compare import Material
from lookahead_router.evaluation.entries import Ask, Entry, Foreseen, Foresight, Tell, ask_here, within
from lookahead_router.evaluation.hops import Hops, alike, experience
from lookahead_router.evaluation.measure import Yardstick
from lookahead_router.metrics import Interval
from lookahead_router.policies import BestQuality
from lookahead_router.predictors.embedder import Embedder
from lookahead_router.types import Prediction

QUALITY_SHARES = (1.0, 0.98, 0.95)
"""Shares of the best single candidate's quality at which dollars are compared."""
N_WEIGHTS = 25
"""Settings of the score that a dollar is worth."""


@dataclass(frozen=True)
class CascadeLine:
    """One way of asking, over all weights of a dollar."""

    label: str
    max_calls: int
    area: Interval
    """Mean score over the dollars from the cheapest candidate's to the dearest's."""
    minus_before: Interval | None
    """Its area less that of routing before the call, on the same resamples; `None` of that line itself."""
    saved: dict[str, Interval]
    """Share of the best single candidate's dollars that is saved at a share of its score; 0 where it is not reached."""
    n_calls: float | None
    """Mean calls at the cheapest setting that keeps 95 % of that score; `None` where none does."""
    in_vain: float | None
    """Share of prompts, there, that were asked again though no candidate has a right answer."""
    frontier_usd: tuple[float, ...]
    frontier_score: tuple[float, ...]
    seed_areas: tuple[float, ...] = ()
    """Area of each seed of a learnt policy; in the other figures the runs count alike."""


@dataclass(frozen=True)
class HindsightLine:
    """What would be possible for who knows the answers' scores."""

    label: str
    score: float
    usd: float
    n_calls: float


@dataclass(frozen=True)
class CascadeEntry:
    """One predictor's lines, and what its checks are worth beside it."""

    predictor: str
    checks: tuple[CheckResult, ...]
    lines: tuple[CascadeLine, ...]


@dataclass(frozen=True)
class CascadeResult:
    """All that was found on one dataset."""

    dataset: str
    split: str
    n_prompts: int
    best_single: str
    best_single_score: float
    best_single_usd: float
    entries: tuple[CascadeEntry, ...]
    hindsight: tuple[HindsightLine, ...]


@dataclass(frozen=True)
class CascadeReport:
    """Cascades on datasets of answers that are there already."""

    datasets: tuple[CascadeResult, ...]
    n_resamples: int
    version: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def compare_cascades(
    entries: Sequence[Entry],
    materials: Sequence[Material],
    checks: Sequence[Check],
    *,
    max_calls: int = 2,
    order: Sequence[str] | None = None,
    n_learnt: int = 0,
    embedder: Callable[[], Embedder] = Embedder.load,
    cache: Path | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    ask: Ask = ask_here,
    on_progress: Tell = lambda step, share: None,
) -> CascadeReport:
    """Asks, looks and asks again on logged answers, with every predictor's chances, and pays for every call.

    The checks' reliability is measured on the validation split. Every predictor routes before the call by the same
    chances, prices and weights; the line *checks shuffled* has the checks look at answers to other prompts.

    Args:
        entries: predictors.
        materials: datasets with a validation split, responses, scores and dollars.
        checks: what looks at answers.
        max_calls: most calls of a prompt, from 2 to 4.
        order: candidates in the order of asking, one a call; any candidate may come next when absent.
        n_learnt: seeds of a policy that is learnt on the train and validation rows (`Hops`), as two lines more: what it
            does, and the optimum on the evaluated rows by dynamic programming.
        embedder: gives the encoder that fitted predictors share.
        cache: folder for fits, predictions and learnt policies.
        n_resamples: bootstrap samples behind the 95 % intervals.
        seed: of the bootstrap and the shuffling.
        ask: has predictors predict.
        on_progress: told what comes and what share is done.

    Raises:
        ConfigurationError: nothing to compare, a number of calls out of range, or an order that is none.
        DataError: a dataset without validation or train split, responses or dollars.
        MissingDependencyError: a policy is to be learnt and torch is not installed.
        UnknownCandidateError: the order names a candidate that a dataset lacks.
    """
    if not entries or not materials:
        raise ConfigurationError("name at least one predictor and one dataset")
    check_order(max_calls, order)
    start, results = time.perf_counter(), []
    n_steps = len(materials) * len(entries)
    for at, material in enumerate(materials):
        looking = _told(_about(material.name, within(on_progress, at, at, of=len(materials))), "looking at answers")
        world = _World(material, checks, max_calls, order, n_learnt, n_resamples, seed, cache, looking)
        foresight = Foresight(
            world.one.rows, material.aligned_train, world.validation, BestQuality(), embedder, cache, 1, ask
        )
        found = []
        for number, entry in enumerate(entries):
            step = at * len(entries) + number
            tell = _about(f"{material.name}: {entry.label}", within(on_progress, step, step + 1, of=n_steps))
            foreseen = next(iter(foresight.of(entry, within(tell, 0, _FORESEEN))))
            found.append(world.entry(entry.label, foreseen, within(tell, _FORESEEN, 1)))
        results.append(world.result(material, found))
    return CascadeReport(tuple(results), n_resamples, __version__, time.perf_counter() - start)


_FORESEEN, _REPLAYED = 0.1, 0.2
"""Shares of an entry's work that are done once all is foreseen, and all but policies replayed."""


def _about(name: str, tell: Tell) -> Tell:
    return lambda what, share: tell(f"{name}: {what}", share)


def _told(tell: Tell, what: str) -> Callable[[float], None]:
    return lambda share: tell(what, share)


class _World:
    """One dataset: its answers, what the checks say of them, and the figures of a way of asking."""

    def __init__(
        self,
        material: Material,
        checks,
        max_calls: int,
        order,
        n_learnt: int,
        n_resamples: int,
        seed: int,
        cache: Path | None,
        tell: Callable[[float], None],
    ) -> None:
        name = f"{material.name}: " if material.name else ""
        self.validation = material.aligned_validation
        if self.validation is None or material.aligned_train is None:
            raise DataError(f"{name}a cascade needs a train and a validation split: checks are measured on the latter")
        self.one = Yardstick(
            material.evaluation, material.aligned_train, self.validation, n_resamples=n_resamples, seed=seed
        )
        if not self.one.has_costs:
            raise DataError(f"{name}dollars are not known of every candidate; give cost_usd of the answers")
        rows = self.one.rows
        self.looked, self.looked_before = (Looked.at(each, checks, tell) for each in (rows, self.validation))
        self.checks, self.max_calls, self.n_learnt, self.seed = checks, max_calls, n_learnt, seed
        self.train, self.cache = material.aligned_train, cache
        self.order = None if order is None else tuple(rows.pool.index(each) for each in order)
        self.expected = np.tile(self.one.call_costs, (len(rows), 1))
        spread = max(float(np.ptp(self.one.call_costs)), 1e-12)
        self.weights = np.concatenate([[0.0], np.geomspace(1e-2, 30, N_WEIGHTS - 1) / spread])
        self.single = self.one.best_single
        self.is_solvable = rows.scores.max(axis=1) >= 0.5

    def entry(self, label: str, foreseen: Foreseen, tell: Tell) -> CascadeEntry:
        """A predictor's lines."""
        tell("asking again", 0.0)
        rows, validation = self.one.rows, self.validation
        predictor = foreseen.router.predictor
        asked = validation.requests() if getattr(predictor, "reads_context", False) else validation.prompts
        before = foreseen.router.over_pool(predictor.predict(asked), len(validation))
        chances, chances_before = (_chances(each, rows.pool.names) for each in (foreseen.prediction, before))
        found = measure_checks(self.looked_before, chances_before, validation.scores, validation.sources)
        reliabilities = tuple(each.reliability for each in found)
        plain = self._line("before the call", 1, self._replay(Stopping((), 1), Looked((), ()), chances), None)
        lines = [plain[0]]
        for n_calls in range(2, self.max_calls + 1):
            stopping = Stopping(reliabilities, n_calls)
            runs = self._replay(stopping, self.looked, chances)
            lines.append(self._line(f"up to {n_calls} calls", n_calls, runs, plain[1])[0])
        if self.order is not None:
            names = " > ".join(rows.pool.names[column] for column in self.order[: self.max_calls])
            stopping = Stopping(reliabilities, self.max_calls, self.order)
            lines.append(self._line(names, self.max_calls, self._replay(stopping, self.looked, chances), plain[1])[0])
        shuffled = self.looked.select(np.random.default_rng(self.seed).permutation(len(rows)))
        stopping = Stopping(reliabilities, self.max_calls, self.order)
        runs = self._replay(stopping, shuffled, chances)
        lines.append(self._line("checks shuffled", self.max_calls, runs, plain[1])[0])
        if self.n_learnt:
            lines += self._learnt(predictor, chances, chances_before, plain[1], within(tell, _REPLAYED, 1))
        return CascadeEntry(label, tuple(found), tuple(lines))

    def _learnt(
        self, predictor, chances: np.ndarray, chances_before: np.ndarray, before: np.ndarray, tell: Tell
    ) -> list[CascadeLine]:
        """What learnt policies do, and the best that could be done with what they see."""
        rows, known = experience(predictor, self.train, self.validation, chances_before, within(tell, 0, 0.1))
        prices = self.one.call_costs
        looked = Looked.at(rows, self.checks, _told(within(tell, 0.1, 0.2), "looking at answers to learn from"))
        world = Hops(log_odds_of(known), looked, rows.scores, prices, self.max_calls)
        here = Hops(log_odds_of(chances), self.looked, self.one.rows.scores, prices, self.max_calls)
        policies, folder = [], None if self.cache is None else self.cache / "policies"
        learning = within(tell, 0.2, 0.8)
        for number in range(self.n_learnt):
            told = _told(within(learning, number, number + 1, of=self.n_learnt), f"learning policy {number + 1}")
            policies.append(world.learn(self.weights, seed=self.seed + number, cache=folder, tell=told))
        tell("replaying the policies", 0.8)
        runs = [run for policy in policies for run in (here.run(policy, weight) for weight in self.weights)]
        told = _told(within(tell, 0.9, 1), "solving for the optimum")
        best = [solved.done for solved in here.solve(self.weights, alike(chances), tell=told)]
        return [
            self._line(f"learnt, up to {self.max_calls} calls", self.max_calls, runs, before)[0],
            self._line("optimum on these prompts", self.max_calls, best, before)[0],
        ]

    def _replay(self, stopping: Stopping, looked: Looked, chances: np.ndarray) -> list[Asked]:
        """What a cascade does at every weight of a dollar."""
        return [replay(stopping, looked, chances, weight * self.expected) for weight in self.weights]

    def _line(
        self, label: str, max_calls: int, runs: list[Asked], before: np.ndarray | None
    ) -> tuple[CascadeLine, np.ndarray]:
        """The figures of one way of asking, and its area on every resample.

        Args:
            label: what it is called.
            max_calls: most calls of a prompt.
            runs: what was done at every weight of a dollar; of several seeds, one after the other.
            before: area of routing before the call, on the same resamples.
        """
        one, single, n_weights = self.one, self.single, len(self.weights)
        seeds = [runs[at : at + n_weights] for at in range(0, len(runs), n_weights)]
        usd = np.stack([np.column_stack([self._usd(run) for run in each]) for each in seeds])
        scores = np.stack([np.column_stack([self._scores(run) for run in each]) for each in seeds])
        spent, gained = (one.resamples.means(each.mean(axis=0)) for each in (usd, scores))
        means = one.costs.mean(axis=0)
        area = np.array(
            [metrics.area_under_frontier(*each, means.min(), means.max()) for each in zip(spent, gained, strict=True)]
        )
        single_usd = one.resamples.means(one.costs[:, single])
        single_score = one.resamples.means(one.rows.scores[:, single])
        saved = {}
        for share in QUALITY_SHARES:
            least = costs_at_quality(spent, gained, share * single_score)
            with np.errstate(divide="ignore", invalid="ignore"):
                shares = np.where(np.isnan(least), 0.0, np.maximum(1 - least / single_usd, 0.0))
            saved[f"{share:.2f}"] = metrics.sample_interval(np.where(single_usd > 0, shares, np.nan))
        reaching = np.flatnonzero(gained[0] >= 0.95 * single_score[0])
        cheapest = reaching[spent[0][reaching].argmin()] if len(reaching) else None
        calls = None if cheapest is None else np.stack([each[cheapest].n_calls for each in seeds])
        line = CascadeLine(
            label=label,
            max_calls=max_calls,
            area=metrics.sample_interval(area),
            minus_before=None if before is None else metrics.sample_interval(area - before),
            saved=saved,
            n_calls=None if calls is None else float(calls.mean()),
            in_vain=None if calls is None else float(((calls > 1) & ~self.is_solvable).mean()),
            frontier_usd=tuple(spent[0].tolist()),
            frontier_score=tuple(gained[0].tolist()),
            seed_areas=tuple(self._areas(usd, scores)) if len(seeds) > 1 else (),
        )
        return line, area

    def _areas(self, usd: np.ndarray, scores: np.ndarray) -> list[float]:
        """Area of each seed, by `(n_seeds, n, n_weights)` dollars and scores."""
        means = self.one.costs.mean(axis=0)
        curves = zip(usd.mean(axis=1), scores.mean(axis=1), strict=True)
        return [float(metrics.area_under_frontier(*each, means.min(), means.max())) for each in curves]

    def _usd(self, run: Asked) -> np.ndarray:
        return (self.one.costs * run.is_asked).sum(axis=1)

    def _scores(self, run: Asked) -> np.ndarray:
        return metrics.chosen_scores(self.one.rows.scores, run.accepted)

    def result(self, material: Material, entries: Sequence[CascadeEntry]) -> CascadeResult:
        """All of one dataset, with what would be possible in hindsight."""
        rows, costs = self.one.rows, self.one.costs
        cheapest_best = np.where(rows.scores >= rows.scores.max(axis=1, keepdims=True) - 1e-9, costs, np.inf).argmin(1)
        alone = np.zeros(costs.shape, dtype=bool)
        alone[np.arange(len(rows)), cheapest_best] = True
        ideals = {
            "oracle, before the call": Asked(cheapest_best, np.ones(len(rows), dtype=int), alone),
            "oracle stop, cheapest first": stop_in_hindsight(rows.scores, costs),
        }
        return CascadeResult(
            dataset=material.name,
            split=material.split,
            n_prompts=len(rows),
            best_single=rows.pool.names[self.single],
            best_single_score=float(rows.scores[:, self.single].mean()),
            best_single_usd=float(costs[:, self.single].mean()),
            entries=tuple(entries),
            hindsight=tuple(
                HindsightLine(
                    label, float(self._scores(run).mean()), float(self._usd(run).mean()), float(run.n_calls.mean())
                )
                for label, run in ideals.items()
            ),
        )


def _chances(prediction: Prediction, names: Sequence[str]) -> np.ndarray:
    """`(n, K)` chances in the columns of a dataset; NaN of whoever the router does not decide among."""
    known = prediction.probabilities if prediction.probabilities is not None else prediction.scores
    found = np.full((len(prediction), len(names)), np.nan)
    for column, name in enumerate(prediction.pool.names):
        found[:, list(names).index(name)] = known[:, column]
    return found
