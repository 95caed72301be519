"""`fit`: from scored answers of one's own candidates to a router, chosen on prompts that it was not fitted on."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError, DataError, TruncatedPromptWarning, UnknownProfileWarning
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.crossfit import Crossfitted, Fitting, crossfit, folds_of, remembering, with_parts
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.prices import expected_pool, usual_costs
from lookahead_router.evaluation.results import ComparisonReport, plain
from lookahead_router.metrics import Interval
from lookahead_router.policies import BestQuality, KeepQuality, Policy, checked_utilities
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool

PROFILES, BEST_SINGLE = "profiles", "best-single"
PREDICTORS = (PROFILES, "knn", "classifier", "rule")
"""What is tried unless the user says otherwise, beside the best single candidate."""
SMALL: Mapping[str, Mapping[str, Any]] = {"knn": {"n_neighbors": 40}, "clusters": {"n_clusters": 16}}
"""Settings that suit some hundred prompts better than a kind's own."""
COMPONENT_VARIANCE = 0.002
"""Prior variance of an ability for a domain component, at most: of some hundred prompts, more learns noise."""
MIN_PROMPTS = 20
"""Prompts with a score of every candidate below which nothing can be chosen."""
SHARES = (None, 0.995, 0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.87, 0.85, 0.8, 0.75, 0.7)
"""Shares of the best candidate's expected quality that are tried; `None` asks for the best."""


