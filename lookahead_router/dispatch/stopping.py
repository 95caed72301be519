"""When to stop asking: chances of right answers, what checks say of them, and the worth of one more call.

The belief about a prompt is a log-odds per candidate that its answer is right. A check that passes or fails an answer
changes it by Bayes' rule, and with it that of the answer it was compared with, and a little those of the candidates not
asked yet. The worth of asking on is computed over all that the checks may say, up to the last call that is allowed: a
decision process of finite horizon, solved by going through it. With checks that tell nothing it is routing before the
call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lookahead_router.dispatch.checks import Reliability
from lookahead_router.metrics import sigmoid

NUMBERS_AT_ONCE = 500_000
"""In the largest array that is held in memory at one time."""
_LIMIT = 12.0
"""Largest log-odds: nothing is ever certain."""


class Branch(NamedTuple):
    """What checks may say of the answers of all candidates, together: the first of them that fails decides."""

    chance: np.ndarray
    """`(n, K)` that they say this."""
    own: np.ndarray
    """`(n, K)` log-odds of each answer then."""
    held: np.ndarray
    """`(n, K)` log-odds of the best answer so far then; -inf where there is none."""
    others: float
    """Added to the log-odds of whoever was not asked."""


@dataclass(frozen=True)
class Stopping:
    """The rule by which a cascade asks and stops."""

    reliabilities: tuple[Reliability, ...]
    """Reliabilities of the checks in the order of looking; one with `passes_mixed` compares an answer with the best one
    before it."""
    max_calls: int
    order: tuple[int, ...] | None = None
    """Columns in the order of asking; whoever is worth most comes next when absent."""

    def next(self, log_odds: np.ndarray, is_asked: np.ndarray, prices: np.ndarray, n_calls: int) -> np.ndarray:
        """`(n,)` whom to ask next, -1 where the best answer so far is to be taken.

        Args:
            log_odds: `(n, K)` that each candidate's answer is right, as believed now; -inf of whoever may not be asked.
            is_asked: `(n, K)` bool: who has answered.
            prices: `(n, K)` of a call, in score.
            n_calls: calls so far, the same of all prompts.
        """
        chosen = np.full(len(log_odds), -1)
        if n_calls >= self.max_calls:
            return chosen
        depth = self.max_calls - n_calls - 1
        step = max(1, NUMBERS_AT_ONCE // ((len(self.reliabilities) + 1) ** depth * log_odds.shape[1]))
        for at in range(0, len(log_odds), step):
            part = slice(at, at + step)
            worth = self._worth(log_odds[part], is_asked[part], prices[part], n_calls)
            now = _stop_value(log_odds[part], is_asked[part])
            chosen[part] = np.where(worth.max(axis=1) > now, worth.argmax(axis=1), -1)
        return chosen

    def _worth(self, log_odds: np.ndarray, is_asked: np.ndarray, prices: np.ndarray, n_calls: int) -> np.ndarray:
        """`(n, K)` expected score less prices from here on of asking each; -inf of whoever may not be asked now."""
        n, n_candidates = log_odds.shape
        may_be_asked = ~is_asked & (log_odds > -np.inf)
        if self.order is not None:
            may_be_asked &= np.arange(n_candidates) == self.order[n_calls]
        branches = self.branches(log_odds, is_asked)
        if n_calls + 1 == self.max_calls:
            rest = _best_but_held(log_odds, is_asked)[:, None]
            worth = sum(each.chance * sigmoid(np.maximum(rest, np.maximum(each.own, each.held))) for each in branches)
            return np.where(may_be_asked, worth - prices, -np.inf)
        worth = np.full((n, n_candidates), -np.inf)
        repeated = np.tile(prices, (len(branches), 1))
        for column in np.flatnonzero(may_be_asked.any(axis=0)):
            asked = is_asked.copy()
            asked[:, column] = True
            after = np.concatenate([_after(log_odds, is_asked, column, each) for each in branches])
            values = self._value(after, np.tile(asked, (len(branches), 1)), repeated, n_calls + 1)
            chance = np.stack([each.chance[:, column] for each in branches])
            total = (chance * values.reshape(len(branches), n)).sum(axis=0) - prices[:, column]
            worth[:, column] = np.where(may_be_asked[:, column], total, -np.inf)
        return worth

    def _value(self, log_odds: np.ndarray, is_asked: np.ndarray, prices: np.ndarray, n_calls: int) -> np.ndarray:
        now = _stop_value(log_odds, is_asked)
        return np.maximum(now, self._worth(log_odds, is_asked, prices, n_calls).max(axis=1))

    def is_settled(
        self, log_odds: np.ndarray, is_asked: np.ndarray, prices: np.ndarray, n_calls: int, column: int
    ) -> bool:
        """Whether a candidate's answer is the one to take, whatever the checks say of it; for one prompt.

        Args:
            log_odds: `(1, K)` before its answer.
            is_asked: `(1, K)` who has answered before.
            prices: `(1, K)` of a call, in score.
            n_calls: calls before it.
            column: whose answer.
        """
        asked = is_asked.copy()
        asked[:, column] = True
        for branch in self.branches(log_odds, is_asked):
            after = _after(log_odds, is_asked, column, branch)
            is_best = after[0, column] >= best_of(after, asked)[0]
            if not is_best or self.next(after, asked, prices, n_calls + 1)[0] >= 0:
                return False
        return True

    def branches(self, log_odds: np.ndarray, is_asked: np.ndarray) -> list[Branch]:
        """All that the checks may say of the next answer, whoever gives it.

        Args:
            log_odds: `(n, K)` as believed now.
            is_asked: `(n, K)` bool: who has answered, equally many for every prompt.
        """
        own, held = log_odds, np.broadcast_to(best_of(log_odds, is_asked)[:, None], log_odds.shape)
        reached, others, found = np.ones(log_odds.shape), 0.0, []
        for each in self.reliabilities:
            if each.passes_mixed is not None and not is_asked.any():
                continue
            passing, failing = (_weighed(each, own, held, passes) for passes in (True, False))
            found.append(Branch(reached * failing[0], *failing[1:], others + each.others_failed))
            reached, own, held = reached * passing[0], *passing[1:]
            others += each.others_passed
        return [*found, Branch(reached, own, held, others)]

    def updated(
        self, log_odds: np.ndarray, is_asked: np.ndarray, columns: np.ndarray, looked: Sequence[np.ndarray]
    ) -> np.ndarray:
        """`(n, K)` log-odds after the checks have looked at answers. The first check that fails an answer decides.

        Args:
            log_odds: `(n, K)` before.
            is_asked: `(n, K)` who had answered before.
            columns: `(n,)` who has answered now.
            looked: `(n,)` for each check: 1 where an answer passes, 0 where it fails, NaN where nothing is said.
        """
        rows = np.arange(len(log_odds))
        own, held = log_odds[rows, columns], best_of(log_odds, is_asked)
        others, goes_on = np.zeros(len(rows)), np.ones(len(rows), dtype=bool)
        for each, found in zip(self.reliabilities, looked, strict=True):
            for passes, shift in ((True, each.others_passed), (False, each.others_failed)):
                counts = goes_on & (found == passes)
                _, own_then, held_then = _weighed(each, own, held, passes)
                own, held = np.where(counts, own_then, own), np.where(counts, held_then, held)
                others += counts * shift
                goes_on = goes_on if passes else goes_on & ~counts
        is_held = is_asked & (log_odds == best_of(log_odds, is_asked)[:, None])
        after = np.where(is_asked, np.where(is_held, held[:, None], log_odds), log_odds + others[:, None])
        after[rows, columns] = own
        return _limited(after)


def _weighed(
    reliability: Reliability, own: np.ndarray, held: np.ndarray, passes: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chance that a check says this, and the log-odds of the answer and of the one it is compared with then."""
    p, (right, wrong, mixed) = sigmoid(own), reliability.shares(passes)
    if mixed is None:
        return p * right + (1 - p) * wrong, own + np.log(right / wrong), held
    q = sigmoid(held)
    together = reliability.correlation * np.sqrt(p * (1 - p) * q * (1 - q))
    together = np.minimum(together, np.minimum(p * (1 - q), q * (1 - p)))  # no chance below 0
    both, neither = (p * q + together) * right, ((1 - p) * (1 - q) + together) * wrong
    mine, theirs = (p * (1 - q) - together) * mixed, (q * (1 - p) - together) * mixed
    with np.errstate(divide="ignore", invalid="ignore"):  # without an earlier answer nobody reads it
        own, held = np.log((both + mine) / (neither + theirs)), np.log((both + theirs) / (neither + mine))
    return both + neither + mine + theirs, own, held


