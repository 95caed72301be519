"""`LookaheadRouterLLM`: an LLM that hands each call to the candidate that will answer it best."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, closing
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
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools.types import BaseTool
from llama_index.selectors.lookahead_router.routing import LookaheadRoutingEvent, RouterLike, load_router
from pydantic.json_schema import SkipJsonSchema

from llama_index.llms.lookahead_router.calls import RECORD_KEY, Response, RoutedCall
from llama_index.llms.lookahead_router.checks import check_candidates, check_pickles
from llama_index.llms.lookahead_router.metadata import intersect
from lookahead_router import Decision, Router
from lookahead_router.errors import ConfigurationError, is_transient

dispatcher = get_dispatcher(__name__)

Prompt = str | Sequence[ChatMessage]


class LookaheadRouterLLM(FunctionCallingLLM):
    """Routes each call on its last user message and delegates it, whole, to the chosen candidate.

    Candidates are called by their public methods and nothing is wrapped around them, so events, callbacks
    and token counts are those of a direct call, with one `LookaheadRoutingEvent` more. The response's
    `additional_kwargs["lookahead_router"]` says who answered and why. What is set on the router, such as
    `system_prompt`, applies to its own `predict` and `structured_predict`; what is set on a candidate
    applies to its calls.

    Example:
        llm = LookaheadRouterLLM(
            {"coder-7b": OpenAILike(model="coder-7b", ...), "chat-8b": OpenAILike(model="chat-8b", ...)},
            router="runs/mine/predictor",
        )
        Settings.llm = llm
    """

    router: SkipJsonSchema[Router] = Field(exclude=True, repr=False)
    """Decides among the candidates."""
    candidates: dict[str, LLM] = Field(exclude=True, repr=False)
    """The LLM of every candidate in the router's pool. Excluded from serialisation: LLMs hold keys."""
    default: str | None = None
    """The candidate that answers when routing fails; without one, the error is raised."""
    fallbacks: Literal["next-best"] | None = None
    """Whether a candidate that fails is followed by the next best one."""
    fallback_on: SkipJsonSchema[Callable[[Exception], bool]] = Field(default=is_transient, exclude=True, repr=False)
    """Which errors are worth asking the next best one. Excluded from serialisation: a function has no JSON."""

    def __init__(
        self,
        candidates: Mapping[str, LLM],
        router: RouterLike = None,
        *,
        default: str | None = None,
        fallbacks: Literal["next-best"] | None = None,
        fallback_on: Callable[[Exception], bool] = is_transient,
        **kwargs: Any,
    ) -> None:
        """Joins a router and the LLMs of its candidates.

        Args:
            candidates: `{candidate name: LLM}`, one for every candidate in the router's pool. Those without
                callback handlers take over the router's callback manager.
            router: a `Router`, the folder of a saved predictor, or a Hub id; the embedded predictor when absent.
            default: name of the candidate that answers when routing fails, say for want of a user message.
                Wrong options are raised nevertheless.
            fallbacks: `"next-best"` asks the next best candidate when one fails, and raises the last one's
                error when all have. A stream that breaks after its first chunk is not restarted.
            fallback_on: which errors are worth asking the next best one; all others are raised at once.
            **kwargs: fields of `LLM`: `callback_manager`, `system_prompt`, `output_parser`, ...

        Raises:
            ConfigurationError: a candidate without an LLM, or an option that belongs to the candidates.
            UnknownCandidateError: an LLM or a default for a name that is not in the router's pool.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        unknown = sorted(kwargs.keys() - type(self).model_fields.keys())
        if unknown:
            raise ConfigurationError(f"LookaheadRouterLLM has no {', '.join(unknown)}; set it on the candidates")
        router = load_router(router)
        check_candidates(candidates, router, default)
        super().__init__(
            router=router,
            candidates=dict(candidates),
            default=default,
            fallbacks=fallbacks,
            fallback_on=fallback_on,
            **kwargs,
        )
        self._share_callback_manager()

    @classmethod
    def class_name(cls) -> str:
        return "LookaheadRouterLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What can be relied on, whoever answers: the smallest window, and abilities that all have."""
        return intersect([llm.metadata for llm in self.candidates.values()])

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._call(messages, lambda llm: llm.chat(messages, **kwargs))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._acall(messages, lambda llm: llm.achat(messages, **kwargs))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream(messages, lambda llm: llm.stream_chat(messages, **kwargs))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return await self._astream(messages, lambda llm: llm.astream_chat(messages, **kwargs))

    # `formatted` goes by position, so that a candidate's events list the same keyword arguments as in a direct call.

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._call(prompt, lambda llm: llm.complete(prompt, formatted, **kwargs))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return await self._acall(prompt, lambda llm: llm.acomplete(prompt, formatted, **kwargs))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return self._stream(prompt, lambda llm: llm.stream_complete(prompt, formatted, **kwargs))

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        return await self._astream(prompt, lambda llm: llm.astream_complete(prompt, formatted, **kwargs))

    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        messages = self._tool_messages(user_msg, chat_history)
        return self._call(messages, lambda llm: llm.chat_with_tools(tools, user_msg, _copy(chat_history), **kwargs))

    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponse:
        messages = self._tool_messages(user_msg, chat_history)
        return await self._acall(
            messages, lambda llm: llm.achat_with_tools(tools, user_msg, _copy(chat_history), **kwargs)
        )

    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponseGen:
        messages = self._tool_messages(user_msg, chat_history)
        return self._stream(
            messages, lambda llm: llm.stream_chat_with_tools(tools, user_msg, _copy(chat_history), **kwargs)
        )

    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        messages = self._tool_messages(user_msg, chat_history)
        return await self._astream(
            messages, lambda llm: llm.astream_chat_with_tools(tools, user_msg, _copy(chat_history), **kwargs)
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

    def _tool_messages(
        self, user_msg: str | ChatMessage | None, chat_history: list[ChatMessage] | None
    ) -> list[ChatMessage]:
        unable = [name for name, llm in self.candidates.items() if not llm.metadata.is_function_calling_model]
        if unable:
            raise ConfigurationError(
                f"tools need candidates that call functions, which {', '.join(unable)} cannot; "
                "restrict the router to the others with router.restrict_to([...])"
            )
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        return [*(chat_history or []), *([user_msg] if user_msg else [])]

    # Four shapes of a call: one response or a stream of them, each with its async twin.

    def _call(self, prompt: Prompt, ask: Callable[[LLM], Any]) -> Any:
        call = self._route(prompt)
        return call.stamp(self._ask(call, ask))

    async def _acall(self, prompt: Prompt, ask: Callable[[LLM], Awaitable[Any]]) -> Any:
        call = await self._aroute(prompt)
        return call.stamp(await self._aask(call, ask))

    def _stream(self, prompt: Prompt, ask: Callable[[LLM], Generator[Response, None, None]]) -> Any:
        call = self._route(prompt)
        stream = self._ask(call, ask)  # now and not on first use, as in a direct call

        def responses() -> Generator[Response, None, None]:
            is_started, opened = False, stream
            while True:
                try:
                    with closing(opened):
                        for response in opened:
                            is_started = True
                            yield call.stamp(response)
                    return
                except Exception as error:
                    if is_started:
                        raise
                    call.fall_back(error)
                opened = self._ask(call, ask)

        return responses()

    async def _astream(self, prompt: Prompt, ask: Callable[[LLM], Awaitable[AsyncGenerator[Response, None]]]) -> Any:
        call = await self._aroute(prompt)
        stream = await self._aask(call, ask)

        async def responses() -> AsyncGenerator[Response, None]:
            is_started, opened = False, stream
            while True:
                try:
                    async with aclosing(opened):
                        async for response in opened:
                            is_started = True
                            yield call.stamp(response)
                    return
                except Exception as error:
                    if is_started:
                        raise
                    call.fall_back(error)
                opened = await self._aask(call, ask)

        return responses()

    def _ask(self, call: RoutedCall, ask: Callable[[LLM], Any]) -> Any:
        while True:
            try:
                return ask(self.candidates[call.name])
            except Exception as error:
                call.fall_back(error)

    async def _aask(self, call: RoutedCall, ask: Callable[[LLM], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await ask(self.candidates[call.name])
            except Exception as error:
                call.fall_back(error)

    def _route(self, prompt: Prompt) -> RoutedCall:
        try:
            decision = self.router.route(prompt)
        except Exception as error:
            return self._unrouted(error)
        return self._routed(prompt, decision)

    async def _aroute(self, prompt: Prompt) -> RoutedCall:
        try:
            decision = await asyncio.to_thread(self.router.route, prompt)
        except Exception as error:
            return self._unrouted(error)
        return self._routed(prompt, decision)

    def _routed(self, prompt: Prompt, decision: Decision) -> RoutedCall:
        dispatcher.event(LookaheadRoutingEvent.of(decision, prompt if isinstance(prompt, str) else _user_text(prompt)))
        order = decision.ranking if self.fallbacks else decision.ranking[:1]
        return RoutedCall(order, decision, fallback_on=self.fallback_on)

    def _unrouted(self, error: Exception) -> RoutedCall:
        if self.default is None or isinstance(error, ConfigurationError):
            raise error  # a wrong option is no failure of the moment, which a default might hide for good
        barred = {self.default, *self.router.excluded}
        others = [name for name in self.candidates if name not in barred] if self.fallbacks else []
        return RoutedCall([self.default, *others], None, fallback_on=self.fallback_on, routing_error=error)

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


def _copy(chat_history: list[ChatMessage] | None) -> list[ChatMessage] | None:
    """Some LLMs append the user's message to the history; the next candidate must not find it there."""
    return None if chat_history is None else list(chat_history)


def _user_text(messages: Sequence[ChatMessage]) -> str:
    return next((message.content or "" for message in reversed(messages) if message.role == MessageRole.USER), "")
