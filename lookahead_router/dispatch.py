"""One dispatch for every adapter: whom to ask, in which order, who failed, and the record that says why.

Framework-free, and without any I/O of calls: the adapter asks the candidates, in whichever way its framework has.

    dispatcher = Dispatcher(None, ["coder-7b", "chat-8b"], aliases={...}, fallbacks="next-best")
    attempts = dispatcher.plan(text, needs=["tools"], n_tokens=1200)    # computes; off the event loop in async code
    while True:
        try:
            answer = ask(attempts.name)
            break
        except Exception as error:
            if not attempts.move_on(error):                             # nobody else, or not worth it
                raise
    attempts.answered()
    attempts.record                                                     # plain JSON, the same keys everywhere

A stream goes through a `Holdback` as well, so that the next candidate can be asked until something was shown.
"""

import functools
import logging
import threading
import time
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.failures import Failure, failure_of, retry_after
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool, Decision

Fallbacks = Literal["next-best"] | None
Sticky = Literal["thread", "turn"] | None

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """What follows from a class of failure."""

    asks_next: bool
    """Whether another candidate may answer."""
    cooldown_seconds: float = 0.0
    """How long the candidate is asked last; doubles with every further failure. 0 for none."""
    failures: int = 1
    """So many failures in a row start the cooldown."""


RULES: Mapping[Failure, Rule] = {
    Failure.RATE_LIMIT: Rule(True, 10.0),
    Failure.OVERLOAD: Rule(True, 10.0),
    Failure.SERVER_ERROR: Rule(True, 10.0, failures=2),
    Failure.TIMEOUT: Rule(True, 30.0),
    Failure.CONNECTION: Rule(True, 10.0, failures=2),
    Failure.NO_ANSWER: Rule(True, 10.0, failures=3),
    Failure.AUTHENTICATION: Rule(True, 300.0),
    Failure.NOT_FOUND: Rule(True, 300.0),
    Failure.CONTEXT_OVERFLOW: Rule(True),
    Failure.CONTENT_FILTER: Rule(True),
    Failure.BAD_REQUEST: Rule(False),
    Failure.UNKNOWN: Rule(False),
}
"""One rule for each class of failure."""


