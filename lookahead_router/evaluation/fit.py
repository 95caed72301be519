"""`fit`: from scored answers of one's own candidates to a router, chosen on prompts that it was not fitted on."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.duplicates import folds_of
from lookahead_router.errors import ConfigurationError, DataError, TruncatedPromptWarning, UnknownProfileWarning
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.crossfit import Crossfitted, Fitting, crossfit, remembering
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.fit_choice import BEST_SINGLE, PROFILES, Measured, Outlook, Setting, Trial
from lookahead_router.evaluation.prices import expected_pool, usual_costs
from lookahead_router.evaluation.results import ComparisonReport, plain
from lookahead_router.evaluation.scored import Scored, scored_dataset
from lookahead_router.metrics import Interval
from lookahead_router.policies import BestQuality, KeepQuality
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.fitted.documents import passages_read
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import prompt_text
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool

PREDICTORS = (PROFILES, "knn", "classifier", "rule")
"""What is tried unless the user says otherwise, beside the best single candidate."""
WITH_PASSAGES = "documents"
"""Tried as well where prompts were answered both with passages and without any."""
SMALL: Mapping[str, Mapping[str, Any]] = {"knn": {"n_neighbors": 40}, "clusters": {"n_clusters": 16}}
"""Settings that suit some hundred prompts better than a kind's own."""
MIN_PROMPTS = 20
"""Prompts with a score of every candidate below which nothing can be chosen."""
FEW_PROMPTS = 50
"""Below which the result says that they are few."""
OFFERED = 0.95
"""Share of the best single candidate's score that is shown beside it where routing does not beat it."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """A router for the user's candidates, and why it is this one."""

    router: Router
    """The router of the chosen predictor, fitted on all prompts, under the policy chosen."""
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
    outlook: Outlook
    """What such a choice gets on prompts that it has not read, which is what to expect of new ones."""
    offer: Outlook | None
    """Where routing is not recommended: the same for a share of 0.95 of the best single candidate's score."""
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
        for name in ("setting", "outlook", "offer"):
            value = getattr(self, name)
            found[name] = None if value is None else asdict(value)
        return plain({**found, "policy": repr(self.router.policy), "comparison": self.comparison.to_dict()})


