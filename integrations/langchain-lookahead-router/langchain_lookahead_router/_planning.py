"""Where a request goes: the candidates in the order of trying, and the record that says why."""

import logging
import threading
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import LLMResult
from lookahead_router.errors import ConfigurationError, UnknownCandidateError, is_transient

from langchain_lookahead_router._capabilities import unable_to
from langchain_lookahead_router._loading import resolve_router
from langchain_lookahead_router._messages import (
    CONTEXT_CHARS,
    RECORD_KEY,
    last_human,
    portable,
    recorded_candidate,
    routing_text,
)

if TYPE_CHECKING:
    from lookahead_router import Candidate, Decision, Router

Fallbacks = Literal["next-best"] | None
Sticky = Literal["thread", "turn"] | None

logger = logging.getLogger(__name__)


def decision_record(decision: "Decision") -> dict[str, Any]:
    """A decision in plain JSON; holds nothing of the prompt."""
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


class RecentThreads(UserDict):
    """Candidate by thread id, of the threads used last; safe under threads.

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
class Plan:
    """Candidates in the order of trying, and the record of how they were chosen."""

    names: tuple[str, ...]
    record: dict[str, Any]


@dataclass
class Attempts:
    """The way through a plan: who is asked now, and who failed before."""

    plan: Plan
    is_worth_another: Callable[[Exception], bool]
    failed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The candidate to ask now."""
        return self.plan.names[len(self.failed)]

    @property
    def record(self) -> dict[str, Any]:
        """The routing record as of now, in plain JSON."""
        asked = {"candidate": self.name, "error": None}
        return {**self.plan.record, "candidate": self.name, "attempts": [*self.failed, asked]}

    def move_on(self, error: Exception) -> bool:
        """Notes a failure; true if another candidate is to be asked."""
        if len(self.failed) + 1 >= len(self.plan.names) or not self.is_worth_another(error):
            return False
        self.failed.append({"candidate": self.name, "error": type(error).__name__})
        return True


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans requests among chat models; the fields are those of `ChatLookaheadRouter`.

    Does no I/O before its first plan.
    """

    candidates: Mapping[str, BaseChatModel]
    router: Any = None
    revision: str | None = None
    aliases: "Mapping[str, str | Candidate] | None" = None
    policy: Any = None
    default: str | None = None
    fallbacks: Fallbacks = None
    fallback_on: Callable[[Exception], bool] = is_transient
    sticky: Sticky = None
    threads: MutableMapping[str, str] = field(default_factory=RecentThreads)
    context_chars: int = CONTEXT_CHARS

    @cached_property
    def fitted(self) -> "Router":
        """The router over the candidates, loaded when first asked for.

        Raises:
            UnknownCandidateError: a candidate that the router's pool does not hold.
            CheckpointError: nothing to load at the location.
        """
        return resolve_router(
            self.router, revision=self.revision, aliases=self.aliases, names=self.candidates, policy=self.policy
        )

    def attempts(self, messages: Sequence[BaseMessage], **wishes: Any) -> Attempts:
        """A way through the plan for the messages, nobody asked yet; takes what `plan` takes."""
        return Attempts(self.plan(messages, **wishes), self.fallback_on)

    def plan(
        self,
        messages: Sequence[BaseMessage],
        *,
        need: str | None = None,
        forced: str | None = None,
        keep: str | None = None,
        thread: str | None = None,
        policy: Any = None,
    ) -> Plan:
        """The candidates for the messages. Computes: in async code, call it off the event loop.

        Args:
            messages: the conversation, oldest first.
            need: what is bound to the call: `tools` or `structured output`.
            forced: the candidate that the caller wants.
            keep: the candidate to stay with, if it can take the request.
            thread: id of the conversation, for `sticky="thread"`.
            policy: scores to utilities, for this call.

        Raises:
            UnknownCandidateError: the forced name is no candidate.
            ConfigurationError: no candidate can take the request.
            PromptError: nothing to route on, and no `default`.
        """
        if forced is not None:
            return Plan((self.check_name(forced),), {"candidate": forced, "reason": "forced"})
        router, failure = self._try_router(policy)
        pool = {} if router is None else {candidate.name: candidate for candidate in router.pool}
        ruled_out = {} if router is None else router.excluded
        admitted = {name: model for name, model in self.candidates.items() if name not in ruled_out}
        unable = unable_to(admitted, pool, messages, need=need)
        excluded = {**ruled_out, **unable}
        able = [name for name in admitted if name not in unable]
        if not able:
            reasons = "; ".join(f"{name} {reason}" for name, reason in excluded.items())
            raise ConfigurationError(f"no candidate can take this request: {reasons}")
        why = {"excluded": excluded} if excluded else {}
        kept = keep or self._kept(messages, thread)
        if kept in able:
            return Plan(self._order(kept, able), {"candidate": kept, "reason": "sticky", **why})
        if failure is None:
            try:
                decision = self._decide(router, messages, unable)
            except ConfigurationError:
                raise  # a wrong option is not a failure of the moment, and no default may hide it
            except Exception as error:
                failure = error
            else:
                record = {**decision_record(decision), "reason": "routed", **why}
                return Plan(self._order(decision.name, decision.ranking), record)
        if self.default is None:
            raise failure
        name = self.default if self.default in able else able[0]
        if router is None and (self.policy if policy is None else policy) is not None:
            able = [name]  # whom else the policy admits, a router would have to tell
        error = type(failure).__name__  # not its message, which may quote the prompt
        logger.warning("the predictor failed with %s; %s answers instead", error, name)
        return Plan(self._order(name, able), {"candidate": name, "reason": "default", "error": error, **why})

    def remember(self, thread: str | None, name: str) -> None:
        """Keeps the candidate that answered a thread, if threads are to stay with theirs."""
        if self.sticky == "thread" and thread is not None:
            self.threads[thread] = name

    def check_name(self, name: str) -> str:
        """The name, if it is a candidate's.

        Raises:
            UnknownCandidateError: it is not.
        """
        if name not in self.candidates:
            raise UnknownCandidateError(name, self.candidates)
        return name

    def portable(self, messages: Sequence[BaseMessage], name: str) -> Sequence[BaseMessage]:
        """The history as a candidate can take it; see `_messages.portable`."""
        return portable(messages, name, self.candidates)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "fitted"}  # it loads again

    def _try_router(self, policy: Any) -> "tuple[Router | None, Exception | None]":
        try:
            return self.fitted if policy is None else self.fitted.with_policy(policy), None
        except ConfigurationError:
            raise
        except Exception as error:
            return None, error

    def _decide(self, router: "Router", messages: Sequence[BaseMessage], unable: Iterable[str]) -> "Decision":
        if unable:
            router = router.restrict_to(name for name in self.candidates if name not in unable)
        return router.route(routing_text(messages, self.context_chars))

    def _order(self, first: str, others: Sequence[str]) -> tuple[str, ...]:
        if self.fallbacks is None:
            return (first,)
        return (first, *(name for name in others if name != first))

    def _kept(self, messages: Sequence[BaseMessage], thread: str | None) -> str | None:
        if self.sticky is None:
            return None
        start = (last_human(messages) or 0) if self.sticky == "turn" else 0
        written = (recorded_candidate(m) for m in reversed(messages[start:]) if isinstance(m, AIMessage))
        name = next((name for name in written if name is not None), None)
        if name is None and self.sticky == "thread" and thread is not None:
            name = self.threads.get(thread)
        return name


def stamp(output: Any, record: dict[str, Any]) -> Any:
    """The output with the routing record in its message's `response_metadata`.

    Copies: the candidate's cache may hold the same message.

    Outputs without a message, such as parsed objects, come back as they are.
    """
    if isinstance(output, AIMessage):
        metadata = {**output.response_metadata, RECORD_KEY: record}
        return output.model_copy(update={"response_metadata": metadata})
    if isinstance(output, LLMResult):
        generations = [
            [generation.model_copy(update={"message": stamp(generation.message, record)}) for generation in row]
            for row in output.generations
        ]
        return output.model_copy(update={"generations": generations})
    if isinstance(output, dict) and isinstance(output.get("raw"), AIMessage):
        return {**output, "raw": stamp(output["raw"], record)}
    return output
