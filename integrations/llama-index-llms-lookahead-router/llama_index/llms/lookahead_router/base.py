"""`LookaheadRouterLLM`: an LLM that hands each call to the candidate that will answer it best."""

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Literal

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools.types import BaseTool
from pydantic import computed_field
from pydantic.json_schema import SkipJsonSchema

from llama_index.llms.lookahead_router.calls import Ask, Call, aanswer, answer, astream, stream
from llama_index.llms.lookahead_router.candidates import (
    abilities_of,
    check_pickles,
    function_id,
    intersect,
    llms,
    settings_of,
)
from llama_index.llms.lookahead_router.events import LookaheadRoutingEvent
from llama_index.llms.lookahead_router.history import portable
from llama_index.llms.lookahead_router.requests import Prompt, Wishes, read, turns_of
from llama_index.llms.lookahead_router.scope import RECORD_KEY, ScopeSpans
from llama_index.llms.lookahead_router.templates import AsksByTemplate, RoutedStructuredLLM
from lookahead_router import Candidate, Cascade, Cooldowns, Dispatcher, Privacy, Router, read_request
from lookahead_router.errors import ConfigurationError, describing
from lookahead_router.threads import off_loop

instrumentation = get_dispatcher(__name__)

_DISPATCHED = (
    *("router", "candidates", "default", "fallbacks", "fallback_on"),
    *("sticky", "switch_gain", "threads", "cooldowns", "cascade"),
)


