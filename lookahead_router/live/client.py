"""Asking one candidate once: OpenAI's protocol, a LangChain or LlamaIndex chat model, or any function."""

import asyncio
import inspect
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.failures import Failure
from lookahead_router.live.pool import OPENAI_URL, CandidateConfig
from lookahead_router.prompts import clean_text, estimate_tokens, read_request

ChatMessage = Mapping[str, Any]
"""A message in OpenAI's form: `{"role": ..., "content": ...}`."""

_TO_ANY_ENDPOINT = {
    *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"),
    *("idempotency-key", "transfer-encoding", "user-agent"),
}
"""Headers that every endpoint gets; OpenAI's library adds what the environment says of an organisation to all."""
_NEVER_SENT = {
    *("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "InvalidURL"),  # httpx, requests
    *("ClientConnectorError", "ConnectionTimeoutError"),  # aiohttp
    *("NewConnectionError", "ConnectTimeoutError", "EndpointConnectionError"),  # urllib3, botocore
    *("ConnectionRefusedError", "gaierror"),
}
"""Errors of clients that had no connection yet, so that nothing was sent."""
_GATEWAY_TIMEOUTS = {499, 504, 524, 598, 599}
"""Statuses by which a gateway gives up; whoever answers behind it may go on, and be paid."""
_LONGEST_CONNECT_SECONDS = 15.0
_IDLE_SECONDS = 4.0
"""How long a connection is kept; servers let idle ones go after five, and a request that meets that is lost."""
_TEMPLATE_TOKENS = 128
"""Allowance for what an endpoint's chat template adds by itself, such as a system prompt of its own."""


@dataclass(frozen=True)
class Completion:
    """What a candidate answered; functions of one's own may give it in place of the text alone."""

    text: str
    input_tokens: int | None = None
    """As the endpoint counted them; `None` where it does not say."""
    output_tokens: int | None = None
    finish_reason: str = "stop"
    """`stop`, `length`, `content_filter`, `refusal`, or the endpoint's own word."""
    latency_seconds: float = 0.0
    """From the request to the whole answer."""


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


class _NotAnsweredError(Exception):
    """A 200 that holds no completion: a gateway's page, or an error in the place of the answer."""

    def __init__(self, body: Any) -> None:
        super().__init__("an answer of status 200 that holds no completion")
        self.body = body
        if body is None:
            self.failure = Failure.NO_ANSWER


class EndpointClient:
    """A model behind OpenAI's protocol, through the `openai` package."""

    def __init__(self, config: CandidateConfig) -> None:
        """Looks the key up; nothing is sent.

        Raises:
            ConfigurationError: the key's variable is not set.
            MissingDependencyError: the `openai` package is not installed.
        """
        openai, httpx = require("openai", "live"), require("httpx", "live")
        key = key_of(config)

        async def strip(request: Any) -> None:
            request.headers = httpx.Headers(
                [
                    (name, value)
                    for name, value in request.headers.items()
                    if (config.url == OPENAI_URL or name in _TO_ANY_ENDPOINT)
                    and not name.startswith("x-stainless")
                    and (key is not None or name != "authorization")
                ]
            )

        self.config = config
        # Connecting has to fail before all the call does: what was never sent is not paid.
        timeout = httpx.Timeout(config.timeout, connect=min(config.timeout / 2, _LONGEST_CONNECT_SECONDS))
        limits = httpx.Limits(max_connections=config.max_concurrency, keepalive_expiry=_IDLE_SECONDS)
        # OpenAI's library runs on aiohttp as well as on httpx alone, at half the processor time of a call.
        http_client = require("httpx_aiohttp", "live").HttpxAiohttpClient(
            event_hooks={"request": [strip]}, timeout=timeout, limits=limits, follow_redirects=True, verify=_trusted()
        )
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=config.url, timeout=timeout, max_retries=0, http_client=http_client
        )
        self._lost = openai.APIConnectionError
        parameters = config.call_parameters()
        beyond = parameters.pop("extra_body", None) or {}
        self._body = {"model": config.model_name, **parameters, **beyond}

    async def complete(self, messages: Sequence[ChatMessage], *, key: str) -> Completion:
        start = time.perf_counter()
        # The timeout of the client is one between two bytes. `chat.completions.create` would check what is sent and
        # received against types, which takes longer than all the rest.
        async with asyncio.timeout(self.config.timeout):
            try:
                answer = await self._client.post(
                    "/chat/completions",
                    body={**self._body, "messages": list(messages)},
                    options={"headers": {"Idempotency-Key": key}},
                    cast_to=object,
                )
            except self._lost as error:
                raise _as_it_was(error, self._lost) from error.__cause__
        return replace(_completion(answer), latency_seconds=time.perf_counter() - start)

    async def close(self) -> None:
        await self._client.close()


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
            answer if isinstance(answer, str) else _text(getattr(answer, "content", None)),
            usage.get("input_tokens"),
            usage.get("output_tokens"),
            str(about.get("finish_reason") or about.get("stop_reason") or "stop"),
        )

    async def _llama_index(self, messages: Sequence[ChatMessage]) -> Completion:
        chat_message = require("llama_index.core.llms", "live").ChatMessage
        method = getattr(self._model, "achat", None) or self._model.chat
        answer = await self._call(method, [chat_message(role=m["role"], content=m["content"]) for m in messages])
        raw = getattr(answer, "raw", None)
        usage = _member(raw, "usage")
        reason = _member(_first(_member(raw, "choices")), "finish_reason")
        return Completion(
            answer.message.content or "",
            _member(usage, "prompt_tokens"),
            _member(usage, "completion_tokens"),
            reason or "stop",
        )


