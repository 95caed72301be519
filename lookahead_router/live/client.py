"""Asking one candidate once: OpenAI's protocol, a LangChain or LlamaIndex chat model, or any function."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.live.completion import Completion, first, member, part_texts, text_of
from lookahead_router.live.endpoint import EndpointClient
from lookahead_router.live.pool import CandidateConfig
from lookahead_router.prompts import clean_text, estimate_tokens, read_request

ChatMessage = Mapping[str, Any]
"""A message in OpenAI's form: `{"role": ..., "content": ...}`."""

_TEMPLATE_TOKENS = 128
"""Allowance for what an endpoint's chat template adds by itself, such as a system prompt of its own."""


class Client(Protocol):
    """Who asks one candidate."""

    async def complete(self, messages: Sequence[ChatMessage], *, key: str) -> Completion:
        """The answer to a conversation.

        Args:
            messages: in OpenAI's form; the last is the user's.
            key: the same for every time that the same call is made, such as after a crash.
        """
        ...

    async def close(self) -> None:
        """Lets connections go."""
        ...


class FunctionClient:
    """A function, plain or async, or a chat model of LangChain or LlamaIndex; plain ones run in threads."""

    def __init__(self, model: Any, config: CandidateConfig) -> None:
        """Finds out how the model is called.

        Raises:
            ConfigurationError: it is neither a function nor a chat model.
        """
        self._model, self._timeout = model, config.timeout
        self._threads = ThreadPoolExecutor(config.max_concurrency, thread_name_prefix="lookahead-router-live")
        self._ask: Callable[[Sequence[ChatMessage]], Any]
        if hasattr(model, "ainvoke") or hasattr(model, "invoke"):
            self._ask = self._langchain
        elif hasattr(model, "achat") or hasattr(model, "chat"):
            self._ask = self._llama_index
        elif callable(model):
            self._ask = self._function
        else:
            raise ConfigurationError(
                f"{config.name}: expected a function, a chat model of LangChain or LlamaIndex, or settings of an "
                f"endpoint, got {type(model).__name__}"
            )

    async def complete(self, messages: Sequence[ChatMessage], *, key: str) -> Completion:
        start = time.perf_counter()
        async with asyncio.timeout(self._timeout):
            completion = await self._ask(messages)
        seconds = completion.latency_seconds or time.perf_counter() - start
        return replace(completion, text=clean_text(completion.text), latency_seconds=seconds)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable, *arguments: Any) -> Any:
        is_async = any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))
        if is_async or getattr(function, "__name__", "") in ("ainvoke", "achat"):
            return await function(*arguments)
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def _function(self, messages: Sequence[ChatMessage]) -> Completion:
        is_plain = len(messages) == 1 and isinstance(messages[0]["content"], str)
        answer = await self._call(self._model, messages[0]["content"] if is_plain else list(messages))
        if isinstance(answer, str):
            return Completion(answer)
        if not isinstance(answer, Completion):
            raise ConfigurationError(f"a candidate's function gives text or a Completion, not {type(answer).__name__}")
        return answer

    async def _langchain(self, messages: Sequence[ChatMessage]) -> Completion:
        method = getattr(self._model, "ainvoke", None) or self._model.invoke
        answer = await self._call(method, [dict(message) for message in messages])
        usage = getattr(answer, "usage_metadata", None) or {}
        about = getattr(answer, "response_metadata", None) or {}
        return Completion(
            answer if isinstance(answer, str) else text_of(getattr(answer, "content", None)),
            usage.get("input_tokens"),
            usage.get("output_tokens"),
            str(about.get("finish_reason") or about.get("stop_reason") or "stop"),
        )

    async def _llama_index(self, messages: Sequence[ChatMessage]) -> Completion:
        chat_message = require("llama_index.core.llms", "live").ChatMessage
        method = getattr(self._model, "achat", None) or self._model.chat
        answer = await self._call(method, [chat_message(role=m["role"], content=m["content"]) for m in messages])
        raw = getattr(answer, "raw", None)
        usage = member(raw, "usage")
        reason = member(first(member(raw, "choices")), "finish_reason")
        return Completion(
            answer.message.content or "",
            member(usage, "prompt_tokens"),
            member(usage, "completion_tokens"),
            reason or "stop",
        )


def client_of(config: CandidateConfig, model: Any = None) -> Client:
    """Who asks a candidate: its endpoint, or a model that lives in this process."""
    return EndpointClient(config) if model is None else FunctionClient(model, config)


def most_input_tokens(messages: Sequence[ChatMessage]) -> int:
    """A number of input tokens that no call of these messages exceeds: a token has at least a byte."""
    n_tokens = sum(len(text.encode("utf-8", "surrogatepass")) for message in messages for text in _texts(message))
    if not all(isinstance(message.get("content"), str) for message in messages):  # there may be attachments
        n_tokens = max(n_tokens, read_request(list(messages), allow_empty=True).n_tokens)
    return n_tokens + _TEMPLATE_TOKENS + 8 * len(messages)


def counted(completion: Completion, messages: Sequence[ChatMessage]) -> tuple[int, int, bool]:
    """Input and output tokens of an answer, and whether they had to be estimated, on the high side."""
    given = (completion.input_tokens, completion.output_tokens)
    if None not in given:
        return *given, False
    estimated = (read_request(list(messages), allow_empty=True).n_tokens, estimate_tokens(completion.text))
    return *(own if value is None else value for value, own in zip(given, estimated, strict=True)), True


def _texts(message: ChatMessage) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, Sequence):
        yield from part_texts(content)