@dataclass(frozen=True)
class Setting:
    """What the chosen predictor would have got and spent on the user's prompts, under one policy."""

    quality: float | None
    """Share of the best candidate's expected quality that is kept, as `quality=` takes it; `None` asks for the best."""
    score: Interval
    """Mean score of the chosen answers, in [0, 1]."""
    gained: Interval
    """Score above the best single candidate's, prompt by prompt."""
    usd_per_prompt: float | None
    """Mean dollars; `None` where a candidate's are not known."""
    saved: Interval | None
    """Share of the best single candidate's dollars, at most 1; `None` where they are not known, or 0."""
    shares: dict[str, float]
    """Fraction of the prompts sent to each candidate."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """A router for the user's candidates, and why it is this one."""

    router: Router
    """Of the chosen predictor, fitted on all prompts, under the policy chosen."""
    chosen: str
    """Kind of its predictor; `best-single` where nothing beat that candidate."""
    best_single: str
    """The candidate with the best mean score."""
    best_single_score: float
    best_single_usd: float | None
    """Mean dollars of its answers; `None` where they are not known."""
    settings: tuple[Setting, ...]
    """What the best predictor other than `best-single` would have got, by falling share of quality."""
    setting: Setting | None
    """The one of the router; `None` where it sends all to the best single candidate."""
    errors: dict[str, float]
    """Mean squared error of the foreseen differences between candidates, by kind; the least one was chosen."""
    comparison: ComparisonReport
    """All that was tried, each on prompts that it was not fitted on."""
    n_prompts: int
    n_compared: int
    """Prompts with a score of every candidate, on which it was chosen."""
    target: float
    """Share of the best single candidate's mean score that was to be kept."""
    notes: tuple[str, ...]
    """What a user should know of the data."""

    @property
    def is_recommended(self) -> bool:
        """Whether routing beat the best single candidate."""
        return self.setting is not None

    @property
    def verdict(self) -> str:
        """What was found, in a sentence or two."""
        return _verdict(self)

    def save(self, folder: str | Path) -> None:
        """Writes the router with a card that tells what was found; `Router.from_pretrained` reads the folder.

        Raises:
            ConfigurationError: the folder holds something else.
        """
        from lookahead_router.evaluation.fit_report import write_card

        self.router.save(folder)
        write_card(self, Path(folder))

    def write_report(self, folder: str | Path) -> None:
        """Writes `report.html`, `report.md` with its figures, and `report.json`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from lookahead_router.evaluation.fit_report import write_fit_report

        write_fit_report(self, Path(folder))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        fields = ("chosen", "best_single", "best_single_score", "best_single_usd", "errors", "n_prompts", "n_compared")
        found = {name: getattr(self, name) for name in (*fields, "target", "notes", "is_recommended", "verdict")}
        found["settings"] = [asdict(each) for each in self.settings]
        found["setting"] = None if self.setting is None else asdict(self.setting)
        return plain({**found, "policy": repr(self.router.policy), "comparison": self.comparison.to_dict()})


def fit(
    answers: RoutingDataset | OutcomeTable,
    *,
    candidates: Iterable[str | Candidate] | None = None,
    profiles: Mapping[str, str] | None = None,
    predictors: Sequence[str] = PREDICTORS,
    start: Router | None = None,
    quality: float = 1.0,
    n_folds: int = 5,
    n_resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> FitResult:
    """Fits predictors on scored answers, and chooses one by how it does on prompts that it has not seen.

    Prompts are split into folds, near-duplicates together; each fold is foreseen by fits on the others. The predictor
    whose foreseen differences between candidates are nearest to the observed ones is fitted again on all prompts. Its
    policy is the cheapest that keeps the quality asked for. It is recommended where it then scores better than the
    best single candidate, or costs less at that quality, by more than chance; otherwise the router sends every prompt
    to that candidate, and says so.

    Args:
        answers: prompts with observed scores in [0, 1]; costs, where known, decide what can be saved.
        candidates: with their prices, where they have some; those of the answers when absent.
        profiles: `{name: known name}`: whose public profile a candidate starts from that nobody knows.
        predictors: kinds to try: `profiles`, or any of `FITTED`.
        start: a router whose predictor is for any pool, for the network and the public profiles; the embedded one
            when absent.
        quality: share of the best single candidate's mean score to keep, > 0.
        n_folds: at least 2.
        n_resamples: bootstrap samples behind the 95 % intervals.
        seed: of folds, bootstrap and whatever is random in fitting.
        on_progress: told before each step what comes, and what share of all is done.

    Raises:
        DataError: fewer than two candidates, too few prompts that all of them were scored on, a score outside [0, 1],
            or scores that are all the same.
        ConfigurationError: an unknown kind, or an option out of its range.
        UnknownCandidateError: a candidate without answers.
        MissingDependencyError: a kind needs scikit-learn or torch, which is not installed.
    """
    _check_options(predictors, quality, n_folds)
    answers = answers.to_dataset() if isinstance(answers, OutcomeTable) else answers
    dataset, notes = _prepared(answers, candidates)
    rows = dataset.select(~np.isnan(dataset.scores).any(axis=1))
    _check_rows(rows, dataset)
    on_progress("reading prompts", 0.02)
    with warnings.catch_warnings():
        for category in (TruncatedPromptWarning, UnknownProfileWarning):  # the answers tell more than a name
            warnings.simplefilter("ignore", category)
        started = _started(start, dataset, profiles)
        fittings = _fittings(remembering(started, list(dataset.prompts)), predictors, seed)
        folds = folds_of(list(dataset.prompts), min(n_folds, len(rows)), seed)
        found = crossfit(fittings, dataset, folds, lambda step, share: on_progress(step, 0.2 + 0.6 * share))
        comparison = _compare(found, rows, dataset, n_resamples, seed)
        errors = {
            label: difference_error(one.predict(rows.prompts).scores, rows.scores) for label, one in found.items()
        }
        kind = min((label for label in found if label != BEST_SINGLE), key=errors.__getitem__)
        settings = _settings(found[kind], rows, dataset, n_resamples, seed)
        setting = _recommended(settings, quality, float(rows.scores[:, dataset.best_single()].mean()))
        chosen = kind if setting is not None else BEST_SINGLE
        on_progress(f"fitting {chosen} on all prompts", 0.9)
        predictor = _fittings(started, (chosen,), seed)[chosen](dataset)
    single = dataset.best_single()
    policy = BestQuality() if setting is None or setting.quality is None else KeepQuality(setting.quality)
    usd = _dollars(rows, dataset.pool)[:, single].mean()
    return FitResult(
        router=Router(predictor, policy=policy),
        chosen=chosen,
        best_single=dataset.pool.names[single],
        best_single_score=float(rows.scores[:, single].mean()),
        best_single_usd=None if np.isnan(usd) else float(usd),
        settings=settings,
        setting=setting,
        errors=errors,
        comparison=comparison,
        n_prompts=len(dataset),
        n_compared=len(rows),
        target=quality,
        notes=notes,
    )


def difference_error(foreseen: np.ndarray, observed: np.ndarray) -> float:
    """Mean squared error of scores, each less the mean over the candidates of its prompt: what decides between them.

    Args:
        foreseen: `(n, K)` predicted scores.
        observed: `(n, K)` observed scores.
    """
    gaps = foreseen - observed
    return float(((gaps - gaps.mean(axis=1, keepdims=True)) ** 2).mean())


def _check_options(predictors: Sequence[str], quality: float, n_folds: int) -> None:
    if isinstance(predictors, str) or not predictors:
        raise ConfigurationError(f"predictors is a list of kinds, such as {list(PREDICTORS)}, got {predictors!r}")
    for kind in predictors:
        if kind not in (PROFILES, *FITTED):
            raise ConfigurationError(
                f"unknown kind of predictor {kind!r}; choose from {', '.join((PROFILES, *FITTED))}"
            )
    if set(predictors) <= {BEST_SINGLE, "random"}:
        raise ConfigurationError(f"name a predictor that reads prompts to try, such as {PROFILES}")
    if not isinstance(quality, int | float) or isinstance(quality, bool) or not 0 < quality < float("inf"):
        raise ConfigurationError(f"quality is a share > 0 of the best single candidate's score, got {quality!r}")
    if type(n_folds) is not int or n_folds < 2:
        raise ConfigurationError(f"n_folds is a number of at least 2, got {n_folds!r}")


def _prepared(
    answers: RoutingDataset, candidates: Iterable[str | Candidate] | None
) -> tuple[RoutingDataset, tuple[str, ...]]:
    """The answers of the candidates under their prices, and what a user should know of them."""
    dataset = answers
    if candidates is not None:
        pool = CandidatePool(candidates)
        missing = [name for name in pool.names if name not in dataset.pool.names]
        for name in missing:
            dataset.pool.index(name)  # raises
        dataset = dataset.with_candidates(pool.names).align(pool)
    if len(dataset.pool) < 2:
        raise DataError(f"the answers are of {', '.join(dataset.pool.names)} alone; a router needs two candidates")
    scores = dataset.scores
    known = scores[~np.isnan(scores)]
    if len(known) and not (known.min() >= 0 and known.max() <= 1):
        raise DataError(f"scores must lie in [0, 1], got {known.min():.6g} to {known.max():.6g}; scale them first")
    unjudged = [name for name, column in zip(dataset.pool.names, scores.T, strict=True) if np.isnan(column).all()]
    if unjudged:
        raise DataError(f"no prompt has a score of {', '.join(unjudged)}; judge some, or leave them out")
    dataset = _without_repeats(dataset.select(~np.isnan(scores).all(axis=1)))
    dataset = replace(dataset, pool=expected_pool(dataset.pool, dataset))
    notes = []
    if len(dataset) < len(answers):
        notes.append(f"{len(answers) - len(dataset):,} prompts without a score, or that came before, are left out")
    unpriced = [name for name, usd in zip(dataset.pool.names, usual_costs(dataset.pool), strict=True) if np.isnan(usd)]
    if unpriced:
        notes.append(f"no price of {', '.join(unpriced)} is known, so what can be saved is not")
    return dataset, tuple(notes)


def _without_repeats(dataset: RoutingDataset) -> RoutingDataset:
    """The first row of every prompt."""
    seen: dict[str, int] = {}
    for row, prompt in enumerate(dataset.prompts):
        seen.setdefault(prompt, row)
    return dataset.select(list(seen.values()))


def _check_rows(rows: RoutingDataset, dataset: RoutingDataset) -> None:
    if len(rows) < MIN_PROMPTS:
        raise DataError(
            f"{len(rows)} of {len(dataset)} prompts have a score of every candidate, and to choose by takes at least "
            f"{MIN_PROMPTS}; collect and judge more, leave out candidates that were hardly asked, or let these answers "
            "refine a router with `onboard`, which takes any"
        )
    if np.ptp(rows.scores) < 1e-9:
        raise DataError(
            f"all {rows.scores.size:,} scores are {rows.scores.flat[0]:g}, so there is nothing to tell candidates "
            "apart by; look at the judge, or ask harder prompts"
        )
    if np.ptp(rows.scores, axis=1).max() < 1e-9:
        raise DataError(
            "on every prompt all candidates score alike, so there is nothing to route by; look at the judge, or take "
            "the cheapest candidate"
        )


def _started(start: Router | None, dataset: RoutingDataset, profiles: Mapping[str, str] | None) -> OpenPoolPredictor:
    predictor = OpenPoolPredictor.load() if start is None else start.predictor
    if not isinstance(predictor, OpenPoolPredictor):
        raise ConfigurationError(f"fit starts from a predictor for any pool, such as the embedded one, not {start!r}")
    predictor = predictor.with_candidates(list(dataset.pool), profiles=profiles)
    variance = min(predictor.population.component_variance, COMPONENT_VARIANCE)
    return with_parts(predictor, population=replace(predictor.population, component_variance=variance))


def _fittings(start: OpenPoolPredictor, kinds: Sequence[str], seed: int) -> dict[str, Fitting]:
    """How each kind is fitted, the best single candidate first, which the others are compared to."""

    def of(kind: str) -> Fitting:
        if kind == PROFILES:
            return start.onboard
        made = fitted_class(kind)
        embedder = NetworkEmbedder(start) if made.reads_embeddings else None
        return lambda dataset: made(embedder=embedder, seed=seed, **SMALL.get(kind, {})).fit(dataset)

    return {kind: of(kind) for kind in dict.fromkeys((BEST_SINGLE, *kinds))}


def _compare(
    found: Mapping[str, Crossfitted], rows: RoutingDataset, dataset: RoutingDataset, n_resamples: int, seed: int
) -> ComparisonReport:
    """All that was tried, by the one engine of comparisons."""
    rows = replace(rows, sources=np.array(["your prompts"] * len(rows), dtype=object))
    entries = [Entry(label, router=Router(one)) for label, one in found.items()]
    material = Material("your prompts", "cross-validation", rows, dataset)
    return compare(entries, [material], n_resamples=n_resamples, seed=seed, check_leakage=False, keep_going=False)


def _dollars(rows: RoutingDataset, pool: CandidatePool) -> np.ndarray:
    """`(n, K)` dollars of every answer: measured, or the expected ones where they were not."""
    return np.where(np.isnan(rows.costs_usd), usual_costs(pool), rows.costs_usd)


def _settings(
    predictor: Crossfitted, rows: RoutingDataset, dataset: RoutingDataset, n_resamples: int, seed: int
) -> tuple[Setting, ...]:
    """What the predictor would have got, asked for the best, and where dollars are known for ever less of it."""
    prediction = predictor.predict(rows.prompts)
    dollars, single = _dollars(rows, dataset.pool), dataset.best_single()
    has_dollars = not np.isnan(dollars).any() and not np.isnan(usual_costs(dataset.pool)).any()
    counts = metrics.resample_counts(np.zeros(len(rows)), n_resamples=n_resamples, seed=seed)

    def mean(values: np.ndarray) -> np.ndarray:
        return counts @ values / len(values)

    found = []
    for share in SHARES if has_dollars else SHARES[:1]:
        policy: Policy = BestQuality() if share is None else KeepQuality(share)
        choice = checked_utilities(policy, prediction, prediction.pool).argmax(axis=1)
        scores = metrics.chosen_scores(rows.scores, choice)
        spent, theirs = metrics.chosen_scores(dollars, choice), dollars[:, single]
        saved = None
        if has_dollars and theirs.sum() > 0:
            saved = metrics.sample_interval(1 - mean(spent) / np.maximum(mean(theirs), 1e-300))
        shares = metrics.shares(choice, len(dataset.pool)).tolist()
        found.append(
            Setting(
                quality=share,
                score=metrics.sample_interval(mean(scores)),
                gained=metrics.sample_interval(mean(scores - rows.scores[:, single])),
                usd_per_prompt=float(spent.mean()) if has_dollars else None,
                saved=saved,
                shares=dict(zip(dataset.pool.names, shares, strict=True)),
            )
        )
    return tuple(found)


def _recommended(settings: Sequence[Setting], quality: float, single: float) -> Setting | None:
    """The cheapest setting that keeps the quality; `None` where none beats the best single candidate."""
    kept = [each for each in settings if each.score.value >= quality * single - 1e-12]
    cheaper = [each for each in kept if each.saved is not None and each.saved.low > 0]
    if cheaper:
        return max(cheaper, key=lambda each: each.saved.value)
    return next((each for each in kept if each.gained.low > 0), None)


def _verdict(result: FitResult) -> str:
    single = f"{result.best_single} for every prompt ({100 * result.best_single_score:.1f} points)"
    setting = result.setting
    if setting is None:
        best = result.settings[0]
        return (
            f"No router beat {single}. The nearest gained {_points(best.gained)} points, which may be chance: the "
            f"router that was made sends everything to {result.best_single}."
        )
    gained = f"{100 * setting.score.value:.1f} points, {_points(setting.gained)} beside {single}"
    if setting.saved is None:
        return f"Routing beat {single}: {gained}."
    return f"Routing would have saved {_percent(setting.saved)} of the dollars, at {gained}."


def _points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.0f} % [{100 * value.low:.0f}, {100 * value.high:.0f}]"