def client_of(config: CandidateConfig, model: Any = None) -> Client:
    """Who asks a candidate: its endpoint, or a model that lives in this process."""
    return EndpointClient(config) if model is None else FunctionClient(model, config)


def key_of(config: CandidateConfig) -> str | None:
    """A candidate's key from the environment; `None` where its endpoint gets none.

    Raises:
        ConfigurationError: the variable is not set, or empty.
    """
    name = config.key_variable
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigurationError(
            f"{config.name}: the environment variable {name} is not set; set it to the key of {config.url}, or name "
            "another one in api_key_env"
        )
    return key


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


def was_free(error: BaseException) -> bool:
    """Whether a call that failed surely cost nothing: the endpoint refused it, or nothing was sent."""
    statuses = [status for each in _causes(error) if isinstance(status := getattr(each, "status_code", None), int)]
    if statuses:
        return statuses[0] >= 400 and statuses[0] not in _GATEWAY_TIMEOUTS
    return any(base.__name__ in _NEVER_SENT for base in type(_root(error)).__mro__)


def _root(error: BaseException) -> BaseException:
    """The innermost error that a client made; what others take it for says less."""
    for cause in reversed(list(_causes(error))):
        if any(base.__name__ in _NEVER_SENT or base.__name__ == "ClientError" for base in type(cause).__mro__):
            return cause
    return error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it comes from, down to the root; not what was handled when it came up."""
    seen: set[int] = set()
    cause: Any = error
    while isinstance(cause, BaseException) and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = getattr(cause, "reason", None) or next(iter(cause.args), None)  # where urllib3 and requests keep it
        cause = cause.__cause__ or inner


def _as_it_was(error: Exception, lost: type[Exception]) -> Exception:
    """The error of a lost connection, which the library in between takes for a timeout."""
    return error if isinstance(_root(error), TimeoutError) or type(error) is lost else lost(request=error.request)


@cache
def _trusted() -> ssl.SSLContext:
    """Whom TLS trusts; reading it takes a while."""
    return require("httpx", "live").create_ssl_context()


def _completion(answer: Any) -> Completion:
    """What the body of an answer says."""
    choice = _first(_member(answer, "choices"))
    message = _member(choice, "message")
    if not isinstance(message, Mapping):
        raise _NotAnsweredError(_member(answer, "error"))
    usage, refusal = _member(answer, "usage"), message.get("refusal")
    return Completion(
        _text(message.get("content")) or (refusal if isinstance(refusal, str) else ""),
        _whole(_member(usage, "prompt_tokens")),
        _whole(_member(usage, "completion_tokens")),
        "refusal" if refusal else str(choice.get("finish_reason") or "stop"),
    )


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, Sequence) and not isinstance(values, str) and values else None


def _text(content: Any) -> str:
    """The text of a message's content: a string, or parts of which those with text count."""
    if isinstance(content, str):
        return clean_text(content)
    return clean_text("".join(_part_texts(content))) if isinstance(content, Sequence) else ""


def _texts(message: ChatMessage) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, Sequence):
        yield from _part_texts(content)


def _part_texts(parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
