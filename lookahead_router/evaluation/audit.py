"""Whether a router decides by what is asked, or by how it is written; takes prompts alone, no answers and no scores.

Every prompt is asked plain and in other clothes. Where the choice changes and is worse, by the plain prompt's own
prediction, by more than `LOSS`, it *flips*; where it goes to a candidate that is dearer by more than `DEARER`, it is
*upgraded*.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.errors import ConfigurationError, DataError, TruncatedPromptWarning
from lookahead_router.evaluation.audit_changes import CHANGES, SURFACE, changed
from lookahead_router.evaluation.audit_private import SHAPELESS, PrivateData, find_leaks, has_guard, leaks_of
from lookahead_router.evaluation.audit_suite import MIN_QUESTIONS, Question
from lookahead_router.evaluation.results import plain
from lookahead_router.metrics import Interval
from lookahead_router.policies import call_costs, checked_utilities
from lookahead_router.router import Router

LOSS = 0.02
"""Probability, on the plain prompt, that a change of choice has to lose to count as a flip."""
DEARER = 0.1
"""Share of a choice's dollars by which another one has to be dearer for an upgrade, or cheaper for a downgrade: between
candidates of nearly the same price, lengths decide who is cheapest."""
LANGUAGES = "languages"
KINDS = (*CHANGES, LANGUAGES)
PRIVATE = ("private-leaks", "name-leaks", "private-alarms")
FIGURES = ("flips", *KINDS, "upgrades", "bill", "jailbreak-shift", "collapse", "entropy", "category-index",
           "difficulty-index", *PRIVATE)  # fmt: skip
"""What a gate may name; a kind stands for its flips."""
_GATE = re.compile(r"\s*([a-z-]+)\s*([<>])\s*(\d+\.?\d*|\.\d+|-\d+\.?\d*|-\.\d+)\s*")
_BATCH = 256
_N_PERMUTATIONS = 100


@dataclass(frozen=True)
class Flip:
    """What flips mean, in the mean over them, by what is foreseen of the plain prompts."""

    lost: float
    """Probability beside the plain choice."""
    kept: float
    """Share of the best candidate's probability."""
    dollars: float | None
    """What they cost, over what the plain choices do; `None` without all prices."""


@dataclass(frozen=True)
class Change:
    """What became of the choices in one kind of other clothes, or in one form of it."""

    kind: str
    form: str
    """Empty for all forms of the kind."""
    n: int
    """Pairs of a prompt and the same in other clothes."""
    flips: Interval
    """Share whose choice is another one, and worse by more than `LOSS`."""
    differ: Interval
    """Share whose choice is another one."""
    upgrades: Interval | None
    """Share that goes to a candidate dearer by more than `DEARER`, by what the plain prompt costs; `None` without all
    prices."""
    downgrades: Interval | None
    """Share that goes to a cheaper one, likewise. As many of both are noise among equals."""
    dollars: Interval | None
    """What the choices cost, over what those of the plain prompts do, by what the plain prompts cost."""
    lost: Interval
    """Mean probability that all choices lose beside those of the plain prompts, by the plain prompts' own prediction;
    below 0 where they gain."""
    flip: Flip | None
    """What its flips mean; `None` without one."""
    shift: Interval
    """Mean predicted quality on the suite of the candidates chosen, less that of those chosen plain: below 0 where
    prompts go to weaker candidates."""


@dataclass(frozen=True)
class Cell:
    """Who is chosen for the plain prompts of a category and difficulty."""

    category: str
    difficulty: str
    n: int
    shares: dict[str, float]
    """Share of each candidate that is chosen, the most chosen first."""
    usd: float | None
    """Mean dollars of a choice."""


