"""One endpoint that speaks OpenAI's protocol, through the `openai` package on aiohttp."""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.failures import Failure
from lookahead_router.live.completion import Completion, first, member, text_of
from lookahead_router.live.pool import OPENAI_URL, CandidateConfig
from lookahead_router.live.sent import root_of

_LONGEST_CONNECT_SECONDS = 15.0
IDLE_SECONDS = 4.0
"""How long a connection is kept; servers let idle ones go after five, and a request that meets that is lost."""
_TO_ANY_ENDPOINT = {
    *("accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"),
    *("idempotency-key", "transfer-encoding", "user-agent"),
}
"""Headers that every endpoint gets; the package adds what the environment says of an organisation to all."""


class NoCompletionError(Exception):
    """A body of status 200 that holds no completion: a gateway's page, or an error in the place of the answer."""

    def __init__(self, body: Any) -> None:
        super().__init__("an answer of status 200 that holds no completion")  # bodies may quote the prompt
        self.body = body
        if body is None:
            self.failure = Failure.NO_ANSWER


class EndpointClient:
    """A model behind OpenAI's protocol."""

    def __init__(self, config: CandidateConfig) -> None:
        """Looks the key up; nothing is sent.

        Raises:
            ConfigurationError: the key's variable is not set.
            MissingDependencyError: the extra `live` is not installed.
        """
        openai, httpx = require("openai", "live"), require("httpx", "live")
        self.config, key = config, key_of(config)

        async def strip(request: Any) -> None:
            kept = [(name, value) for name, value in request.headers.items() if _is_sent(name, config, key)]
            request.headers = httpx.Headers(kept)

        # Connecting has to fail before all the call does: what was never sent is not paid.
        timeout = httpx.Timeout(config.timeout, connect=min(config.timeout / 2, _LONGEST_CONNECT_SECONDS))
        # The package runs on aiohttp as well as on httpx alone, at half the processor time of a call.
        transport = require("httpx_aiohttp", "live").HttpxAiohttpClient(
            event_hooks={"request": [strip]},
            timeout=timeout,
            limits=httpx.Limits(max_connections=config.max_concurrency, keepalive_expiry=IDLE_SECONDS),
            follow_redirects=False,  # a prompt goes to the endpoint that was named
            verify=trusted(),
        )
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=config.url, timeout=timeout, max_retries=0, http_client=transport
        )
        self._lost = openai.APIConnectionError
        parameters = config.call_parameters()
        beyond = parameters.pop("extra_body", None) or {}
        self._body = {"model": config.model_name, **parameters, **beyond}

    async def complete(self, messages: Sequence[Mapping[str, Any]], *, key: str) -> Completion:
        """The answer to a conversation; see `Client`.

        Raises:
            openai.APIError, NoCompletionError, TimeoutError: no answer.
        """
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
                raise self._as_it_was(error) from error.__cause__
        return replace(_completion(answer), latency_seconds=time.perf_counter() - start)

    async def close(self) -> None:
        """Lets connections go."""
        await self._client.close()

    def _as_it_was(self, error: Exception) -> Exception:
        """The error of a lost connection, which the transport takes for a timeout."""
        return (
            error
            if isinstance(root_of(error), TimeoutError) or type(error) is self._lost
            else self._lost(request=error.request)
        )


def _is_sent(name: str, config: CandidateConfig, key: str | None) -> bool:
    """Whether a header of the package's goes to the endpoint: what it says of this machine does not."""
    if name.startswith("x-stainless") or (name == "authorization" and key is None):
        return False
    return config.url == OPENAI_URL or name in _TO_ANY_ENDPOINT


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


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


@cache
def trusted() -> ssl.SSLContext:
    """Whom TLS trusts: the system, and where it is installed certifi, since some systems have no list of their own."""
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:
        return context
    context.load_verify_locations(certifi.where())
    return context


def _completion(answer: Any) -> Completion:
    """What the body of an answer says."""
    choice = first(member(answer, "choices"))
    message = member(choice, "message")
    if not isinstance(message, Mapping):
        raise NoCompletionError(member(answer, "error"))
    usage, refusal = member(answer, "usage"), message.get("refusal")
    return Completion(
        text_of(message.get("content")) or (refusal if isinstance(refusal, str) else ""),
        _whole(member(usage, "prompt_tokens")),
        _whole(member(usage, "completion_tokens")),
        "refusal" if refusal else str(choice.get("finish_reason") or "stop"),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
