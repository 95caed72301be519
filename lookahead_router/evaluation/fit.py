"""`fit`: from scored answers of one's own candidates to a router, chosen on prompts that it was not fitted on."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError, TruncatedPromptWarning, UnknownProfileWarning
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.crossfit import Crossfitted, Fitting, crossfit, folds_of, remembering, with_parts
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.prices import expected_pool, usual_costs
from lookahead_router.evaluation.results import ComparisonReport, plain
from lookahead_router.evaluation.scored import Scored, scored_dataset
from lookahead_router.metrics import Interval
from lookahead_router.policies import BestQuality, KeepQuality, checked_utilities
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import prompt_text
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool

PROFILES, BEST_SINGLE = "profiles", "best-single"
PREDICTORS = (PROFILES, "knn", "classifier", "rule")
"""What is tried unless the user says otherwise, beside the best single candidate."""
SMALL: Mapping[str, Mapping[str, Any]] = {"knn": {"n_neighbors": 40}, "clusters": {"n_clusters": 16}}
"""Settings that suit some hundred prompts better than a kind's own."""
COMPONENT_VARIANCES = (0.0005, 0.002, 0.01, 0.05)
"""Prior variances of an ability for a domain component that are tried: how far prompts may be unlike public ones."""
MIN_PROMPTS = 20
"""Prompts with a score of every candidate below which nothing can be chosen."""
OFFERED = 0.95
"""Share of the best single candidate's score that is shown beside it where routing does not beat it."""
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
    """Score above that of the candidate that the other folds have as the best single one, prompt by prompt."""
    standard_error: float
    """Of `gained`."""
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
    """Mean score of the best single candidate, which each fold has from the others as predictors have theirs."""
    best_single_usd: float | None
    """Mean dollars of its answers; `None` where they are not known."""
    settings: tuple[Setting, ...]
    """What the best predictor other than `best-single` would have got, by falling share of quality."""
    setting: Setting | None
    """The one of the router; `None` where it sends all to the best single candidate."""
    errors: dict[str, float]
    """Mean squared error of the foreseen scores, by kind; the least one was chosen, but profiles in preference where
    it is less by no more than a standard error."""
    comparison: ComparisonReport
    """All that was tried, each on prompts that it was not fitted on."""
    n_prompts: int
    n_compared: int
    """Prompts with a score of every candidate, on which it was chosen."""
    target: float | None
    """Share of the best single candidate's mean score that was to be kept; `None` where the best was asked for."""
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
    answers: Scored,
    *,
    candidates: Iterable[str | Candidate] | None = None,
    profiles: Mapping[str, str] | None = None,
    predictors: Sequence[str] = PREDICTORS,
    start: Router | None = None,
    quality: float | None = None,
    n_folds: int = 5,
    n_resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> FitResult:
    """Fits predictors on scored answers, and chooses one by how it does on prompts that it has not seen.

    Prompts are split into folds, near-duplicates together; each fold is foreseen by fits on the others. The predictor
    whose foreseen scores are nearest to the observed ones is fitted again on all prompts; of near equals it is the
    profiles, which go on learning. It is recommended where it beats the best single candidate: scores higher by more
    than a standard error, or costs less for as much. Otherwise the router sends every prompt to that candidate, and
    says so.

    Args:
        answers: prompts with observed scores in [0, 1], or what `lookahead_router.live.judge` gives; costs, where
            known, decide what can be saved.
        candidates: with their prices, where they have some; those of the answers when absent.
        profiles: `{name: known name}`: whose public profile a candidate starts from that nobody knows.
        predictors: kinds to try: `profiles`, or any of `FITTED`.
        start: a router whose predictor is for any pool, for the network and the public profiles; the embedded one
            when absent.
        quality: share of the best single candidate's mean score to keep, in (0, 1], as cheaply as that allows; the best
            score when absent.
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
    answers = scored_dataset(answers)
    dataset, notes = _prepared(answers, candidates)
    # Answers come as they arrived: the order says nothing, and may not decide who is in which fold.
    dataset = dataset.select(np.argsort(np.array([prompt_text(prompt) for prompt in dataset.prompts]), kind="stable"))
    rows = dataset.select(~np.isnan(dataset.scores).any(axis=1))
    _check_rows(rows, dataset)
    on_progress("reading prompts", 0.02)
    with warnings.catch_warnings():
        for category in (TruncatedPromptWarning, UnknownProfileWarning):  # the answers tell more than a name
            warnings.simplefilter("ignore", category)
        started = _started(start, dataset, profiles)
        fittings = _fittings(remembering(started, list(dataset.prompts)), predictors, seed)
        folds = _folds(dataset, n_folds, seed)
        tried = crossfit(fittings, dataset, folds, lambda step, share: on_progress(step, 0.2 + 0.6 * share))
        found, errors, places = _best_of_each(tried, rows)
        comparison = _compare(found, rows, dataset, n_resamples, seed)
        kind = _nearest(found, errors, rows)
        measured = _Rows(rows, dataset.pool, found[BEST_SINGLE], n_resamples, seed)
        settings = _settings(found, kind, measured)
        setting = _recommended(settings, quality, float(measured.single_scores.mean()))
        chosen = kind if setting is not None else BEST_SINGLE
        on_progress(f"fitting {chosen} on all prompts", 0.9)
        predictor = _fittings(started, (chosen,), seed)[places[chosen]](dataset)
    policy = BestQuality() if setting is None or setting.quality is None else KeepQuality(setting.quality)
    return FitResult(
        router=Router(predictor, policy=policy),
        chosen=chosen,
        best_single=dataset.pool.names[dataset.best_single()],
        best_single_score=float(measured.single_scores.mean()),
        best_single_usd=float(measured.single_dollars.mean()) if measured.has_dollars else None,
        settings=settings,
        setting=setting,
        errors=errors,
        comparison=comparison,
        n_prompts=len(dataset),
        n_compared=len(rows),
        target=quality,
        notes=notes,
    )


def squared_error(foreseen: np.ndarray, observed: np.ndarray) -> float:
    """Mean squared error of predicted scores: least where they are the expected ones.

    It reads every answer, where the routed score reads only the prompts that are routed otherwise; among some hundred
    prompts it tells predictors apart where that one is noise.

    Args:
        foreseen: `(n, K)` predicted scores.
        observed: `(n, K)` observed scores.
    """
    return float(((foreseen - observed) ** 2).mean())


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
    is_number = isinstance(quality, int | float) and not isinstance(quality, bool)
    if quality is not None and not (is_number and 0 < quality <= 1):
        raise ConfigurationError(f"quality is a share in (0, 1] of the best single candidate's score, got {quality!r}")
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


def _folds(dataset: RoutingDataset, n_folds: int, seed: int) -> np.ndarray:
    """`(n,)` fold of each prompt; none is empty."""
    folds = folds_of(list(dataset.prompts), n_folds, seed)
    if (n_there := len(np.unique(folds))) < n_folds:
        raise DataError(
            f"the {len(dataset)} prompts are near-duplicates of {n_there} only, so nothing can be tried on new ones; "
            "draw them from a log with `sample`"
        )
    return folds


def _started(start: Router | None, dataset: RoutingDataset, profiles: Mapping[str, str] | None) -> OpenPoolPredictor:
    predictor = OpenPoolPredictor.load() if start is None else start.predictor
    if not isinstance(predictor, OpenPoolPredictor):
        raise ConfigurationError(f"fit starts from a predictor for any pool, such as the embedded one, not {start!r}")
    return predictor.with_candidates(list(dataset.pool), profiles=profiles)


def _fittings(start: OpenPoolPredictor, kinds: Sequence[str], seed: int) -> dict[str, Fitting]:
    """How each kind is fitted, the best single candidate first, which the others are compared to.

    Profiles are fitted in several ways, told apart by a number behind the kind.
    """

    def of(kind: str) -> Fitting:
        made = fitted_class(kind)
        embedder = NetworkEmbedder(start) if made.reads_embeddings else None
        return lambda dataset: made(embedder=embedder, seed=seed, **SMALL.get(kind, {})).fit(dataset)

    found: dict[str, Fitting] = {}
    for kind in dict.fromkeys((BEST_SINGLE, *kinds)):
        if kind != PROFILES:
            found[kind] = of(kind)
            continue
        for variance in COMPONENT_VARIANCES:
            population = replace(start.population, component_variance=variance)
            found[f"{PROFILES} {variance}"] = with_parts(start, population=population).onboard
    return found


def _nearest(found: Mapping[str, Crossfitted], errors: Mapping[str, float], rows: RoutingDataset) -> str:
    """The kind of least error; profiles, which go on learning, where it is least by no more than a standard error."""
    best = min((kind for kind in found if kind != BEST_SINGLE), key=errors.__getitem__)
    if PROFILES not in found:
        return best
    by_row = [((found[kind].predict(rows.prompts).scores - rows.scores) ** 2).mean(axis=1) for kind in (PROFILES, best)]
    gaps = by_row[0] - by_row[1]
    return PROFILES if gaps.mean() <= gaps.std() / len(gaps) ** 0.5 else best


def _best_of_each(
    tried: Mapping[str, Crossfitted], rows: RoutingDataset
) -> tuple[dict[str, Crossfitted], dict[str, float], dict[str, str]]:
    """Of every kind the way that foresees best, its squared error, and its label among those that were tried."""
    found, errors, labels = {}, {}, {}
    for label, one in tried.items():
        kind = label.partition(" ")[0]
        error = squared_error(one.predict(rows.prompts).scores, rows.scores)
        if error < errors.get(kind, np.inf):
            found[kind], errors[kind], labels[kind] = one, error, label
    return found, errors, labels


def _compare(
    found: Mapping[str, Crossfitted], rows: RoutingDataset, dataset: RoutingDataset, n_resamples: int, seed: int
) -> ComparisonReport:
    """All that was tried, by the one engine of comparisons."""
    rows = replace(rows, sources=np.array(["your prompts"] * len(rows), dtype=object))
    entries = [Entry(label, router=Router(one)) for label, one in found.items()]
    material = Material("your prompts", "cross-validation", rows, dataset)
    return compare(entries, [material], n_resamples=n_resamples, seed=seed, check_leakage=False, keep_going=False)


class _Rows:
    """The prompts on which settings are measured, beside the best single candidate of the other folds."""

    def __init__(
        self, rows: RoutingDataset, pool: CandidatePool, best_single: Crossfitted, n_resamples: int, seed: int
    ) -> None:
        self.dataset = rows
        self.dollars = np.where(np.isnan(rows.costs_usd), usual_costs(pool), rows.costs_usd)
        """`(n, K)`: measured, or the expected ones where they were not."""
        self.has_dollars = not np.isnan(self.dollars).any() and not np.isnan(usual_costs(pool)).any()
        choice = best_single.predict(rows.prompts).scores.argmax(axis=1)
        self.single_scores = metrics.chosen_scores(rows.scores, choice)
        self.single_dollars = metrics.chosen_scores(self.dollars, choice)
        self._counts = metrics.resample_counts(np.zeros(len(rows)), n_resamples=n_resamples, seed=seed)

    def means(self, values: np.ndarray) -> np.ndarray:
        """`(n_resamples + 1,)` mean on the data, and on every resample."""
        return self._counts @ values / len(values)


def _settings(found: Mapping[str, Crossfitted], kind: str, rows: _Rows) -> tuple[Setting, ...]:
    """What a kind of predictor would have got, asked for the best, and where dollars are known for ever less of it."""
    prediction = found[kind].predict(rows.dataset.prompts)
    return tuple(
        _setting(share, checked_utilities(policy, prediction, prediction.pool).argmax(axis=1), rows)
        for share in (SHARES if rows.has_dollars else SHARES[:1])
        for policy in (BestQuality() if share is None else KeepQuality(share),)
    )


def _setting(share: float | None, choice: np.ndarray, rows: _Rows) -> Setting:
    scores, spent = metrics.chosen_scores(rows.dataset.scores, choice), metrics.chosen_scores(rows.dollars, choice)
    gaps = scores - rows.single_scores
    saved = None
    if rows.has_dollars and rows.single_dollars.sum() > 0:
        saved = metrics.sample_interval(1 - rows.means(spent) / np.maximum(rows.means(rows.single_dollars), 1e-300))
    names = rows.dataset.pool.names
    return Setting(
        quality=share,
        score=metrics.sample_interval(rows.means(scores)),
        gained=metrics.sample_interval(rows.means(gaps)),
        standard_error=float(gaps.std() / len(gaps) ** 0.5),
        usd_per_prompt=float(spent.mean()) if rows.has_dollars else None,
        saved=saved,
        shares=dict(zip(names, metrics.shares(choice, len(names)).tolist(), strict=True)),
    )


def _recommended(settings: Sequence[Setting], quality: float | None, single: float) -> Setting | None:
    """The setting that beats the best single candidate; `None` where none does.

    Asked for a share of its quality, it is the cheapest setting that keeps it. Else it is the best quality, if that
    gains more than its standard error; or the cheapest setting that loses nothing by more than its standard error.
    What is cheaper has to be by more than chance.
    """
    cheaper = [each for each in settings if each.saved is not None and each.saved.low > 0]
    if quality is None and settings[0].gained.value > settings[0].standard_error:
        return settings[0]
    if quality is None:
        kept = [each for each in cheaper if each.gained.value - each.standard_error >= -1e-12]
    else:
        kept = [each for each in cheaper if each.score.value >= quality * single - 1e-12]
    return max(kept, key=lambda each: each.saved.value, default=None)


def _verdict(result: FitResult) -> str:
    single = f"{result.best_single} for every prompt"
    setting = result.setting
    if setting is None:
        best = result.settings[0]
        return (
            f"Routing did not beat {single}: {_points(best.gained)} points asked for the best, to its "
            f"{100 * result.best_single_score:.1f}.{_offer(result)} The router that was made sends everything to "
            f"{result.best_single}."
        )
    gained = f"{100 * setting.score.value:.1f} points, {_points(setting.gained)} beside {single}"
    chance = "" if setting.gained.low > 0 else ", which the interval does not tell from chance"
    if setting.saved is None:
        return f"Routing scored {gained}{chance}."
    if setting.saved.value < 0:
        more = Interval(-setting.saved.value, -setting.saved.high, -setting.saved.low)
        return f"Routing scored {gained}{chance}, for {_percent(more)} more dollars."
    return f"Routing would have saved {_percent(setting.saved)} of the dollars, at {gained}."


def _offer(result: FitResult) -> str:
    """What a little less quality would have saved, where that is more than chance and was not asked for."""
    less = [each for each in result.settings if each.score.value >= OFFERED * result.best_single_score]
    less = [each for each in less if each.saved is not None and each.saved.low > 0]
    if result.target is not None or not less:
        return ""
    saved = max(less, key=lambda each: each.saved.value).saved
    return f" Keeping {100 * OFFERED:g} % of that would have saved {_percent(saved)} of the dollars: quality={OFFERED}."


def _points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.0f} % [{100 * value.low:.0f}, {100 * value.high:.0f}]"