class Cooldowns:
    """Who is asked last for a while, because they failed. Safe under threads.

    Belongs to its process: a pickled copy is empty, a deep copy is the same object.
    """

    def __init__(
        self,
        *,
        max_seconds: float = 600.0,
        max_retry_after_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with nobody.

        Args:
            max_seconds: bound of a cooldown that grows, > 0.
            max_retry_after_seconds: bound of what providers may ask for, >= 0.
            clock: seconds that never go back.
        """
        self.max_seconds = max_seconds
        self.max_retry_after_seconds = max_retry_after_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._in_a_row: dict[str, int] = {}
        self._why: dict[str, Failure] = {}

    def failed(self, name: str, failure: Failure, retry_after: float | None = None) -> None:
        """Notes a failure.

        Args:
            name: the candidate.
            failure: its class; classes without a cooldown count for nothing.
            retry_after: seconds, at least 0, that the provider asked to wait.
        """
        rule = RULES[failure]
        if not rule.cooldown_seconds:
            return
        with self._lock:
            now = self._clock()
            until = self._until.get(name, now)
            if until <= now:  # calls that were under way when a cooldown began tell nothing new
                n = self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
                if n >= rule.failures:
                    doublings = min(n - rule.failures, 32)
                    until = now + min(rule.cooldown_seconds * 2**doublings, self.max_seconds)
            if retry_after is not None:
                until = max(until, now + min(retry_after, self.max_retry_after_seconds))
            if until > now:
                self._until[name], self._why[name] = until, failure

    def answered(self, name: str) -> None:
        """Forgets the candidate's failures."""
        with self._lock:
            for noted in (self._until, self._in_a_row, self._why):
                noted.pop(name, None)

    def seconds_left(self, name: str) -> float:
        """Seconds, at least 0, for which the candidate is still asked last."""
        with self._lock:
            return max(0.0, self._until.get(name, 0.0) - self._clock())

    def why(self, name: str) -> Failure | None:
        """The failure for which the candidate is in its cooldown; `None` where it is in none."""
        with self._lock:
            return self._why.get(name) if self._until.get(name, 0.0) > self._clock() else None

    def __deepcopy__(self, memo: dict) -> "Cooldowns":
        return self

    def __reduce__(self):
        return _new_cooldowns, (self.max_seconds, self.max_retry_after_seconds)


def _new_cooldowns(max_seconds: float, max_retry_after_seconds: float) -> Cooldowns:
    return Cooldowns(max_seconds=max_seconds, max_retry_after_seconds=max_retry_after_seconds)


class RecentThreads(UserDict):
    """Candidate by conversation id, of the conversations used last. Safe under threads.

    Belongs to its process: a pickled copy is empty, a deep copy is the same object.
    """

    def __init__(self, max_threads: int = 10_000) -> None:
        super().__init__()
        self.max_threads = max_threads
        self._lock = threading.Lock()

    def __setitem__(self, thread: str, name: str) -> None:
        with self._lock:
            self.data.pop(thread, None)
            self.data[thread] = name
            if len(self.data) > self.max_threads:
                del self.data[next(iter(self.data))]

    def __deepcopy__(self, memo: dict) -> "RecentThreads":
        return self

    def __reduce__(self):
        return RecentThreads, (self.max_threads,)


@dataclass(frozen=True)
class Abilities:
    """What an adapter knows of the model behind a candidate. What is not known excludes nobody."""

    can: Mapping[str, bool] = field(default_factory=dict)
    """Capability, in the words of `Candidate.capabilities`: whether the model has it."""
    window_tokens: int | None = None
    """Tokens of a conversation that it reads at most; goes before the pool's."""


class Attempts:
    """One call on its way through the candidates: who is asked now, and who failed before."""

    def __init__(
        self,
        dispatcher: "Dispatcher",
        order: Iterable[str],
        facts: Mapping[str, Any],
        *,
        thread: str | None = None,
    ) -> None:
        """Starts with the first of the order; made by `Dispatcher.plan`."""
        self._dispatcher = dispatcher
        self._facts = dict(facts)
        self._thread = thread
        self.name, *self._others = order
        """The candidate to ask now."""
        self._failed: list[dict[str, Any]] = []
        self._is_over = False

    @property
    def record(self) -> dict[str, Any]:
        """The routing record as of now: plain JSON, with nothing of prompt or answer.

        `candidate` is asked now or has answered, by the `reason` `routed`, `forced`, `sticky` or `default`. A
        decision adds `scores`, `utilities`, `ranking`, `margin`, `policy`, `predictor`, `revision` and
        `latency_seconds`. `attempts` lists whom was asked, each with `error`, the type of the error, and `failure`,
        its class; both `None` for the last. `excluded` (who could not take the request, and why), `cooling` (who
        is asked last, and after which failure) and `error` (type of the predictor's failure, where the default
        answered) are there only if there is something to say.
        """
        asked = [] if self._is_over else [{"candidate": self.name, "error": None, "failure": None}]
        attempts = [dict(each) for each in self._failed] + asked
        return {**self._facts, "candidate": self.name, "attempts": attempts}

    def move_on(self, error: Exception) -> bool:
        """Notes that the candidate failed; true if another one is to be asked, whose name is in `name` then.

        Where false, the error is to be raised; it says in a note who had failed before.
        """
        failure = failure_of(error)
        self._dispatcher.cooldowns.failed(self.name, failure, retry_after(error))
        if failure is Failure.CONTEXT_OVERFLOW:
            self._others = self._dispatcher.with_larger_windows(self._others, self.name)
        if not self._others or not self._dispatcher.is_worth_another(error, failure):
            if self._failed:
                before = ", ".join(f"{each['candidate']} ({each['failure']})" for each in self._failed)
                error.add_note(f"raised by the candidate {self.name!r}, after others had failed: {before}")
            self._note(error, failure)
            self._is_over = True
            return False
        self._note(error, failure)
        self.name, *self._others = self._others
        return True

    def answered(self) -> None:
        """Notes that the candidate answered: it is healthy, and its thread may stay with it."""
        self._dispatcher.cooldowns.answered(self.name)
        self._dispatcher.remember(self._thread, self.name)

    def _note(self, error: Exception, failure: Failure) -> None:
        self._failed.append({"candidate": self.name, "error": type(error).__name__, "failure": failure.value})


class Dispatcher:
    """Plans calls among candidates: routed, forced or kept ones, those that can take the request, and fallbacks.

    Safe under threads. A pickled one loads its router again where it came from a location.
    """

    def __init__(
        self,
        router: Router | str | Path | None,
        candidates: Iterable[str] | None = None,
        *,
        revision: str | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
        policy: Any = None,
        default: str | None = None,
        fallbacks: Fallbacks = None,
        fallback_on: Callable[[Exception], bool] | None = None,
        sticky: Sticky = None,
        threads: MutableMapping[str, str] | None = None,
        cooldowns: Cooldowns | None = None,
        abilities: Mapping[str, Abilities] | None = None,
    ) -> None:
        """Loads the router and holds every name against its pool.

        Args:
            router: a `Router`, a folder, a Hub id, or `None` for the embedded predictor. What a location holds
                is loaded once per process.
            candidates: names to dispatch among, in the order in which they stand in where there is no decision;
                the router's pool when absent.
            revision: commit or tag of a Hub repository.
            aliases: `{name in the router's pool: the name here, or a Candidate with prices}`.
            policy: scores to utilities; the router's own when absent.
            default: answers where the predictor fails, or there is nothing to route on.
            fallbacks: `"next-best"` asks the next candidate of the ranking where one fails, by `RULES`.
            fallback_on: which errors are worth another candidate; goes before `RULES`.
            sticky: `"thread"` stays with the candidate that answered the thread last. What `"turn"` stays with
                the adapter reads in the conversation, and hands over as `keep`.
            threads: candidate by thread id; by default in memory, the 10,000 threads used last.
            cooldowns: shared with other dispatchers, or of this one when absent.
            abilities: what is known of the models, by candidate.

        Raises:
            ConfigurationError: a value out of its domain, or a policy that cannot decide among the candidates.
            UnknownCandidateError: a candidate, an alias or the default that the pool does not hold.
            CheckpointError, HubError: nothing to load at the location.
        """
        for name, value, domain in (
            ("fallbacks", fallbacks, ("next-best", None)),
            ("sticky", sticky, ("thread", "turn", None)),
        ):
            if value not in domain:
                choices = " or ".join(map(repr, domain))
                raise ConfigurationError(f"{name} must be {choices}, not {value!r}")
        if fallback_on is not None and not callable(fallback_on):
            raise ConfigurationError("fallback_on must be a function from an exception to a bool")
        names = None if candidates is None else list(candidates)
        self._source = functools.partial(
            resolve_router, router, revision=revision, aliases=aliases, names=names, policy=policy
        )
        self._router: Router | None = self._source()
        self.candidates: tuple[str, ...] = self._router.pool.names if names is None else tuple(names)
        """Names, in the order in which they stand in where there is no decision."""
        self.default = None if default is None else self.check_name(default)
        self.fallbacks = fallbacks
        self.fallback_on = fallback_on
        self.sticky = sticky
        self.threads: MutableMapping[str, str] = RecentThreads() if threads is None else threads
        self.cooldowns = Cooldowns() if cooldowns is None else cooldowns
        self.abilities = dict(abilities or {})

    @property
    def router(self) -> Router:
        """The router over the candidates."""
        if self._router is None:  # unpickled
            self._router = self._source()
        return self._router

    def plan(
        self,
        text: str,
        *,
        needs: Iterable[str] = (),
        n_tokens: int = 0,
        forced: str | None = None,
        keep: str | None = None,
        thread: str | None = None,
        policy: Any = None,
    ) -> Attempts:
        """The candidates for a request, nobody asked yet. Computes: in async code, call it off the event loop.

        A forced candidate answers without a prediction and has no fallback. One that is kept comes first, if it
        can take the request. The others follow in the decision's ranking or, without a decision, in their order
        here. With fallbacks, candidates in their cooldown are asked last.

        Args:
            text: what is routed on; empty where there is nothing, which the default answers.
            needs: what a candidate must be able to do, in the words of `Candidate.capabilities`.
            n_tokens: length of the whole conversation, >= 0; count conservatively.
            forced: the candidate that the caller wants.
            keep: the candidate to stay with.
            thread: id of the conversation, for `sticky="thread"`.
            policy: scores to utilities, for this call.

        Raises:
            UnknownCandidateError: the forced name is no candidate.
            ConfigurationError: no candidate can take the request.
            PromptError: nothing to route on, and no default.
        """
        if forced is not None:
            return Attempts(self, [self.check_name(forced)], {"candidate": forced, "reason": "forced"}, thread=thread)
        router = self.router if policy is None else self.router.with_policy(policy)
        ruled_out = router.excluded
        admitted = [name for name in self.candidates if name not in ruled_out]
        excluded = {**ruled_out, **self._unable(admitted, set(needs), n_tokens)}
        able = [name for name in self.candidates if name not in excluded]
        if not able:
            reasons = "; ".join(f"{name} {reason}" for name, reason in excluded.items())
            raise ConfigurationError(f"no candidate can take this request: {reasons}")
        facts: dict[str, Any] = {"excluded": excluded} if excluded else {}
        if keep is None and self.sticky == "thread" and thread is not None:
            keep = self.threads.get(thread)
        if keep in able:
            order, facts = [keep, *able], {"candidate": keep, "reason": "sticky", **facts}
        else:
            order, facts = self._decided(router, able, text, facts)
        return self._attempts(order, facts, thread)

    def check_name(self, name: str) -> str:
        """The name, if it is a candidate's.

        Raises:
            UnknownCandidateError: it is not.
        """
        if name not in self.candidates:
            raise UnknownCandidateError(name, self.candidates)
        return name

    def remember(self, thread: str | None, name: str) -> None:
        """Keeps the candidate that answered a thread, if threads are to stay with theirs."""
        if self.sticky == "thread" and thread is not None:
            self.threads[thread] = name

    def is_worth_another(self, error: Exception, failure: Failure) -> bool:
        """Whether an error is worth asking another candidate."""
        return RULES[failure].asks_next if self.fallback_on is None else bool(self.fallback_on(error))

    def window(self, name: str) -> int | None:
        """Tokens that a candidate reads at most; `None` where nobody knows."""
        known = self.abilities.get(name)
        if known is not None and known.window_tokens is not None:
            return known.window_tokens
        return self.router.pool[name].context_window_tokens

    def with_larger_windows(self, names: Iterable[str], than: str) -> list[str]:
        """Those of the candidates that may read more than another one, for which a request was too long."""
        smallest = self.window(than)
        if smallest is None:
            return list(names)
        return [name for name in names if (window := self.window(name)) is None or window > smallest]

    def _decided(
        self, router: Router, able: list[str], text: str, facts: dict[str, Any]
    ) -> tuple[list[str], dict[str, Any]]:
        """The order and the record of a decision, or of the default where there is none."""
        try:
            decision = (router if len(able) == len(router.pool) else router.restrict_to(able)).route(text)
            return list(decision.ranking), {**decision_facts(decision), "reason": "routed", **facts}
        except ConfigurationError:
            raise  # a wrong option is not a failure of the moment, and no default may hide it
        except Exception as error:
            if self.default is None:
                raise
            name = self.default if self.default in able else able[0]
            kind = type(error).__name__  # not its message, which may quote the prompt
            logger.warning("the predictor failed with %s; %s answers instead", kind, name)
            return [name, *able], {"candidate": name, "reason": "default", "error": kind, **facts}

    def _attempts(self, order: list[str], facts: dict[str, Any], thread: str | None) -> Attempts:
        order = list(dict.fromkeys(order))
        if self.fallbacks is None:
            return Attempts(self, order[:1], facts, thread=thread)
        left = {name: self.cooldowns.seconds_left(name) for name in order}
        order.sort(key=left.__getitem__)  # stable: the ranking, and then who is back first
        why = {name: self.cooldowns.why(name) for name in order if left[name]}
        cooling = {name: failure.value for name, failure in why.items() if failure is not None}
        return Attempts(self, order, {**facts, "cooling": cooling} if cooling else facts, thread=thread)

    def _unable(self, names: list[str], needs: set[str], n_tokens: int) -> dict[str, str]:
        """Why candidates cannot take a request, by name.

        Where the request seems too long for everyone, those with the largest window stay in: tokens are estimated.
        """
        reasons = {name: reason for name in names if (reason := self._lack(name, needs))}
        windows = {name: self.window(name) for name in names if name not in reasons}
        known = [window for window in windows.values() if window is not None]
        largest = float("inf") if None in windows.values() else max(known, default=0)
        for name, window in windows.items():
            if window is not None and window < min(n_tokens, largest):
                reasons[name] = f"takes {window} tokens, the conversation has about {n_tokens}"
        return reasons

    def _lack(self, name: str, needs: set[str]) -> str | None:
        abilities, candidate = self.abilities.get(name, Abilities()), self.router.pool[name]
        for need in sorted(needs):
            if abilities.can.get(need) is False:
                return f"has no {need}, says its model"
            # What a pool lists are abilities of the model; structured output is the adapter's to know.
            if candidate.capabilities and need not in candidate.capabilities and need != "structured output":
                return f"has no {need}, says its entry in the pool"
        return None

    def __getstate__(self) -> dict[str, Any]:
        location = self._source.args[0]
        return {**self.__dict__, "_router": self._router if isinstance(location, Router) else None}


class Holdback:
    """The chunks of a stream, held back until one of them shows something.

    Streams often begin with a chunk that holds a role alone. As long as nothing was shown, another candidate may
    begin anew.

    Example:
        held = Holdback()
        for chunk in stream:
            yield from held.add(chunk, shows=bool(chunk.text))
        # here `held.has_begun` is false where the whole answer was empty; `held.rest()` are its chunks
    """

    def __init__(self) -> None:
        self.has_begun = False
        """Whether something was shown; then the stream cannot be taken back."""
        self._held: list[Any] = []

    def add(self, chunk: Any, *, shows: bool) -> list[Any]:
        """What is to be passed on now.

        Args:
            chunk: the next one.
            shows: whether it holds anything that a user sees: text, reasoning, a tool call, an image.
        """
        if self.has_begun:
            return [chunk]
        self._held.append(chunk)
        if not shows:
            return []
        self.has_begun = True
        return self.rest()

    def rest(self) -> list[Any]:
        """The chunks that are still held back; none after that."""
        held, self._held = self._held, []
        return held


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision as records hold it: plain JSON, with nothing of the prompt."""
    return {
        "candidate": decision.name,
        "scores": dict(decision.scores),
        "utilities": dict(decision.utilities),
        "ranking": list(decision.ranking),
        "margin": decision.margin,
        "policy": decision.policy,
        "predictor": decision.predictor,
        "revision": decision.revision,
        "latency_seconds": decision.latency_seconds,
    }


_lock = threading.Lock()


@functools.lru_cache(maxsize=8)
def _load(location: str | Path | None, revision: str | None) -> Router:
    return Router.from_pretrained(location, **({} if revision is None else {"revision": revision}))


def resolve_router(
    source: Router | str | Path | None,
    *,
    revision: str | None = None,
    aliases: Mapping[str, str | Candidate] | None = None,
    names: Iterable[str] | None = None,
    policy: Any = None,
) -> Router:
    """The router of a location, or the given one, among the named candidates and under the policy.

    Locations are loaded once per process, so building an object again costs no reading of weights.

    Args:
        source: a `Router`, a folder, a Hub id, or `None` for the embedded predictor.
        revision: commit or tag of a Hub repository.
        aliases: `{name in the router's pool: the name here, or a Candidate with prices}`.
        names: the candidates to decide among; all when absent.
        policy: scores to utilities; the router's own when absent.

    Raises:
        ConfigurationError: neither a router nor a location, a revision of something without one, or a policy that
            cannot decide among the candidates.
        UnknownCandidateError: an alias or a name that the pool does not hold.
        CheckpointError, HubError: nothing to load at the location.
    """
    if isinstance(source, Router):
        if revision is not None:
            raise ConfigurationError("a loaded Router has its revision already; leave out `revision`")
        router = source
    elif source is None or isinstance(source, str | Path):
        if revision is not None and source is None:
            raise ConfigurationError("the embedded predictor has no revisions; name a repository in `router`")
        with _lock:  # two threads must not load the same weights twice
            router = _load(source, revision)
    else:
        raise ConfigurationError(
            f"router must be a Router, a folder, a Hub id or None for the embedded one, not {type(source).__name__}"
        )
    if aliases:
        router = router.with_aliases(aliases)
    if names is not None:
        names = list(names)
        _check_names(names, router.pool)
        router = router.restrict_to(names)
    return router if policy is None else router.with_policy(policy)


def _check_names(names: list[str], pool: CandidatePool) -> None:
    for name in names:
        if name not in pool.names:
            raise UnknownCandidateError(
                name,
                pool.names,
                hint=f"Give the pool's candidates your names with aliases={{{pool.names[0]!r}: {name!r}, ...}}, "
                "or name a predictor that was trained on your own candidates in router=.",
            )