def fit(
    answers: Scored,
    *,
    candidates: Iterable[str | Candidate] | None = None,
    profiles: Mapping[str, str] | None = None,
    predictors: Sequence[str] | None = None,
    start: Router | None = None,
    quality: float | None = None,
    n_folds: int = 5,
    n_resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> FitResult:
    """Fits predictors on scored answers, and chooses one by how it does on prompts that it has not seen.

    Prompts are split into folds, near-duplicates together; each fold is foreseen by fits on the others. The predictor
    that foresees best is fitted again on all prompts; of near equals it is the profiles, which go on learning. It is
    recommended where it beats the best single candidate: scores higher by more than a standard error, or costs less for
    as much. Otherwise the router sends every prompt to that candidate, and says so.

    Args:
        answers: prompts with observed scores in [0, 1], or what `lookahead_router.live.judge` gives.
        candidates: with their prices, where they have some; those of the answers when absent.
        profiles: `{name: known name}`: whose public profile a candidate starts from that nobody knows.
        predictors: kinds to try: `profiles`, or any of `FITTED`; when absent `PREDICTORS`, and `documents` beside them
            where prompts were answered both with passages and without any.
        start: a router for any pool, for the network and the public profiles; the embedded one when absent.
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
    _check_options(PREDICTORS if predictors is None else predictors, quality, n_folds)
    dataset, notes = _prepared(scored_dataset(answers), candidates)
    _check_rows(dataset)
    kinds = _usual_kinds(dataset) if predictors is None else predictors
    on_progress("reading prompts", 0.02)
    with warnings.catch_warnings():
        for category in (TruncatedPromptWarning, UnknownProfileWarning):  # the answers tell more than a name
            warnings.simplefilter("ignore", category)
        started = _started(start, dataset, profiles)
        fittings = _fittings(remembering(started, _texts(dataset, kinds)), kinds, seed)
        folds = _folds(dataset, n_folds, seed)
        tried = crossfit(fittings, dataset, folds, lambda step, share: on_progress(step, 0.2 + 0.6 * share))
        on_progress("choosing", 0.8)

        def fit_whole(kind: str) -> Predictor:
            on_progress(f"fitting {kind} on all prompts", 0.9)
            return _fittings(started, (kind,), seed)[kind](dataset)

        return _result(dataset, tried, folds, quality, fit_whole, notes, n_resamples=n_resamples, seed=seed)


def _result(
    dataset: RoutingDataset,
    tried: Mapping[str, Crossfitted],
    folds: np.ndarray,
    quality: float | None,
    fit_whole: Callable[[str], Predictor],
    notes: tuple[str, ...],
    **draws: int,
) -> FitResult:
    """Chooses among what was tried, and says what that is worth."""
    is_compared = ~np.isnan(dataset.scores).any(axis=1)
    rows, folds = dataset.select(is_compared), folds[is_compared]
    trial = Trial(tried, rows, dataset.pool)
    found = trial.choose(quality, **draws)
    is_offered = found.setting is None and quality is None and trial.has_dollars
    chosen = BEST_SINGLE if found.setting is None else found.kind
    share = None if found.setting is None else found.setting.quality
    policy = BestQuality() if share is None else KeepQuality(share)
    return FitResult(
        router=Router(fit_whole(chosen), policy=policy),
        chosen=chosen,
        best_single=dataset.pool.names[dataset.best_single()],
        best_single_score=float(trial.single_scores.mean()),
        best_single_usd=float(trial.single_dollars.mean()) if trial.has_dollars else None,
        settings=found.settings,
        setting=found.setting,
        outlook=trial.outlook(quality, folds, **draws),
        offer=trial.outlook(OFFERED, folds, **draws) if is_offered else None,
        errors=found.errors,
        comparison=_compare(tried, rows, dataset, **draws),
        n_prompts=len(dataset),
        n_compared=len(rows),
        target=quality,
        notes=(*notes, *_few(rows.scores)),
    )


def _few(scores: np.ndarray) -> tuple[str, ...]:
    """That prompts are few, and what this means; of `(n, K)` scores."""
    if len(scores) >= FEW_PROMPTS:
        return ()
    error = 196 * scores.std(axis=0).max() / len(scores) ** 0.5
    return (
        f"{len(scores)} prompts are few: by them a mean score is known to {error:.0f} points, up or down; some 200 are "
        "a good start",
    )


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
    # Answers come as they arrived: the order says nothing, and may not decide who is in which fold.
    dataset = dataset.select(np.argsort(np.array([prompt_text(prompt) for prompt in dataset.prompts]), kind="stable"))
    dataset = replace(dataset, pool=expected_pool(dataset.pool, dataset))
    notes = []
    if len(dataset) < len(answers):
        notes.append(f"{len(answers) - len(dataset):,} prompts without a score, or that came before, are left out")
    unpriced = [name for name, usd in zip(dataset.pool.names, usual_costs(dataset.pool), strict=True) if np.isnan(usd)]
    if unpriced:
        notes.append(f"no price of {', '.join(unpriced)} is known, so what can be saved is not")
    return dataset, tuple(notes)


def _without_repeats(dataset: RoutingDataset) -> RoutingDataset:
    """The first row of every prompt; with passages and without are two."""
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    for row, asked in enumerate(zip(dataset.prompts, dataset.contexts, strict=True)):
        seen.setdefault(asked, row)
    return dataset.select(list(seen.values()))


def _check_rows(dataset: RoutingDataset) -> None:
    rows = dataset.select(~np.isnan(dataset.scores).any(axis=1))
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


def _usual_kinds(dataset: RoutingDataset) -> tuple[str, ...]:
    """What is tried where the user names nothing."""
    has_passages = [bool(passages) for passages in dataset.contexts]
    return (*PREDICTORS, WITH_PASSAGES) if any(has_passages) and not all(has_passages) else PREDICTORS


def _texts(dataset: RoutingDataset, kinds: Sequence[str]) -> list[str]:
    """All that the network reads in trying these kinds: prompts, and the passages beside them."""
    requests = dataset.requests() if WITH_PASSAGES in kinds else ()
    return [*dataset.prompts, *dict.fromkeys(text for request in requests for text in passages_read(request))]


def _started(start: Router | None, dataset: RoutingDataset, profiles: Mapping[str, str] | None) -> OpenPoolPredictor:
    predictor = OpenPoolPredictor.load() if start is None else start.predictor
    if not isinstance(predictor, OpenPoolPredictor):
        raise ConfigurationError(f"fit starts from a predictor for any pool, such as the embedded one, not {start!r}")
    return predictor.with_candidates(list(dataset.pool), profiles=profiles)


def _fittings(start: OpenPoolPredictor, kinds: Sequence[str], seed: int) -> dict[str, Fitting]:
    """How each kind is fitted, the best single candidate first, which the others are compared to."""

    def of(kind: str) -> Fitting:
        made = fitted_class(kind)
        embedder = NetworkEmbedder(start) if made.reads_embeddings else None
        return lambda dataset: made(embedder=embedder, seed=seed, **SMALL.get(kind, {})).fit(dataset)

    return {kind: start.onboard if kind == PROFILES else of(kind) for kind in (BEST_SINGLE, *kinds)}


def _compare(
    found: Mapping[str, Crossfitted], rows: RoutingDataset, dataset: RoutingDataset, n_resamples: int, seed: int
) -> ComparisonReport:
    """All that was tried, by the one engine of comparisons."""
    rows = replace(rows, sources=np.array(["your prompts"] * len(rows), dtype=object))
    entries = [Entry(label, router=Router(one, policy=BestQuality())) for label, one in found.items()]
    material = Material("your prompts", "cross-validation", rows, dataset)
    return compare(entries, [material], n_resamples=n_resamples, seed=seed, check_leakage=False, keep_going=False)


def _verdict(result: FitResult) -> str:
    single = f"{result.best_single} for every prompt"
    if result.setting is None:
        best = result.settings[0]
        return (
            f"Routing did not beat {single}: {_points(best.gained)} points asked for the best, to its "
            f"{100 * result.best_single_score:.1f}.{_offer(result)} The router that was made sends everything to "
            f"{result.best_single}."
        )
    return f"{_would_have(result.outlook, single)}{_doubt(result.outlook)}"


def _would_have(found: Measured, single: str) -> str:
    gained = f"{100 * found.score.value:.1f} points, {_points(found.gained)} beside {single}"
    chance = "" if found.gained.low > 0 else ", which the interval does not tell from chance"
    if found.saved is None:
        return f"Routing scored {gained}{chance}."
    if found.saved.value < 0:
        more = Interval(-found.saved.value, -found.saved.high, -found.saved.low)
        return f"Routing scored {gained}{chance}, for {_percent(more)} more dollars."
    return f"Routing would have saved {_percent(found.saved)} of the dollars, at {gained}."


def _doubt(found: Outlook) -> str:
    """Where parts of the prompts say otherwise."""
    if found.n_routed == found.n_folds:
        return ""
    return (
        f" It is close: of {found.n_folds} times that a part of the prompts is left out, the others recommend routing "
        f"{found.n_routed} times."
    )


def _offer(result: FitResult) -> str:
    """What a little less quality would have saved, where that is more than chance and was not asked for."""
    if result.offer is None or result.offer.saved is None or result.offer.saved.low <= 0:
        return ""
    return (
        f" Keeping {100 * OFFERED:g} % of that would have saved {_percent(result.offer.saved)} of the dollars: "
        f"quality={OFFERED}."
    )


def _points(value: Interval) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.0f} % [{100 * value.low:.0f}, {100 * value.high:.0f}]"
