"""`Cascade`: several calls for one prompt. `Hops`: one prompt on its way through them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_router.dispatch.attempts import Attempts
from lookahead_router.dispatch.checks import Check, Reply, look, read_checks
from lookahead_router.dispatch.stopping import Stopping, best_of, log_odds_of
from lookahead_router.errors import ConfigurationError
from lookahead_router.failures import Failure, failure_of, retry_after
from lookahead_router.metrics import sigmoid
from lookahead_router.policies import CostAware, check_policy
from lookahead_router.types import CandidatePool

if TYPE_CHECKING:
    from lookahead_router.dispatch.dispatcher import Dispatcher
    from lookahead_router.router import Router

MAX_CALLS = 4


@dataclass(frozen=True)
class Cascade:
    """Ask, look at the answer, stop or ask another candidate: by what that may gain against what it costs.

    The chance that an answer is right is the predictor's, changed by what the checks say and by how reliable they are.
    With checks that tell nothing, a cascade routes before the call.

    Raises:
        ConfigurationError: a check that is none, a weight or a number of calls out of range, or an order that is none.
    """

    checks: Sequence[str | Check]
    """What looks at answers, in this order: `"agreement"`, `"refusal"`, or objects."""
    score_per_usd: float
    """Score that one dollar is worth, >= 0: another call has to gain more than it costs. 20 pays a cent for 0.2."""
    max_calls: int = 2
    """Most answers that one prompt may take, from 2 to 4."""
    order: Sequence[str] | None = None
    """Candidates in the order of asking, one a call; whoever is worth most comes next when absent."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", read_checks(self.checks))
        CostAware(self.score_per_usd)  # the same domain, the same words
        check_order(self.max_calls, self.order)
        object.__setattr__(self, "order", None if self.order is None else tuple(self.order))

    def begin(
        self, dispatcher: "Dispatcher", names: Sequence[str], question: str, facts: dict[str, Any], thread: str | None
    ) -> "Hops":
        """One prompt's calls, nobody asked yet.

        Args:
            dispatcher: whose candidates they are.
            names: who can take the request.
            question: the text that was routed.
            facts: of the decision, as records hold them.
            thread: id of the conversation.
        """
        return Hops(dispatcher, self, names, question, facts, thread)


def check_order(max_calls: int, order: Sequence[str] | None) -> None:
    """Raises `ConfigurationError` for a number of calls out of range, or an order that is none."""
    if type(max_calls) is not int or not 2 <= max_calls <= MAX_CALLS:
        raise ConfigurationError(f"max_calls must be a whole number from 2 to {MAX_CALLS}, got {max_calls!r}")
    if order is None:
        return
    if isinstance(order, str) or len(order) < max_calls or len(set(order)) < len(order):
        raise ConfigurationError(
            f"order must name each candidate once, and at least as many as there may be calls ({max_calls}); "
            f"got {order if isinstance(order, str) else ', '.join(map(str, order))}"
        )


def checked_cascade(cascade: Any, router: "Router", candidates: Sequence[str]) -> Cascade | None:
    """The cascade, if it is one or none is given.

    Raises:
        ConfigurationError: it is none, or a candidate has no price.
        UnknownCandidateError: its order names somebody else.
    """
    if cascade is None:
        return None
    if not isinstance(cascade, Cascade):
        raise ConfigurationError(f"cascade must be Cascade(...), got {type(cascade).__name__}")
    pool = router.pool.subset(candidates)
    for name in cascade.order or ():
        pool.index(name)
    check_policy(CostAware(cascade.score_per_usd), pool)
    return cascade


