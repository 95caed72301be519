"""What a router did in use: whom it chose, at what cost, what it would have been otherwise, and whether prompts drift.

A log of decisions is what the server writes, or the routing records of the adapters, a JSON object each. Prompts need
not stand in it: without them drift is read off the predicted chances.
"""

import json
import sqlite3
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router import metrics
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError, PromptError, SchemaError, TruncatedPromptWarning
from lookahead_router.evaluation.results import plain
from lookahead_router.evaluation.scored import Scored, scored_dataset
from lookahead_router.metrics import Interval
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import prompt_text
from lookahead_router.router import Router

SQLITE_SUFFIXES = (".sqlite", ".sqlite3", ".db")
USUAL_OUTSIDE = 0.05
"""Share of the scored prompts themselves that lies outside, by the choice of the limit."""
MUCH_OUTSIDE = 3.0
"""Times the usual share from which on more answers are called for."""
FAR_CHANCE = 0.5
"""Shift of the best candidate's predicted chance, in standard deviations, from which on prompts count as other ones."""
MISJUDGED = 0.05
"""Gap between feedback and the predicted chance from which on it counts, if it is more than chance."""
MIN_DECISIONS = 30
"""Decisions below which nothing is said of drift."""
MAX_READ = 2000
"""Latest different prompts that are read for drift, at most."""


@dataclass(frozen=True)
class Choice:
    """One candidate in the log."""

    candidate: str
    n_chosen: int
    share: float
    """Share of all decisions."""
    usd: float | None
    """Dollars of its calls; `None` where none of them is known."""
    chance: float | None
    """Mean predicted chance of a good answer, over all decisions: what it would be, had it answered all."""
    usd_for_all: float | None
    """Dollars, had it answered all: the expected ones; `None` without a price."""
    score: float | None
    """Mean score among the scored answers."""
    feedback: Interval | None
    """Mean score that users gave to its answers."""
    n_feedback: int


@dataclass(frozen=True)
class Drift:
    """How far the log's prompts are from those that were scored."""

    by: str
    """`prompts`, where their text is known, or `chances`."""
    n_prompts: int
    outside: Interval
    """Share of the prompts that are farther from every scored prompt than all but 5 % of these are; of chances, their
    shift in standard deviations."""
    nearness: float | None
    """Median cosine to the nearest scored prompt; `None` of chances."""
    nearness_scored: float | None
    """Median cosine of a scored prompt to the nearest other one."""


@dataclass(frozen=True)
class DecisionsReport:
    """What a log of decisions says."""

    n_decisions: int
    """Those that somebody answered."""
    n_failed: int
    """Those that nobody answered; they count in no other figure."""
    first: str | None
    last: str | None
    """Times of the first and the last decision, as the log has them."""
    reasons: dict[str, int]
    """Decisions by reason: `routed`, `forced`, `sticky`, `default`."""
    choices: tuple[Choice, ...]
    """Candidates that were chosen, the most chosen first."""
    usd: float | None
    """Dollars of all calls: measured, or the expected ones where they were not; `None` where neither is known."""
    best_single: str
    """The candidate with the best mean score among the scored answers."""
    saved: float | None
    """Share of the best single candidate's dollars, expected ones beside expected ones; `None` where they are not
    known. Over the decisions that the router made, which forced ones are not."""
    n_compared: int
    """Decisions that `saved` is of."""
    usd_beside_expected: float | None
    """Measured dollars over those that were expected of the same calls; `None` where either is not known."""
    n_known: int
    """Decisions on prompts that all candidates were scored on."""
    score: float | None
    """Mean score of the choices on these."""
    best_single_score: float | None
    """And of the best single candidate."""
    drift: Drift | None
    """`None` where there is too little to tell."""
    calls_for: tuple[str, ...]
    """Why it is time to collect answers again; empty where it is not."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return plain({**asdict(self), "collect_again": bool(self.calls_for)})


def read_decisions(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log: JSONL, or SQLite by its suffix. A last line that a crash cut off is left out.

    Raises:
        SchemaError: no such file, or none of such records.
        DataError: it is empty.
    """
    path = Path(path)
    if not path.is_file():
        raise SchemaError("no such file", path=str(path))
    records = _rows(path) if path.suffix.lower() in SQLITE_SUFFIXES else _lines(path)
    if not records:
        raise DataError(f"{path}: no decision in it yet")
    if not any("candidate" in record for record in records):
        raise SchemaError("no record names a candidate; expected what `serve --decisions` writes", path=str(path))
    return records


