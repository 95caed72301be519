"""One endpoint that speaks OpenAI's protocol, straight over aiohttp: the clients above it take some times as long."""

import asyncio
import json
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.failures import Failure
from lookahead_router.live.completion import Completion, first, member, text_of
from lookahead_router.live.pool import OPENAI_URL, CandidateConfig

_LONGEST_CONNECT_SECONDS = 15.0
IDLE_SECONDS = 4.0
"""How long a connection is kept; servers let idle ones go after five, and a request that meets that is lost."""
_OF_OPENAI = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
"""Headers that OpenAI itself reads, and nobody else gets, by the variables that fill them."""


class EndpointError(Exception):
    """An answer that is none: another status than 2xx, or a body without a completion."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"status {status}")  # bodies may quote the prompt
        self.status_code, self.body, self.headers = status, body, headers
        if status < 400 and body is None:
            self.failure = Failure.NO_ANSWER


class EndpointClient:
    """A model behind OpenAI's protocol."""

    def __init__(self, config: CandidateConfig) -> None:
        """Looks the key up; nothing is sent.

        Raises:
            ConfigurationError: the key's variable is not set.
            MissingDependencyError: aiohttp is not installed.
        """
        self._aiohttp = require("aiohttp", "live")
        self.config = config
        parts = urlsplit(config.url)
        self._url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/chat/completions"))
        self._key, self._proxy = key_of(config), proxy_of(config.url)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        if config.url == OPENAI_URL:
            self._headers |= {name: os.environ[of] for name, of in _OF_OPENAI.items() if os.environ.get(of)}
        parameters = config.call_parameters()
        beyond = parameters.pop("extra_body", None) or {}
        self._body = {"model": config.model_name, **parameters, **beyond}
        self._opened: Any = None

    async def complete(self, messages: Sequence[Mapping[str, Any]], *, key: str) -> Completion:
        """The answer to a conversation; see `Client`.

        Raises:
            EndpointError, aiohttp.ClientError, TimeoutError: no answer.
        """
        body = json.dumps({**self._body, "messages": list(messages)}).encode("utf-8", "replace")
        start = time.perf_counter()
        async with (
            asyncio.timeout(self.config.timeout),
            self._session.post(self._url, data=body, headers={"Idempotency-Key": key}, proxy=self._proxy) as response,
        ):
            content = await response.read()
        seconds = time.perf_counter() - start
        if not 200 <= response.status < 300:
            hidden = content.replace(self._key.encode(), b"[key]") if self._key else content
            raise EndpointError(response.status, _parsed(hidden), response.headers)
        return replace(_completion(response.status, _parsed(content)), latency_seconds=seconds)

    async def close(self) -> None:
        """Lets connections go."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _session(self) -> Any:
        """Opened by the first call, since it belongs to the event loop."""
        if self._opened is None:
            http, seconds = self._aiohttp, self.config.timeout
            connector = http.TCPConnector(
                limit=self.config.max_concurrency, keepalive_timeout=IDLE_SECONDS, ssl=trusted()
            )
            # Connecting has to fail before all the call does: what was never sent is not paid.
            timeout = http.ClientTimeout(total=None, sock_connect=min(seconds / 2, _LONGEST_CONNECT_SECONDS))
            self._opened = http.ClientSession(
                connector=connector,
                timeout=timeout,
                headers=self._headers | {"User-Agent": "lookahead-router"},
                cookie_jar=http.DummyCookieJar(),
            )
        return self._opened


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


def _parsed(content: bytes) -> Any:
    """The JSON of a body; `None` where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _completion(status: int, answer: Any) -> Completion:
    """What the body of an answer says."""
    choice = first(member(answer, "choices"))
    message = member(choice, "message")
    if not isinstance(message, Mapping):
        raise EndpointError(status, member(answer, "error"))
    usage, refusal = member(answer, "usage"), message.get("refusal")
    return Completion(
        text_of(message.get("content")) or (refusal if isinstance(refusal, str) else ""),
        _whole(member(usage, "prompt_tokens")),
        _whole(member(usage, "completion_tokens")),
        "refusal" if refusal else str(choice.get("finish_reason") or "stop"),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