def _after(log_odds: np.ndarray, is_asked: np.ndarray, column: int, branch: Branch) -> np.ndarray:
    """`(n, K)` log-odds where a column has answered and the checks say what the branch holds."""
    is_held = is_asked & (log_odds == best_of(log_odds, is_asked)[:, None])
    kept = np.where(is_held, branch.held[:, column, None], log_odds)
    after = np.where(is_asked, kept, log_odds + branch.others)
    after[:, column] = branch.own[:, column]
    return _limited(after)


def best_of(log_odds: np.ndarray, is_asked: np.ndarray) -> np.ndarray:
    """`(n,)` log-odds of the best answer so far; -inf where there is none."""
    return np.where(is_asked, log_odds, -np.inf).max(axis=1)


def _best_but_held(log_odds: np.ndarray, is_asked: np.ndarray) -> np.ndarray:
    """`(n,)` log-odds of the second best answer so far; -inf where there is none."""
    return best_of(log_odds, is_asked & (log_odds < best_of(log_odds, is_asked)[:, None]))


def _stop_value(log_odds: np.ndarray, is_asked: np.ndarray) -> np.ndarray:
    return np.where(is_asked.any(axis=1), sigmoid(best_of(log_odds, is_asked)), -np.inf)


def _limited(log_odds: np.ndarray) -> np.ndarray:
    return np.where(log_odds == -np.inf, log_odds, np.clip(log_odds, -_LIMIT, _LIMIT))


def log_odds_of(chances: np.ndarray) -> np.ndarray:
    """Chances in [0, 1] as log-odds, none of them certain; -inf, which is never asked, where one is NaN."""
    low = 1 / (1 + np.exp(_LIMIT))
    limited = np.clip(chances, low, 1 - low)
    return np.where(np.isnan(chances), -np.inf, np.log(limited / (1 - limited)))