class LookaheadRouterLLM(AsksByTemplate, FunctionCallingLLM):
    """Routes each call on the user's question and delegates it, whole, to the chosen candidate.

    The question is what `route_on` says; else what the template of the call or the engine around it has as the
    query; else the last user message. Retrieved text is not routed on.

    Candidates are called by their public methods and nothing is wrapped around them, so events, callbacks
    and token counts are those of a direct call, with one `LookaheadRoutingEvent` more. The response's
    `additional_kwargs["lookahead_router"]` says who answered and why, and so does the `metadata` of what
    engines respond. What is set on the router, such as `system_prompt`, applies to its own `predict` and
    `structured_predict`; what is set on a candidate applies to its calls.

    A call goes, in this order, to the candidate that it names (`candidate=` or `model=` in the call, the tag
    `lookahead_candidate`, the field `candidate`); to the one that `sticky` keeps; and to the one that the router
    decides for, among those that can take the request (tools, media, length).

    Example:
        ```python
        llm = LookaheadRouterLLM(
            {"coder-7b": OpenAILike(model="coder-7b", ...), "chat-8b": OpenAILike(model="chat-8b", ...)},
            router="runs/mine/predictor",
        )
        Settings.llm = llm
        ```
    """

    router: SkipJsonSchema[Router] = Field(exclude=True, repr=False)
    """Decides among the candidates."""
    candidates: dict[str, LLM] = Field(exclude=True, repr=False)
    """The LLMs by name. Excluded from serialisation: LLMs hold keys."""
    default: str | None = None
    """The candidate that answers when routing fails; without one, the error is raised."""
    fallbacks: Literal["next-best"] | None = None
    """Whether a candidate that fails is followed by the next best one."""
    fallback_on: SkipJsonSchema[Callable[[Exception], bool] | None] = Field(default=None, exclude=True, repr=False)
    """Which errors are worth asking the next best one; the dispatch's own rules when absent."""
    sticky: Literal["turn", "thread", "adaptive"] | None = None
    """`"turn"` stays with the candidate that has answered since the last question, as in an agent's tool loop;
    `"thread"` with the one that answered the conversation last; `"adaptive"` with a turn's, and with the
    conversation's unless another one's predicted score is higher by more than `switch_gain`."""
    switch_gain: float | None = None
    """Predicted score in [0, 1] that another candidate must add, for `sticky="adaptive"`; 0.02 when absent, and more,
    up to all of it, the likelier the question goes on with its topic."""
    candidate: str | None = None
    """Answers every call, without a prediction."""
    route_on: SkipJsonSchema[Callable[[Any], str | None] | None] = Field(default=None, exclude=True, repr=False)
    """A function from the prompt or messages to the text to route on; `None` from it means the question."""
    context_chars: int | None = Field(default=None, ge=0, strict=True)
    """Characters of earlier turns that go along with a question which cannot stand alone; 0 for none, and the core's
    own budget when absent."""
    threads: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """Candidate by thread, a mutable mapping; by default in memory, the 10,000 threads used last."""
    cooldowns: SkipJsonSchema[Any] = Field(default_factory=Cooldowns, exclude=True, repr=False)
    """Who is asked last for a while, because they failed."""
    cascade: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """A `Cascade`: looks at answers and asks again where that is worth it; a stream shows the accepted answer alone."""

    _dispatched_by: tuple[tuple[Any, ...], Dispatcher] | None = PrivateAttr(default=None)

    def __init__(
        self,
        candidates: Mapping[str, LLM],
        router: Router | str | Path | None = None,
        *,
        revision: str | None = None,
        aliases: Mapping[str, str | Candidate] | None = None,
        profiles: Mapping[str, str] | None = None,
        policy: Any = None,
        quality: float | None = None,
        prices: Mapping[str, float | tuple[float, float]] | None = None,
        default: str | None = None,
        fallbacks: Literal["next-best"] | None = None,
        fallback_on: Callable[[Exception], bool] | None = None,
        sticky: Literal["turn", "thread", "adaptive"] | None = None,
        switch_gain: float | None = None,
        candidate: str | None = None,
        route_on: Callable[[Any], str | None] | None = None,
        context_chars: int | None = None,
        threads: MutableMapping[str, str] | None = None,
        cooldowns: Cooldowns | None = None,
        routes: Any = None,
        cascade: Cascade | None = None,
        privacy: Privacy | None = None,
        **kwargs: Any,
    ) -> None:
        """Joins a router and the LLMs of its candidates.

        Args:
            candidates: `{name: LLM}`, in any order; the router decides among them. The embedded predictor, as any
                for open pools, takes whatever names you use; another one must know them. Those without callback
                handlers take over the router's callback manager.
            router: a `Router`, the folder of a saved predictor, or a Hub id; the embedded predictor when absent.
            revision: commit or tag of a Hub repository.
            aliases: `{name in the router's pool: the name in candidates, or a Candidate with prices}`.
            profiles: `{name in candidates: known name}`: whose profile a candidate starts from that nobody knows.
            policy: scores to utilities; the router's own when absent.
            quality: in place of a policy, the share of the best candidate's expected quality to keep, as cheaply as
                that allows.
            prices: `{name in candidates: dollars of a call}`, or `{name: (dollars per million prompt tokens, dollars
                per million response tokens)}`; what answers cost is told by the latter.
            default: name of the candidate that answers when routing fails, say for want of a user message.
                Wrong options are raised nevertheless.
            fallbacks: `"next-best"` asks the next best candidate when one fails, and raises the last one's
                error when all have. A stream that breaks after something was shown is not restarted.
            fallback_on: which errors are worth asking the next best one.
            sticky: whether a turn or a thread stays with its candidate, or a conversation does unless another one
                is better by more than `switch_gain`. The thread is `thread_id=` in the call,
                the tag `thread_id` of `instrument_tags`, or the session of the chat engine's or agent's memory.
            switch_gain: score in [0, 1] that a switch must add, for `sticky="adaptive"`.
            candidate: name of the one that answers every call.
            route_on: a function from the prompt or messages to the text to route on, or `None` for the question.
            context_chars: characters, at least 0, of earlier turns that go along with a question which cannot stand
                alone; 0 for none, and the core's own budget when absent.
            threads: candidate by thread; shared or kept elsewhere if given.
            cooldowns: shared with other routers if given.
            routes: kinds of requests in plain words with their candidates: `Routes`, fitted or not.
            cascade: looks at the answers of routed calls without tools, and asks again where that is worth it.
            privacy: which requests only local candidates may see: `Privacy(local=[names])`.
            **kwargs: fields of `LLM`: `callback_manager`, `system_prompt`, `output_parser`, ...

        Raises:
            ConfigurationError: an option outside its domain, or one that belongs to the candidates.
            UnknownCandidateError: a name that is not in the router's pool where that is fixed, or a profile of a
                name that is not known.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        if unknown := sorted(kwargs.keys() - type(self).model_fields.keys()):
            raise ConfigurationError(f"LookaheadRouterLLM has no {', '.join(unknown)}; set it on the candidates")
        if route_on is not None and not callable(route_on):
            raise ConfigurationError(f"route_on must be a function, got {type(route_on).__name__}")
        candidates = llms(candidates)
        shared = {"default": default, "fallbacks": fallbacks, "fallback_on": fallback_on}
        given = {"policy": policy, "quality": quality, "prices": prices, "routes": routes, "privacy": privacy}
        shared |= {"sticky": sticky, "switch_gain": switch_gain, "cascade": cascade}
        dispatcher = Dispatcher(
            router,
            candidates,
            revision=revision,
            aliases=aliases,
            profiles=profiles,
            **given,
            threads=threads,
            cooldowns=cooldowns,
            abilities=abilities_of(candidates),
            **shared,
        )
        with describing():
            super().__init__(
                router=dispatcher.router,
                candidates=candidates,
                candidate=None if candidate is None else dispatcher.check_name(candidate),
                route_on=route_on,
                context_chars=context_chars,
                threads=dispatcher.threads,
                cooldowns=dispatcher.cooldowns,
                **shared,
                **kwargs,
            )
        ScopeSpans.install()
        self._share_callback_manager()

    @property
    def dispatcher(self) -> Dispatcher:
        """Plans the calls; made again when one of its fields was set."""
        values = tuple(getattr(self, name) for name in _DISPATCHED)
        made = self._dispatched_by
        if made is None or any(old is not new for old, new in zip(made[0], values, strict=True)):
            options = dict(zip(_DISPATCHED, values, strict=True))
            made = self._dispatched_by = values, Dispatcher(**options, abilities=abilities_of(self.candidates))
        return made[1]

    def observe(self, prompt: Prompt, candidate: str, score: float) -> None:
        """Learns how good an answer was; calls from now on know it. Safe under threads.

        What was learnt stands in `router`, whose `save` keeps it. Computes: in async code, call it off the event loop.

        Args:
            prompt: what was asked: the question itself, or messages.
            candidate: who answered, as the routing record says.
            score: how good the answer was, in [0, 1].

        Raises:
            ConfigurationError: the predictor's pool is fixed.
            UnknownCandidateError: the name is no candidate.
            PromptError: the prompt cannot be routed.
            DataError: the score is no number in [0, 1].
        """
        text = read_request(prompt, route_on=self.route_on, context_chars=self.context_chars).text
        with Dispatcher.learning():
            self.router = self.dispatcher.observe(text, candidate, score)

    @classmethod
    def class_name(cls) -> str:
        return "LookaheadRouterLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What can be relied on, whoever answers: the smallest window, and whether anyone calls functions."""
        barred = self.router.excluded
        return intersect([llm.metadata for name, llm in self.candidates.items() if name not in barred])

    @computed_field(repr=False)
    @property
    def routing(self) -> dict[str, Any]:
        """What answers depend on besides the options, in plain JSON and without keys.

        It is part of `to_dict`, and so of what LlamaIndex's caches go by.
        """
        predictor, route_on = self.router.predictor, self.route_on
        return {
            "predictor": predictor.name,
            "revision": predictor.revision,
            "policy": repr(self.router.policy),
            "candidates": {name: settings_of(llm, self.router.pool[name]) for name, llm in self.candidates.items()},
            "route_on": route_on and function_id(route_on),
            "cascade": self.cascade and repr(self.cascade),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> "LookaheadRouterLLM":
        """The object that `to_dict` was asked of, with candidates, router and functions given again."""
        return super().from_dict({name: value for name, value in data.items() if name != "routing"}, **kwargs)

    def as_structured_llm(self, output_cls: type[BaseModel], **kwargs: Any) -> RoutedStructuredLLM:
        """This router, with every answer an `output_cls`."""
        return RoutedStructuredLLM(llm=self, output_cls=output_cls, **kwargs)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._call(messages, kwargs, lambda llm: llm.chat(self._portable(messages, llm), **kwargs))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._acall(messages, kwargs, lambda llm: llm.achat(self._portable(messages, llm), **kwargs))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream(messages, kwargs, lambda llm: llm.stream_chat(self._portable(messages, llm), **kwargs))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return await self._astream(
            messages, kwargs, lambda llm: llm.astream_chat(self._portable(messages, llm), **kwargs)
        )

    # `formatted` goes by position, so that a candidate's events list the same keyword arguments as in a direct call.

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._call(prompt, kwargs, lambda llm: llm.complete(prompt, formatted, **kwargs))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return await self._acall(prompt, kwargs, lambda llm: llm.acomplete(prompt, formatted, **kwargs))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return self._stream(prompt, kwargs, lambda llm: llm.stream_complete(prompt, formatted, **kwargs))

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        return await self._astream(prompt, kwargs, lambda llm: llm.astream_complete(prompt, formatted, **kwargs))

    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        return self._call(
            _conversation(user_msg, chat_history),
            kwargs,
            lambda llm: llm.chat_with_tools(tools, user_msg, self._portable(chat_history, llm), **kwargs),
            tools=tools,
        )

    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        return await self._acall(
            _conversation(user_msg, chat_history),
            kwargs,
            lambda llm: llm.achat_with_tools(tools, user_msg, self._portable(chat_history, llm), **kwargs),
            tools=tools,
        )

    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponseGen:
        return self._stream(
            _conversation(user_msg, chat_history),
            kwargs,
            lambda llm: llm.stream_chat_with_tools(tools, user_msg, self._portable(chat_history, llm), **kwargs),
            tools=tools,
        )

    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        return await self._astream(
            _conversation(user_msg, chat_history),
            kwargs,
            lambda llm: llm.astream_chat_with_tools(tools, user_msg, self._portable(chat_history, llm), **kwargs),
            tools=tools,
        )

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The tool calls in a response of this router, read by the LLM that answered.

        Raises:
            ConfigurationError: the response does not say which of the candidates answered.
        """
        name = response.additional_kwargs.get(RECORD_KEY, {}).get("candidate")
        if name not in self.candidates:
            raise ConfigurationError(
                f"the response names {name!r}, which is none of the candidates {', '.join(self.candidates)}, as its "
                "author; pass a response of this router, with its additional_kwargs"
            )
        return self.candidates[name].get_tool_calls_from_response(
            response, error_on_no_tool_call=error_on_no_tool_call, **kwargs
        )

    def _prepare_chat_with_tools(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError("each candidate prepares its own calls; use chat_with_tools or its twins")

    def _portable(self, messages: Sequence[ChatMessage] | None, llm: LLM) -> list[ChatMessage] | None:
        """A copy of the history as the candidate can take it; some append to it, and the next must not find that."""
        return None if messages is None else portable(messages, llm, self.candidates, self.dispatcher.threads)

    # Planning takes the router's own options out of `kwargs`, and only then does `ask` read them.

    def _call(self, prompt: Prompt, kwargs: dict[str, Any], ask: Ask, tools: Sequence[BaseTool] = ()) -> Any:
        return answer(self._plan(prompt, self._wishes(kwargs, tools)), ask)

    async def _acall(self, prompt: Prompt, kwargs: dict[str, Any], ask: Ask, tools: Sequence[BaseTool] = ()) -> Any:
        return await aanswer(await off_loop(self._plan, prompt, self._wishes(kwargs, tools)), ask)

    def _stream(self, prompt: Prompt, kwargs: dict[str, Any], ask: Ask, tools: Sequence[BaseTool] = ()) -> Any:
        return stream(self._plan(prompt, self._wishes(kwargs, tools)), ask)

    async def _astream(self, prompt: Prompt, kwargs: dict[str, Any], ask: Ask, tools: Sequence[BaseTool] = ()) -> Any:
        return await astream(await off_loop(self._plan, prompt, self._wishes(kwargs, tools)), ask)

    def _wishes(self, kwargs: dict[str, Any], tools: Sequence[BaseTool]) -> Wishes:
        return Wishes.taken_from(kwargs, self.candidate, tools)

    def _plan(self, prompt: Prompt, wishes: Wishes) -> Call:
        """The candidates for a call. Computes: in async code, it is called off the event loop."""
        dispatcher = self.dispatcher
        request = read(
            prompt,
            wishes,
            route_on=self.route_on,
            context_chars=self.context_chars,
            may_be_empty=self.default is not None or wishes.forced is not None,
        )
        turns = turns_of(prompt, request) if self.sticky in ("turn", "adaptive") else []
        turn = turns[-1] if turns else None
        before = (dispatcher.threads.get(each) for each in reversed(turns[:-1]))
        attempts = dispatcher.plan(
            request,
            forced=wishes.forced,
            keep=None if turn is None else dispatcher.threads.get(turn),
            held=next(filter(None, before), None),
            thread=wishes.thread,
        )
        instrumentation.event(LookaheadRoutingEvent.of(attempts.record, request.text))
        return Call(self.candidates, dispatcher, attempts, wishes.scope, turn)

    def __setattr__(self, name: str, value: Any) -> None:
        previous = self.callback_manager if name == "callback_manager" else None
        super().__setattr__(name, value)
        if name == "callback_manager":
            self._share_callback_manager(previous)

    def _share_callback_manager(self, previous: CallbackManager | None = None) -> None:
        """Candidates emit the callbacks, so they need the manager; one with handlers of its own keeps it."""
        for llm in self.candidates.values():
            if not llm.callback_manager.handlers or llm.callback_manager is previous:
                llm.callback_manager = self.callback_manager

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles router and candidates, keys and all; the callback manager belongs to this process.

        LlamaIndex would leave out what does not pickle, and delete it here too.

        Raises:
            ConfigurationError: a part cannot be pickled; says which.
        """
        # A candidate drops its unpicklable clients from the object that is pickled: let that be a copy.
        candidates = {name: copy.copy(llm) for name, llm in self.candidates.items()}
        fields = {
            name: value for name, value in self.__dict__.items() if name not in ("callback_manager", "candidates")
        }
        for name, llm in candidates.items():
            check_pickles(f"candidate {name!r}", llm)
        for name, value in fields.items():
            check_pickles(name, value)
        return _rebuild, (type(self), {**fields, "candidates": candidates})


def _rebuild(cls: type[LookaheadRouterLLM], fields: dict[str, Any]) -> LookaheadRouterLLM:
    return cls(**fields)


def _conversation(user_msg: str | ChatMessage | None, chat_history: list[ChatMessage] | None) -> list[ChatMessage]:
    if isinstance(user_msg, str):
        user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
    return [*(chat_history or []), *([user_msg] if user_msg else [])]
