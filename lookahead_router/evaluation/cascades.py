"""Cascades on answers that are there already: how reliable checks are, and what asking again would have brought."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.dispatch.checks import Check, Reliability, Reply, look
from lookahead_router.dispatch.stopping import Stopping, log_odds_of
from lookahead_router.errors import DataError
from lookahead_router.metrics import known_mean, sigmoid

_STEPS = 50
_LEAST_SHIFT = 1e-3


@dataclass(frozen=True)
class CheckResult:
    """What was found of a check on answers with known scores."""

    check: str
    reliability: Reliability
    n_looked: int
    """Answers, or pairs of them, of which it said something."""
    silent: float
    """Share of which it said nothing."""
    passed: float
    """Share that passes, of those it spoke of."""
    auc: float
    """How well it tells right from wrong within a source, 0.5 being chance; NaN where it never spoke."""


@dataclass(frozen=True)
class Looked:
    """What checks say of every answer of a dataset: 1 passes, 0 fails, NaN nothing."""

    checks: tuple[Check, ...]
    found: tuple[np.ndarray, ...]
    """Arrays, one a check: `(n, K)`, or `(n, K, K)` beside every other candidate's answer."""

    @classmethod
    def at(
        cls, rows: RoutingDataset, checks: Sequence[Check], tell: Callable[[float], None] = lambda share: None
    ) -> "Looked":
        """Has the checks look at all responses.

        Args:
            rows: with responses.
            checks: what looks at them.
            tell: told what share is done.

        Raises:
            DataError: no response is there to look at.
        """
        replies = [[None if text is None else Reply(text) for text in row] for row in rows.responses]
        if not any(reply is not None for row in replies for reply in row):
            raise DataError("no row holds a response, so no check can look at one; a cascade needs the answers' texts")
        found = []
        for number, check in enumerate(checks):
            found.append(_look(check, rows, replies, lambda share, done=number: tell((done + share) / len(checks))))
        return cls(tuple(checks), tuple(found))

    def select(self, rows: np.ndarray) -> "Looked":
        """The rows of an index or a bool mask."""
        return replace(self, found=tuple(each[rows] for each in self.found))

    def of(self, columns: np.ndarray, held: np.ndarray) -> list[np.ndarray]:
        """What each check says of one answer a row, `(n,)`.

        Args:
            columns: `(n,)` whose answer.
            held: `(n,)` whose it is compared with; -1 where there is no other.
        """
        rows = np.arange(len(columns))
        return [
            np.where(held >= 0, each[rows, columns, held], np.nan) if check.compares else each[rows, columns]
            for check, each in zip(self.checks, self.found, strict=True)
        ]


def _look(
    check: Check, rows: RoutingDataset, replies: list[list[Reply | None]], tell: Callable[[float], None]
) -> np.ndarray:
    n, n_candidates = rows.scores.shape
    shape = (n, n_candidates, n_candidates) if check.compares else (n, n_candidates)
    found = np.full(shape, np.nan)
    for row, (question, own) in enumerate(zip(rows.prompts, replies, strict=True)):
        tell(row / n)
        for k, reply in enumerate(own):
            if reply is None:
                continue
            if not check.compares:
                found[row, k] = _number(look(check, question, reply, None))
                continue
            for other in range(k):
                if own[other] is not None:
                    found[row, k, other] = found[row, other, k] = _number(look(check, question, reply, own[other]))
    return found


def _number(passes: bool | None) -> float:
    return np.nan if passes is None else float(passes)


def measure_checks(looked: Looked, chances: np.ndarray, scores: np.ndarray, sources: np.ndarray) -> list[CheckResult]:
    """How reliable the checks are beyond what was foreseen, on prompts that fitted nothing.

    Whether an answer is right is foretold by its chance before the call; the shifts of log-odds are those that foretell
    it best once the check has spoken. What a check would only tell of a prompt's source is foreseen already, and
    counts nothing.

    Args:
        looked: what the checks say.
        chances: `(n, K)` foreseen.
        scores: `(n, K)` observed, NaN where not judged.
        sources: `(n,)` benchmark of each prompt.
    """
    return [
        _measure(check, found, chances, scores, sources)
        for check, found in zip(looked.checks, looked.found, strict=True)
    ]


def _measure(
    check: Check, found: np.ndarray, chances: np.ndarray, scores: np.ndarray, sources: np.ndarray
) -> CheckResult:
    by_pair = found if check.compares else found[:, :, None]
    seen = ~np.isnan(by_pair) & ~np.isnan(scores)[:, :, None]
    if check.compares:
        seen &= ~np.isnan(scores)[:, None, :]
    n_candidates = scores.shape[1]
    n_looked, possible = int(seen.sum()), len(scores) * n_candidates * (n_candidates - 1 if check.compares else 1)
    if not n_looked:
        return CheckResult(check.name, check.reliability, 0, 1.0, float("nan"), float("nan"))
    row, k, other = np.nonzero(seen)
    passes, right = by_pair[seen] == 1, scores[row, k]
    prior = log_odds_of(chances)
    prior += _shift(prior[row, k], right, np.ones(len(row), dtype=bool))  # what is foreseen may be off on the whole
    if check.compares:
        shares = _pair_shares(sigmoid(prior[row, k]), sigmoid(prior[row, other]), passes, right, scores[row, other])
    else:
        shares = _shares(prior[row, k], passes, right)
    others = [_others_shift(prior, scores, row, k, other, passes == said, check.compares) for said in (True, False)]
    return CheckResult(
        check.name,
        Reliability(*shares, others_passed=others[0], others_failed=others[1]),
        n_looked // (2 if check.compares else 1),
        1 - n_looked / possible,
        float(passes.mean()),
        _auc_within(passes, right, sources[row]),
    )