def review(
    decisions: Iterable[Mapping[str, Any]],
    scored: Scored,
    *,
    router: Router | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> DecisionsReport:
    """What a router did, beside what was known of its candidates.

    Args:
        decisions: records of `read_decisions`, or those of the adapters.
        scored: the answers that it was fitted on.
        router: what predicts and, for drift by prompts, embeds; the embedded one for any pool when absent.
        n_resamples: bootstrap samples behind the 95 % intervals.
        seed: of the bootstrap.

    Raises:
        DataError: no decision, or none of the scored candidates.
    """
    scored = scored_dataset(scored)
    decisions = list(decisions)
    feedback = [each for each in decisions if each.get("kind") == "feedback"]
    made = [each for each in decisions if each.get("kind", "decision") == "decision" and each.get("candidate")]
    if not made:
        raise DataError("no decision among the records")
    chosen = [each for each in made if _is_answered(each)]
    if not chosen:
        raise DataError(f"nobody answered any of the {len(made):,} decisions, so there is nothing to report of")
    names = list(dict.fromkeys([*scored.pool.names, *(each["candidate"] for each in chosen)]))
    if not {each["candidate"] for each in chosen} & set(scored.pool.names):
        raise DataError("no decision is for a scored candidate; give the answers of the router's own candidates")
    draw = _Draw(n_resamples, seed)
    single = scored.pool.names[scored.best_single()]
    choices = [_choice(name, chosen, feedback, scored, draw) for name in names]
    spent = [_usd(each) for each in chosen]
    usd = None if all(each is None for each in spent) else sum(each or 0.0 for each in spent)
    saved, n_compared = _saved(chosen, single)
    known = _known(chosen, scored)
    drift = _drift(chosen, scored, router, draw)
    times = sorted(each["time"] for each in chosen if isinstance(each.get("time"), str))
    reasons = [str(each.get("reason", "routed")) for each in chosen]
    return DecisionsReport(
        n_decisions=len(chosen),
        n_failed=len(made) - len(chosen),
        first=times[0] if times else None,
        last=times[-1] if times else None,
        reasons={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        choices=tuple(sorted(choices, key=lambda each: -each.n_chosen)),
        usd=usd,
        best_single=single,
        saved=saved,
        n_compared=n_compared,
        usd_beside_expected=_beside_expected(chosen),
        n_known=len(known),
        score=float(known[:, 0].mean()) if len(known) else None,
        best_single_score=float(known[:, 1].mean()) if len(known) else None,
        drift=drift,
        calls_for=tuple(_calls_for(choices, drift)),
    )


@dataclass(frozen=True)
class _Draw:
    n_resamples: int
    seed: int

    def mean(self, values: Sequence[float]) -> Interval:
        """The mean with its interval."""
        values = np.asarray(values, dtype=float)
        counts = metrics.resample_counts(np.zeros(len(values)), n_resamples=self.n_resamples, seed=self.seed)
        return metrics.sample_interval(counts @ values / len(values))


def _lines(path: Path) -> list[dict[str, Any]]:
    records = []
    lines = path.read_bytes().split(b"\n")
    for row, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if row == len(lines) - 1:
                continue
            raise SchemaError("not JSON", path=str(path), row=row) from error
        if not isinstance(record, dict):
            raise SchemaError("expected an object", path=str(path), row=row)
        records.append(record)
    return records


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        base = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return [json.loads(record) for (record,) in base.execute("SELECT record FROM decisions ORDER BY time")]
        finally:
            base.close()
    except (sqlite3.Error, ValueError) as error:
        raise SchemaError(f"no log of decisions: {error}", path=str(path)) from error


def _usd(record: Mapping[str, Any]) -> float | None:
    """Dollars of a decision's call: measured, or the expected ones."""
    usd = record.get("cost_usd")
    return usd if usd is not None else (record.get("expected_usd") or {}).get(record["candidate"])


def _is_answered(record: Mapping[str, Any]) -> bool:
    """Whether anybody answered; a record that does not say whom was asked counts as answered."""
    attempts = record.get("attempts")
    return attempts is None or any(not each.get("failure") and not each.get("error") for each in attempts)


def _saved(chosen: Sequence[Mapping[str, Any]], single: str) -> tuple[float | None, int]:
    """Share of the expected dollars of one candidate that the router's choices save, and of how many decisions."""
    pairs = [
        (expected[each["candidate"]], expected[single])
        for each in chosen
        if each.get("reason", "routed") != "forced"
        and {each["candidate"], single} <= (expected := each.get("expected_usd") or {}).keys()
    ]
    alone = sum(usd for _, usd in pairs)
    return (1 - sum(usd for usd, _ in pairs) / alone if alone else None), len(pairs)


def _beside_expected(chosen: Sequence[Mapping[str, Any]]) -> float | None:
    """Measured dollars over the expected ones of the same calls."""
    pairs = [
        (each["cost_usd"], expected)
        for each in chosen
        if each.get("cost_usd") is not None
        and (expected := (each.get("expected_usd") or {}).get(each["candidate"])) is not None
    ]
    total = sum(usd for _, usd in pairs)
    return sum(usd for usd, _ in pairs) / total if total else None


def _choice(
    name: str,
    chosen: Sequence[Mapping[str, Any]],
    feedback: Sequence[Mapping[str, Any]],
    scored: RoutingDataset,
    draw: _Draw,
) -> Choice:
    own = [each for each in chosen if each["candidate"] == name]
    spent = [usd for each in own if (usd := _usd(each)) is not None]
    chances = [each["probabilities"][name] for each in chosen if name in (each.get("probabilities") or {})]
    expected = [each["expected_usd"][name] for each in chosen if name in (each.get("expected_usd") or {})]
    marks = [float(each["score"]) for each in feedback if each.get("candidate") == name and "score" in each]
    scores = metrics.known_mean(scored.scores[:, scored.pool.index(name)]) if name in scored.pool.names else np.nan
    return Choice(
        candidate=name,
        n_chosen=len(own),
        share=len(own) / len(chosen),
        usd=sum(spent) if spent else None,
        chance=float(np.mean(chances)) if chances else None,
        usd_for_all=float(np.mean(expected)) * len(chosen) if expected else None,
        score=None if np.isnan(scores) else float(scores),
        feedback=draw.mean(marks) if marks else None,
        n_feedback=len(marks),
    )


def _known(chosen: Sequence[Mapping[str, Any]], scored: RoutingDataset) -> np.ndarray:
    """`(n, 2)` scores of the choice and of the best single candidate, on prompts that all candidates answered."""
    rows = {}
    for row, prompt in enumerate(scored.prompts):
        if not np.isnan(scored.scores[row]).any():
            rows[prompt] = row
    single = scored.best_single()
    found = [
        (scored.scores[rows[text], scored.pool.index(each["candidate"])], scored.scores[rows[text], single])
        for each in chosen
        if (text := _text(each)) in rows and each["candidate"] in scored.pool.names
    ]
    return np.array(found).reshape(-1, 2)


def _text(record: Mapping[str, Any]) -> str | None:
    """The prompt's text, where the log has it."""
    prompt = record.get("prompt")
    if prompt is None:
        return None
    try:
        return prompt_text(prompt)
    except PromptError:
        return None


def _drift(
    chosen: Sequence[Mapping[str, Any]], scored: RoutingDataset, router: Router | None, draw: _Draw
) -> Drift | None:
    texts = list(dict.fromkeys(text for each in chosen if (text := _text(each)) is not None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        if len(texts) >= MIN_DECISIONS and len(scored) > 1:
            return _drift_of_prompts(texts[-MAX_READ:], list(scored.prompts), _embedder(router), draw)
        return None if router is None else _drift_of_chances(chosen, scored, router, draw)


def _embedder(router: Router | None) -> Any:
    """What embeds prompts as the router sees them; the embedded network for one that does not read them so."""
    predictor = OpenPoolPredictor.load() if router is None else router.predictor
    embedder = getattr(predictor, "embedder", None)
    if embedder is None:
        embedder = NetworkEmbedder(predictor if isinstance(predictor, OpenPoolPredictor) else OpenPoolPredictor.load())
    return embedder


def _drift_of_prompts(texts: list[str], scored: list[str], embedder: Any, draw: _Draw) -> Drift:
    there, asked = embedder.embed(scored), embedder.embed(texts)
    among = there @ there.T
    np.fill_diagonal(among, -1.0)
    own, nearest = among.max(axis=1), (asked @ there.T).max(axis=1)
    limit = np.quantile(own, USUAL_OUTSIDE)
    return Drift(
        by="prompts",
        n_prompts=len(texts),
        outside=draw.mean(nearest < limit),
        nearness=float(np.median(nearest)),
        nearness_scored=float(np.median(own)),
    )


def _drift_of_chances(
    chosen: Sequence[Mapping[str, Any]], scored: RoutingDataset, router: Router, draw: _Draw
) -> Drift | None:
    """How far the best candidate's chance moved, in its standard deviations on the scored prompts."""
    logged = [max(each["probabilities"].values()) for each in chosen if each.get("probabilities")]
    prediction = router.predict(scored.prompts)
    if len(logged) < MIN_DECISIONS or prediction.probabilities is None:
        return None
    own = prediction.probabilities.max(axis=1)
    return Drift("chances", len(logged), draw.mean((np.array(logged) - own.mean()) / max(own.std(), 1e-3)), None, None)


def _calls_for(choices: Sequence[Choice], drift: Drift | None) -> Iterable[str]:
    if drift is not None and drift.by == "prompts" and drift.outside.low > MUCH_OUTSIDE * USUAL_OUTSIDE:
        yield (
            f"{100 * drift.outside.value:.0f} % of the prompts are farther from the scored ones than these are from "
            f"each other, where {100 * USUAL_OUTSIDE:.0f} % would be usual"
        )
    if drift is not None and drift.by == "chances" and max(drift.outside.low, -drift.outside.high) > FAR_CHANCE:
        direction = "easier" if drift.outside.value > 0 else "harder"
        yield f"prompts are foreseen as {direction} than the scored ones by {abs(drift.outside.value):.1f} deviations"
    for each in choices:
        told = each.feedback
        if told is None or each.score is None or each.n_feedback < MIN_DECISIONS:
            continue
        if told.high < each.score - MISJUDGED:
            yield f"users score {each.candidate} {told.value:.2f}, where the scored answers have {each.score:.2f}"
