"""Where a request goes: the core's dispatcher, fed with what LangChain knows of models and messages."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from lookahead_router import Attempts, Cascade, Cooldowns, Dispatcher, RecentThreads, read_request

from langchain_lookahead_router._candidates import Definitions
from langchain_lookahead_router._capabilities import abilities_of
from langchain_lookahead_router._messages import RouteOn, portable, recorded_candidate, to_messages

if TYPE_CHECKING:
    from lookahead_router import Candidate

Fallbacks = Literal["next-best"] | None
Sticky = Literal["thread", "turn", "adaptive"] | None


@dataclass(kw_only=True)
class Planner:
    """Plans requests among chat models; the fields are those of `ChatLookaheadRouter`.

    Raises:
        ConfigurationError, UnknownCandidateError, CheckpointError, HubError: as `Dispatcher`.
    """

    candidates: Mapping[str, BaseChatModel]
    router: Any = None
    revision: str | None = None
    aliases: "Mapping[str, str | Candidate] | None" = None
    profiles: Mapping[str, str] | None = None
    policy: Any = None
    quality: float | None = None
    prices: Mapping[str, Any] | None = None
    default: str | None = None
    fallbacks: Fallbacks = None
    fallback_on: Callable[[Exception], bool] | None = None
    sticky: Sticky = None
    switch_gain: float | None = None
    threads: MutableMapping[str, str] = field(default_factory=RecentThreads)
    cooldowns: Cooldowns = field(default_factory=Cooldowns)
    route_on: RouteOn = None
    context_chars: int | None = None
    routes: Any = None
    cascade: Cascade | None = None
    privacy: Any = None

    def __post_init__(self) -> None:
        self._definitions = Definitions()
        self.dispatcher = Dispatcher(
            self.router,
            self.candidates,
            revision=self.revision,
            aliases=self.aliases,
            profiles=self.profiles,
            policy=self.policy,
            quality=self.quality,
            prices=self.prices,
            default=self.default,
            fallbacks=self.fallbacks,
            fallback_on=self.fallback_on,
            sticky=self.sticky,
            switch_gain=self.switch_gain,
            threads=self.threads,
            cooldowns=self.cooldowns,
            abilities={name: abilities_of(model) for name, model in self.candidates.items()},
            routes=self.routes,
            cascade=self.cascade,
            privacy=self.privacy,
        )

    def plan(
        self,
        messages: Sequence[BaseMessage],
        *,
        query: str | None = None,
        context: Sequence[Any] = (),
        needs: Sequence[str] = (),
        tools: Any = (),
        keep: str | None = None,
        **wishes: Any,
    ) -> Attempts:
        """The candidates for the messages, nobody asked yet. Computes: in async code, call it off the event loop.

        Args:
            messages: the conversation, oldest first.
            query: what to route on, where the caller knows it; goes before `route_on`.
            context: documents that were retrieved for it.
            needs: what the call needs: `structured output`.
            tools: those that it hands over, as models' `bind_tools` take them.
            keep: the candidate to stay with, if it can take the request.
            wishes: `forced`, `thread` and `policy` of `Dispatcher.plan`.

        Raises:
            UnknownCandidateError, ConfigurationError, PromptError: as `Dispatcher.plan`.
        """
        request = read_request(
            messages,
            context=context,
            route_on=self.route_on if query is None else lambda _: query,
            needs=needs,
            tools=self._definitions.of(tools),
            context_chars=self.context_chars,
            allow_empty=True,  # the default may answer
        )
        if keep is None and self.sticky is not None:
            keep = self._recorded(messages[0 if self.sticky == "thread" else request.turn_start :])
        held = self._recorded(messages) if self.sticky == "adaptive" else None
        return self.dispatcher.plan(request, keep=keep, held=held, **wishes)

    def observe(self, prompt: Any, candidate: str, score: float) -> None:
        """Learns from one more scored answer. Computes, as `plan` does.

        Args:
            prompt: what was asked: text, messages, or what holds them.
            candidate: who answered.
            score: how good the answer was, in [0, 1].

        Raises:
            ConfigurationError, UnknownCandidateError, PromptError, DataError: as `Dispatcher.observe`.
        """
        request = read_request(to_messages(prompt), route_on=self.route_on, context_chars=self.context_chars)
        self.dispatcher.observe(request.text, candidate, score)

    def portable(self, messages: Sequence[BaseMessage], name: str) -> Sequence[BaseMessage]:
        """The history as a candidate can take it; see `_messages.portable`."""
        return portable(messages, name, self.candidates)

    def _recorded(self, messages: Sequence[BaseMessage]) -> str | None:
        """The candidate that answered last, by the records in the messages."""
        written = (recorded_candidate(m) for m in reversed(messages) if isinstance(m, AIMessage))
        return next((name for name in written if name is not None), None)