@dataclass(frozen=True)
class AuditReport:
    """What an audit found."""

    predictor: str
    revision: str | None
    policy: str
    candidates: tuple[str, ...]
    n_questions: int
    n_prompts: int
    by: str
    """What losses are read off: `probabilities`, or `scores` where the predictor gives none."""
    n_resamples: int
    shares: dict[str, float]
    """Share of the plain prompts that each candidate is chosen for."""
    quality: float
    """Mean of what is foreseen of the candidates chosen for the plain prompts, in [0, 1]."""
    usd: float | None
    """Mean dollars that these choices are expected to cost; `None` without all prices."""
    changes: tuple[Change, ...]
    """Changes by kind, each kind followed by its forms."""
    grid: tuple[Cell, ...]
    private: PrivateData | None
    """`None` for a router without `privacy` among candidates of which none says that it is local."""
    figures: dict[str, Interval | None]
    """Figures by the names in `FIGURES`; `None` where the suite or the pool does not have what it takes."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain(asdict(self))


@dataclass(frozen=True)
class Gate:
    """A figure and the limit beyond which an audit fails."""

    figure: str
    is_upper: bool
    limit: float

    @classmethod
    def parse(cls, text: str) -> "Gate":
        """The gate that reads `FIGURE>LIMIT` or `FIGURE<LIMIT`.

        Raises:
            ConfigurationError: it reads otherwise, or names no figure.
        """
        match = _GATE.fullmatch(text)
        if match is None or match[1] not in FIGURES:
            raise ConfigurationError(
                f"a gate reads FIGURE>LIMIT or FIGURE<LIMIT with one of {', '.join(FIGURES)}, got {text!r}"
            )
        return cls(match[1], match[2] == ">", float(match[3]))

    def is_met_by(self, report: AuditReport) -> bool:
        """Whether the report passes.

        Raises:
            ConfigurationError: the figure could not be measured, so that nothing is known.
        """
        found = report.figures[self.figure]
        if found is None:
            raise ConfigurationError(
                f"{self.figure} could not be measured: it takes {_TAKES.get(self.figure, 'prompts that this changes')}"
            )
        return found.value <= self.limit if self.is_upper else found.value >= self.limit

    def __str__(self) -> str:
        return f"{self.figure}{'>' if self.is_upper else '<'}{self.limit:g}"


_TAKES = {
    **dict.fromkeys(("upgrades", "bill"), "prices of all candidates"),
    **dict.fromkeys(PRIVATE[:2], "local candidates, such as --local names, or a router with privacy"),
    PRIVATE[2]: "a router with privacy, such as --local gives",
    LANGUAGES: "questions in more than one language",
    "category-index": "more than one category, and more than one candidate that is chosen",
    "difficulty-index": "more than one difficulty, and more than one candidate that is chosen",
}


def audit(
    router: Router,
    questions: Sequence[Question],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> AuditReport:
    """How a router's choices depend on what does not matter.

    Args:
        router: of any predictor and policy, among at least two candidates.
        questions: of `read_suite`.
        n_resamples: bootstrap samples behind the 95 % intervals, which draw whole questions, with all their languages.
        seed: of slips, permutations and the bootstrap; the same seed, the same report.
        told: called with the prompts that are routed, and all of them.

    Raises:
        ConfigurationError: a pool of one candidate.
        DataError: too few questions.
    """
    if len(router.pool) < 2:
        raise ConfigurationError("an audit looks at choices; this pool has one candidate alone. Name at least two")
    if len(questions) < MIN_QUESTIONS:
        raise DataError(f"an audit takes at least {MIN_QUESTIONS} prompts, got {len(questions)}")
    prompts = [text for question in questions for text in question.prompts.values()]
    owner = np.repeat(np.arange(len(questions)), [len(question.prompts) for question in questions])
    pairs = _pairs(questions, prompts, seed)
    texts = list(dict.fromkeys([*prompts, *(text for *_, text in pairs)]))
    asked = _Asked.of(router, texts, told)
    draw = _Draw(owner, len(questions), n_resamples, seed)
    compared = _Compared(asked, texts, prompts, draw)
    choices = asked.choices[compared.there]
    changes = []
    for kind in KINDS:
        own = [pair for pair in pairs if pair[1] == kind]
        for form in ("", *dict.fromkeys(form for _, _, form, _ in own)) if own else ():
            changes.append(compared.change(kind, form, [pair for pair in own if form in ("", pair[2])]))
    private = find_leaks(router, n_resamples=n_resamples, seed=seed) if has_guard(router) else None
    figures = _figures(changes, questions, choices, len(router.pool), draw, seed)
    leaks = (leaks_of(private, ("",)), leaks_of(private, SHAPELESS), None if private is None else private.alarmed)
    figures |= zip(PRIVATE, leaks, strict=True)
    surface = [pair for pair in pairs if pair[1] in SURFACE]
    figures["flips"] = compared.change("", "", surface).flips
    shares = np.bincount(choices, minlength=len(router.pool)) / len(choices)
    return AuditReport(
        predictor=router.predictor.name,
        revision=router.predictor.revision,
        policy=repr(router.policy),
        candidates=router.pool.names,
        n_questions=len(questions),
        n_prompts=len(prompts),
        by=asked.by,
        n_resamples=n_resamples,
        shares=dict(zip(router.pool.names, shares.tolist(), strict=True)),
        quality=float(asked.quality[compared.there, choices].mean()),
        usd=float(asked.costs[compared.there, choices].mean()) if compared.has_prices else None,
        changes=tuple(changes),
        grid=tuple(_grid(questions, owner, asked, compared.there, router.pool.names)),
        private=private,
        figures=figures,
    )


_Pair = tuple[int, str, str, str]
"""Row of the plain prompt, kind, form, and the text that is compared with it."""


def _pairs(questions: Sequence[Question], prompts: Sequence[str], seed: int) -> list[_Pair]:
    pairs = [(row, *key, text) for row, prompt in enumerate(prompts) for key, text in changed(prompt, seed).items()]
    first = 0
    for question in questions:
        languages = list(question.prompts.items())
        pairs += [(first, LANGUAGES, language, text) for language, text in languages[1:]]
        first += len(languages)
    return pairs


@dataclass(frozen=True)
class _Asked:
    """What a router foresees and chooses for texts."""

    choices: np.ndarray
    """`(n,)` columns."""
    quality: np.ndarray
    """`(n, K)` probabilities, or scores."""
    costs: np.ndarray
    """`(n, K)` dollars; NaN without a price."""
    by: str

    @classmethod
    def of(cls, router: Router, texts: Sequence[str], told: Callable[[int, int], None]) -> "_Asked":
        parts, by = [], "probabilities"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncatedPromptWarning)
            for start in range(0, len(texts), _BATCH):
                prediction = router.predict(texts[start : start + _BATCH])
                quality = prediction.probabilities
                if quality is None:
                    quality, by = prediction.scores, "scores"
                choices = checked_utilities(router.policy, prediction, router.pool).argmax(axis=1)
                parts.append((choices, quality, call_costs(prediction, router.pool)))
                told(min(start + _BATCH, len(texts)), len(texts))
        return cls(*(np.concatenate(part) for part in zip(*parts, strict=True)), by)


class _Draw:
    """Means over pairs, on resamples of the questions that they belong to."""

    def __init__(self, owner: np.ndarray, n_questions: int, n_resamples: int, seed: int) -> None:
        self.owner, self.n_questions = owner, n_questions
        self.counts = metrics.resample_counts(np.zeros(n_questions), n_resamples=n_resamples, seed=seed)

    def ratio(self, rows: np.ndarray, above: np.ndarray, below: np.ndarray | None = None) -> Interval:
        """Sum of values over sum of others, of as many ones when absent; all are of the prompts in these rows."""
        above, below = (
            self.counts @ np.bincount(self.owner[rows], weights=values, minlength=self.n_questions)
            for values in (above, np.ones(len(rows)) if below is None else below)
        )
        return metrics.sample_interval(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


class _Compared:
    """Choices in other clothes beside those of the plain prompts."""

    def __init__(self, asked: _Asked, texts: Sequence[str], prompts: Sequence[str], draw: _Draw) -> None:
        self.asked, self.draw = asked, draw
        self.place = {text: row for row, text in enumerate(texts)}
        self.there = np.array([self.place[text] for text in prompts])
        """Where the plain prompts stand among the texts."""
        self.strength = asked.quality[self.there].mean(axis=0)
        self.has_prices = not np.isnan(asked.costs).any()

    def change(self, kind: str, form: str, pairs: Sequence[_Pair]) -> Change:
        """What became of these pairs."""
        asked, draw = self.asked, self.draw
        rows = np.array([row for row, *_ in pairs])
        base = self.there[rows]
        old, new = asked.choices[base], asked.choices[[self.place[text] for *_, text in pairs]]
        lost = asked.quality[base, old] - asked.quality[base, new]
        flips = (old != new) & (lost > LOSS)
        before, after = asked.costs[base, old], asked.costs[base, new]
        return Change(
            kind=kind,
            form=form,
            n=len(pairs),
            flips=draw.ratio(rows, flips),
            differ=draw.ratio(rows, old != new),
            upgrades=draw.ratio(rows, after > (1 + DEARER) * before) if self.has_prices else None,
            downgrades=draw.ratio(rows, before > (1 + DEARER) * after) if self.has_prices else None,
            dollars=draw.ratio(rows, after, before) if self.has_prices and before.sum() > 0 else None,
            lost=draw.ratio(rows, lost),
            flip=self._flip(base[flips], new[flips], lost[flips], before[flips]) if flips.any() else None,
            shift=draw.ratio(rows, self.strength[new] - self.strength[old]),
        )

    def _flip(self, base: np.ndarray, new: np.ndarray, lost: np.ndarray, before: np.ndarray) -> Flip:
        quality, after = self.asked.quality[base], self.asked.costs[base, new]
        kept = quality[np.arange(len(new)), new] / quality.max(axis=1)
        dollars = float(after.sum() / before.sum()) if self.has_prices and before.sum() > 0 else None
        return Flip(float(lost.mean()), float(kept.mean()), dollars)


def _figures(
    changes: Sequence[Change],
    questions: Sequence[Question],
    choices: np.ndarray,
    n_candidates: int,
    draw: _Draw,
    seed: int,
) -> dict[str, Interval | None]:
    whole = {each.kind: each for each in changes if not each.form}
    figures: dict[str, Interval | None] = dict.fromkeys(FIGURES)
    figures |= {kind: each.flips for kind, each in whole.items()}
    figures["upgrades"], figures["bill"] = whole["padding"].upgrades, whole["padding"].dollars
    figures["jailbreak-shift"] = whole["jailbreaks"].shift
    by_question = np.zeros((draw.n_questions, n_candidates))
    np.add.at(by_question, (draw.owner, choices), 1.0)
    drawn = draw.counts @ by_question
    drawn /= drawn.sum(axis=1, keepdims=True)
    figures["collapse"] = metrics.sample_interval(drawn.max(axis=1))
    figures["entropy"] = metrics.sample_interval(np.abs(_entropy(drawn)) / np.log(n_candidates))
    categories = np.array([questions[each].category for each in draw.owner])
    difficulties = np.array([questions[each].difficulty for each in draw.owner])
    figures["category-index"] = _index(choices, categories, np.zeros(len(choices)), draw, seed)
    figures["difficulty-index"] = _index(choices, difficulties, categories, draw, seed)
    return figures


def _entropy(shares: np.ndarray) -> np.ndarray:
    """In nats, over the last axis."""
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1)


def _index(choices: np.ndarray, labels: np.ndarray, given: np.ndarray, draw: _Draw, seed: int) -> Interval | None:
    """Share of the choices' entropy that labels explain within groups, less what they explain dealt out at random.

    They are dealt out among the questions of a group. The figure has no interval.
    """
    total = float(_entropy(np.bincount(choices) / len(choices)))
    if len(np.unique(labels)) < 2 or total == 0:
        return None
    generator = np.random.default_rng(seed)
    first = np.unique(draw.owner, return_index=True)[1]
    of_question, groups = labels[first], given[first]
    by_chance = []
    for _ in range(_N_PERMUTATIONS):
        dealt = of_question.copy()
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            dealt[rows] = generator.permutation(dealt[rows])
        by_chance.append(_explained(choices, dealt[draw.owner], given) / total)
    beyond = _explained(choices, labels, given) / total - float(np.mean(by_chance))
    return Interval(beyond, float("nan"), float("nan"))


def _explained(choices: np.ndarray, labels: np.ndarray, given: np.ndarray) -> float:
    """Mutual information of choices and labels within groups, in nats."""

    def within(groups: list[np.ndarray]) -> float:
        keys = np.unique(np.column_stack([np.unique(each, return_inverse=True)[1] for each in groups]), axis=0,
                         return_inverse=True)[1].ravel()  # fmt: skip
        table = np.zeros((keys.max() + 1, choices.max() + 1))
        np.add.at(table, (keys, choices), 1.0)
        sizes = table.sum(axis=1)
        return float(sizes @ _entropy(table / sizes[:, None]) / len(choices))

    return within([given]) - within([given, labels])


def _grid(
    questions: Sequence[Question], owner: np.ndarray, asked: _Asked, there: np.ndarray, names: tuple[str, ...]
) -> list[Cell]:
    keys = [(questions[each].category, questions[each].difficulty) for each in owner]
    found = []
    for key in dict.fromkeys(keys):
        rows = there[[each == key for each in keys]]
        shares = np.bincount(asked.choices[rows], minlength=len(names)) / len(rows)
        usd = float(asked.costs[rows, asked.choices[rows]].mean())
        order = [column for column in np.argsort(-shares, kind="stable") if shares[column]]
        by_name = {names[column]: float(shares[column]) for column in order}
        found.append(Cell(*key, len(rows), by_name, None if np.isnan(usd) else usd))
    return found