class Hops(Attempts):
    """One prompt on its way through a cascade: who is asked now, and which answer is the best so far."""

    name: str
    answer: Any

    def __init__(
        self,
        dispatcher: "Dispatcher",
        cascade: Cascade,
        names: Sequence[str],
        question: str,
        facts: dict[str, Any],
        thread: str | None,
    ) -> None:
        """Chooses whom to ask first; made by `Cascade.begin`."""
        self._cascade, self._names, self._question = cascade, list(names), question
        self._usd = [facts["expected_usd"][name] for name in names]
        self._prices = cascade.score_per_usd * np.array([self._usd])
        chances = facts.get("probabilities") or facts["scores"]
        self._log_odds = log_odds_of(np.array([[chances[name] for name in names]]))
        self._is_asked = np.zeros((1, len(names)), dtype=bool)
        order = None if cascade.order is None else [name for name in cascade.order if name in names]
        self._stopping = Stopping(
            tuple(check.reliability for check in cascade.checks),
            min(cascade.max_calls, len(names if order is None else order)),
            None if order is None else tuple(map(self._names.index, order)),
        )
        cooling = {
            name: why.value
            for name in names
            if dispatcher.cooldowns.seconds_left(name) and (why := dispatcher.cooldowns.why(name)) is not None
        }
        if cooling and len(cooling) < len(names):
            self._rule_out(cooling)
            facts = {**facts, "cooling": cooling}
        self._attempted: list[dict[str, Any]] = []
        self._hops: list[dict[str, Any]] = []
        self._answers: dict[str, Any] = {}
        self._replies: dict[str, Reply] = {}
        self._finality: tuple[tuple[str, int], bool] = ("", -1), False
        self._stopped: str | None = None
        column = self._next()
        first = facts["candidate"] if column < 0 else self._names[column]  # the order holds nobody who may be asked
        super().__init__(dispatcher, [first], facts, thread=thread)

    @property
    def is_final(self) -> bool:
        """Whether nothing that a check could say of the next answer would change that it is the call's."""
        now = (self.name, len(self._hops))
        if self._finality[0] != now:
            beliefs = (self._log_odds, self._is_asked, self._prices)
            self._finality = now, self._stopping.is_settled(*beliefs, len(self._hops), self._column)
        return self._finality[1]

    @property
    def record(self) -> dict[str, Any]:
        """The record of a call, with all calls in `attempts`, and `cascade`.

        `cascade` holds `hops`, the answers in the order in which they came: `candidate`, `chance` (that it was right,
        before it was there), `checks` (what each check said: true, false or null), `chance_after`, and as far as they
        are known `expected_usd`, `input_tokens`, `output_tokens` and `usd`. Besides: `accepted`, once it is known whose
        answer is taken, and in `stopped` why nobody is asked after it: `settled` (whatever checks could have said),
        `not-worth-it` (a further call would cost more than it may gain), `max-calls`, `nobody-left`, `failure` (of
        whoever was asked last) or `budget`; `expected_usd` and `usd` of all answers together, where all are known.
        """
        asked = [] if self._is_over else [{"candidate": self.name, "error": None, "failure": None}]
        cascade: dict[str, Any] = {"hops": [dict(hop) for hop in self._hops], "accepted": None}
        if self._answers if self._is_over else self.is_final:
            cascade["accepted"] = self.name
            cascade["stopped"] = self._stopped or self._why(len(self._hops) + 1, is_final=True)
        cascade["expected_usd"] = sum(hop["expected_usd"] for hop in self._hops)
        if self._hops and all("usd" in hop for hop in self._hops):
            cascade["usd"] = sum(hop["usd"] for hop in self._hops)
        attempts = [dict(each) for each in self._attempted] + asked
        return {**self._facts, "candidate": self.name, "attempts": attempts, "cascade": cascade}

    def settles(self, answer: Any, reply: Callable[[], Reply]) -> bool:
        """Takes an answer in and looks at it; true if the best one so far is the call's, and `name` its candidate."""
        if self._is_over:  # an empty answer, after which nobody was left
            self.answer = answer
            return True
        self._dispatcher.cooldowns.answered(self.name)
        is_final, column = self.is_final, self._column
        seen, chance = reply(), float(sigmoid(self._log_odds[0, column]))
        said = self._look(seen) if not is_final else {}
        if not is_final:
            looked = [np.array([np.nan if value is None else float(value)]) for value in said.values()]
            self._log_odds = self._stopping.updated(self._log_odds, self._is_asked, np.array([column]), looked)
        self._is_asked[0, column] = True
        self._answers[self.name], self._replies[self.name] = answer, seen
        self._attempted.append({"candidate": self.name, "error": None, "failure": None})
        self._hops.append(self._hop(column, seen, chance, said))
        following = -1 if is_final else self._next()
        if following < 0:
            self._finish(self.name if is_final else self._best(), self._why(len(self._hops), is_final=is_final))
            return True
        self.name = self._names[following]
        return False

    def move_on(self, error: Exception, *, has_begun: bool = False) -> bool:
        """Notes that the candidate failed; true if another one is to be asked.

        Where false and `answer` is there, that is the call's: an answer in hand is worth more than an error.
        """
        failure = failure_of(error)
        dispatcher = self._dispatcher
        dispatcher.cooldowns.failed(self.name, failure, retry_after(error))
        self._attempted.append({"candidate": self.name, "error": type(error).__name__, "failure": failure.value})
        out = {self.name}
        if failure is Failure.CONTEXT_OVERFLOW:
            out |= set(self._names) - set(dispatcher.with_larger_windows(self._names, self.name))
        self._rule_out(out - set(self._answers))
        goes_on = not has_begun and dispatcher.fallbacks is not None and dispatcher.is_worth_another(error, failure)
        following = self._next() if goes_on else -1
        if following >= 0:
            self.name = self._names[following]
            return True
        if self._answers:
            self._finish(self._best(), "failure")
            return False
        self._is_over = True
        before = [each for each in self._attempted[:-1] if each["error"]]
        if before:
            listed = ", ".join(f"{each['candidate']} ({each['failure']})" for each in before)
            error.add_note(f"raised by the candidate {self.name!r}, after others had failed: {listed}")
        return False

    def stop(self) -> bool:
        """Takes the best of the answers that are there, since no budget is left for more; false where there is none."""
        if self._answers:
            self._finish(self._best(), "budget")
        return bool(self._answers)

    @property
    def plan(self) -> dict[str, Any]:
        """What may come, in plain JSON: `checks`, `score_per_usd`, `max_calls`, `order`, whether the first answer is
        taken whatever it says, in `is_final`, and who would be asked one after the other if each answer passed all that
        look at it, in `if_passing`, or failed, in `if_failing`: `candidate`, `chance` by then, `expected_usd`."""
        cascade = self._cascade
        return {
            "checks": [check.name for check in cascade.checks],
            "score_per_usd": cascade.score_per_usd,
            "max_calls": cascade.max_calls,
            "order": None if cascade.order is None else list(cascade.order),
            "is_final": self.is_final,
            "if_passing": self._foreseen(passes=True),
            "if_failing": self._foreseen(passes=False),
        }

    def _foreseen(self, *, passes: bool) -> list[dict[str, Any]]:
        log_odds, is_asked, column, calls = self._log_odds, self._is_asked.copy(), self._column, []
        while column >= 0:
            chance = float(sigmoid(log_odds[0, column]))
            calls.append({"candidate": self._names[column], "chance": chance, "expected_usd": self._usd[column]})
            silent = [check.compares and not is_asked.any() for check in self._cascade.checks]
            looked = [np.array([np.nan if each else float(passes)]) for each in silent]
            log_odds = self._stopping.updated(log_odds, is_asked, np.array([column]), looked)
            is_asked[0, column] = True
            column = self._following(log_odds, is_asked, len(self._hops) + len(calls))
        return calls

    @property
    def _column(self) -> int:
        return self._names.index(self.name)

    def _next(self) -> int:
        return self._following(self._log_odds, self._is_asked, len(self._hops))

    def _following(self, log_odds: np.ndarray, is_asked: np.ndarray, n_calls: int) -> int:
        """Whom to ask after so many calls, -1 for nobody."""
        stopping = self._stopping
        if stopping.order is not None and n_calls >= len(stopping.order):
            return -1
        return int(stopping.next(log_odds, is_asked, self._prices, n_calls)[0])

    def _why(self, n_calls: int, *, is_final: bool) -> str:
        """Why nobody is asked after so many answers."""
        if n_calls >= self._cascade.max_calls:
            return "max-calls"
        if n_calls >= self._stopping.max_calls:
            return "nobody-left"
        return "settled" if is_final else "not-worth-it"

    def _best(self) -> str:
        best = best_of(self._log_odds, self._is_asked)
        return self._names[int(np.flatnonzero(self._is_asked[0] & (self._log_odds[0] == best))[-1])]

    def _finish(self, name: str, why: str) -> None:
        self.name, self.answer, self._is_over, self._stopped = name, self._answers[name], True, why
        self._dispatcher.remember(self._thread, name)

    def _rule_out(self, names: Any) -> None:
        columns = [self._names.index(name) for name in names]
        self._log_odds[0, columns] = -np.inf
        order = self._stopping.order
        if order is not None:
            order = tuple(column for column in order if column not in columns)
        limit = int((self._log_odds[0] > -np.inf).sum()) if order is None else len(order)
        self._stopping = replace(self._stopping, order=order, max_calls=min(self._cascade.max_calls, max(limit, 1)))

    def _look(self, reply: Reply) -> dict[str, bool | None]:
        """What each check says; of those after the first that fails nothing is asked."""
        other = self._replies[self._best()] if self._replies else None
        said: dict[str, bool | None] = dict.fromkeys(check.name for check in self._cascade.checks)
        for check in self._cascade.checks:
            said[check.name] = look(check, self._question, reply, other)
            if said[check.name] is False:
                break
        return said

    def _hop(self, column: int, reply: Reply, chance: float, said: dict[str, bool | None]) -> dict[str, Any]:
        hop = {"candidate": self.name, "chance": chance, "checks": said, "expected_usd": self._usd[column]}
        if said:
            hop["chance_after"] = float(sigmoid(self._log_odds[0, column]))
        tokens = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
        hop |= {key: value for key, value in tokens.items() if value is not None}
        usd = _usd(self._dispatcher.router.pool, self.name, reply)
        return hop if usd is None else {**hop, "usd": usd}


def _usd(pool: CandidatePool, name: str, reply: Reply) -> float | None:
    """Dollars of a call by token prices; `None` where one of the figures is not known."""
    candidate = pool[name]
    prices = candidate.input_usd_per_million_tokens, candidate.output_usd_per_million_tokens
    counts = reply.input_tokens, reply.output_tokens
    if None in prices or None in counts:
        return None
    return (prices[0] * counts[0] + prices[1] * counts[1]) / 1e6