def _shares(prior: np.ndarray, passes: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """The shares of right and wrong answers that pass which foretell best, beside the prior, what is right."""
    up = max(_shift(prior, right, passes), _LEAST_SHIFT)
    down = min(_shift(prior, right, ~passes), -_LEAST_SHIFT)
    in_wrong = (1 - np.exp(down)) / (np.exp(up) - np.exp(down))
    in_right = np.exp(up) * in_wrong
    return _share(in_right), _share(min(in_wrong, in_right))


def _pair_shares(
    p: np.ndarray, q: np.ndarray, passes: np.ndarray, right: np.ndarray, other: np.ndarray
) -> tuple[float, float, float, float]:
    """The shares of pairs that pass: both right, both wrong, one right; and how far two are right together."""
    shares = []
    for weight in (right * other, (1 - right) * (1 - other), right * (1 - other) + other * (1 - right)):
        total = weight.sum()
        shares.append(_share((weight * passes).sum() / total) if total else 0.5)
    spread = np.sqrt(p * (1 - p) * q * (1 - q)).sum()
    correlation = float(np.clip(((right - p) * (other - q)).sum() / max(spread, 1e-9), 0.0, 0.95))
    return shares[0], shares[1], min(shares[2], shares[0]), correlation


def _share(value: float) -> float:
    return float(np.clip(value, 1e-3, 1 - 1e-3))


def _shift(offset: np.ndarray, right: np.ndarray, of: np.ndarray) -> float:
    """What, added to log-odds, foretells best which answers are right; drawn to 0 as by a few answers."""
    offset, right, shift = offset[of], right[of], 0.0
    for _ in range(_STEPS):
        p = sigmoid(offset + shift)
        step = ((right - p).sum() - shift) / ((p * (1 - p)).sum() + 1.0)
        shift += float(np.clip(step, -2, 2))
        if abs(step) < 1e-8:
            break
    return shift


def _others_shift(offset, scores, row, k, other, of, compares) -> float:
    """The shift of the candidates that neither gave the answer nor were compared with it."""
    row, k, other = row[of], k[of], other[of]
    apart = np.arange(scores.shape[1])[None, :] != k[:, None]
    if compares:
        apart &= np.arange(scores.shape[1])[None, :] != other[:, None]
    judged = apart & ~np.isnan(scores[row])
    return _shift(offset[row][judged], scores[row][judged], np.ones(int(judged.sum()), dtype=bool))


def _auc_within(passes: np.ndarray, right: np.ndarray, sources: np.ndarray) -> float:
    found = []
    for source in np.unique(sources):
        rows = sources == source
        weight_right, weight_wrong = right[rows].sum(), (1 - right[rows]).sum()
        if weight_right > 0 and weight_wrong > 0:
            in_right = (passes[rows] * right[rows]).sum() / weight_right
            in_wrong = (passes[rows] * (1 - right[rows])).sum() / weight_wrong
            found.append(0.5 + (in_right - in_wrong) / 2)
    return float(np.mean(found)) if found else float("nan")


@dataclass(frozen=True)
class Asked:
    """What a cascade did on every prompt."""

    accepted: np.ndarray
    """`(n,)` column of the answer that was taken."""
    n_calls: np.ndarray
    """`(n,)` calls."""
    is_asked: np.ndarray
    """`(n, K)` bool: who was asked, and is to be paid."""


def replay(stopping: Stopping, looked: Looked, chances: np.ndarray, prices: np.ndarray) -> Asked:
    """The cascade on logged answers: it sees an answer only once it has paid for it.

    Args:
        stopping: the rule, with the checks' reliabilities.
        looked: what the checks say of the answers.
        chances: `(n, K)` foreseen before the call.
        prices: `(n, K)` of a call as expected, in score.
    """
    log_odds, is_asked = log_odds_of(chances), np.zeros(chances.shape, dtype=bool)
    n_calls = np.zeros(len(chances), dtype=int)
    active = np.arange(len(chances))
    for call in range(stopping.max_calls):
        columns = stopping.next(log_odds[active], is_asked[active], prices[active], call)
        active, columns = active[columns >= 0], columns[columns >= 0]
        if not len(active):
            break
        before, asked = log_odds[active], is_asked[active]
        held = np.where(asked.any(axis=1), np.where(asked, before, -np.inf).argmax(axis=1), -1)
        log_odds[active] = stopping.updated(before, asked, columns, looked.select(active).of(columns, held))
        is_asked[active, columns] = True
        n_calls[active] += 1
    return Asked(np.where(is_asked, log_odds, -np.inf).argmax(axis=1), n_calls, is_asked)


def stop_in_hindsight(scores: np.ndarray, costs: np.ndarray) -> Asked:
    """Who knows which answer is best as soon as it is there: asks the usually cheaper first, and stops at the best.

    Where nobody is better than the first, it asks nobody else.

    Args:
        scores: `(n, K)` observed.
        costs: `(n, K)` dollars.
    """
    order = np.argsort(known_mean(costs), kind="stable")
    ordered = scores[:, order]
    place = (ordered >= ordered.max(axis=1, keepdims=True) - 1e-9).argmax(axis=1)
    is_asked = np.zeros(scores.shape, dtype=bool)
    is_asked[:, order] = np.arange(scores.shape[1])[None, :] <= place[:, None]
    return Asked(order[place], place + 1, is_asked)
