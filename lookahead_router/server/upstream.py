"""Calls of candidates over HTTP: a whole answer, or the events of a stream, as they came."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import aiohttp

from lookahead_router.errors import ConfigurationError
from lookahead_router.failures import Failure
from lookahead_router.live.endpoint import IDLE_SECONDS, proxy_of, trusted
from lookahead_router.live.pool import CandidateConfig
from lookahead_router.server.protocols import Protocol

CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256_000_000
"""Size of one whole answer, at most."""
MAX_EVENT_BYTES = 32_000_000
MAX_ERROR_BYTES = 65_536
CALL_ERRORS = (aiohttp.ClientError, OSError, TimeoutError)
"""What a call raises beside `UpstreamError`."""

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class UpstreamError(Exception):
    """A candidate answered with an error, or with what is no answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        failure: Failure | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status
        self.headers = dict(headers or {})
        self.body = _parsed(content)
        self.failure = failure
        self.told: tuple[int, bytes] | None = None
        """Status and body for the client, where the body has OpenAI's shape."""
        if isinstance(self.body, Mapping) and self.body.get("error") and status is not None:
            self.told = status, content


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    raw: bytes
    """The event as it came, with the blank line after it."""
    data: Mapping[str, Any] | None
    """Its JSON object, if it holds one."""
    is_done: bool
    """Whether it is `[DONE]`."""


class Upstream:
    """The HTTP client of one server, shared by all candidates; keys come from the environment."""

    def __init__(self) -> None:
        self._opened: aiohttp.ClientSession | None = None
        self._proxy_of = lru_cache(maxsize=1024)(proxy_of)  # finding it takes a tenth of a call's time

    @property
    def _session(self) -> aiohttp.ClientSession:
        """Opened by the first call, since it belongs to the event loop."""
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=trusted()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # what comes is passed on as it is
                headers={"user-agent": "lookahead-router", "accept-encoding": "identity"},
            )
        return self._opened

    async def close(self) -> None:
        """Ends all connections."""
        if self._opened is not None:
            await self._opened.close()

    async def whole(
        self, candidate: CandidateConfig, protocol: Protocol, body: Mapping[str, Any]
    ) -> tuple[bytes, Mapping[str, Any]]:
        """The body of a whole answer, as it came and as the JSON object that it is, without an error.

        Raises:
            UpstreamError: another status than 2xx, or a body that is no answer.
            aiohttp.ClientError, TimeoutError: no answer.
        """
        async with asyncio.timeout(candidate.timeout), self._asked(candidate, protocol, body) as response:
            content = await _read(response, MAX_ANSWER_BYTES)
        answer = _parsed(content)
        if not isinstance(answer, Mapping):
            raise UpstreamError("a body that is no JSON object", failure=Failure.NO_ANSWER)
        if protocol.error(answer):
            raise UpstreamError("an error in an answer of status 200", content=content)
        return content, answer

    async def stream(
        self, candidate: CandidateConfig, protocol: Protocol, body: Mapping[str, Any], stack: AsyncExitStack
    ) -> AsyncIterator[list[Event]]:
        """The events of a stream, those together that came together; the stack ends the call.

        Raises:
            UpstreamError: another status than 2xx, or a body that is no stream.
            aiohttp.ClientError, TimeoutError: no answer, or none for too long.
        """
        async with asyncio.timeout(candidate.timeout):
            response = await stack.enter_async_context(self._asked(candidate, protocol, body))
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            content = await _read(response, MAX_ERROR_BYTES)
            raise UpstreamError("a body that is no stream", content=content, failure=_failure_in(content, protocol))
        return _events(response)

    @asynccontextmanager
    async def _asked(
        self, candidate: CandidateConfig, protocol: Protocol, body: Mapping[str, Any]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if body.get("stream") else "application/json",
        }
        key = key_of(candidate)
        if key:
            headers["authorization"] = f"Bearer {key}"
        response = await self._session.post(
            candidate.url + protocol.path,
            data=json.dumps(body, separators=(",", ":")).encode(),
            headers=headers,
            proxy=self._proxy_of(candidate.url),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(CONNECT_SECONDS, candidate.timeout), sock_read=candidate.timeout
            ),
        )
        try:
            if not 200 <= response.status < 300:
                content = await _read(response, MAX_ERROR_BYTES)
                raise UpstreamError(
                    f"status {response.status}",
                    status=response.status,
                    headers=response.headers,
                    content=content.replace(key.encode(), b"[key]") if key else content,
                    failure=_failure_by(response.status, protocol),
                )
            yield response
        finally:
            response.close()  # one that was read to its end has given its connection back before


def key_of(candidate: CandidateConfig) -> str | None:
    """The candidate's key, if it gets one."""
    return None if candidate.key_variable is None else os.environ.get(candidate.key_variable)


def check_key(candidate: CandidateConfig) -> None:
    """Raises `ConfigurationError` where the variable of a candidate's key is not set, or holds what no header can."""
    key = key_of(candidate)
    if candidate.key_variable is not None and not key:
        raise ConfigurationError(
            f"the key of {candidate.name!r}: the environment variable {candidate.key_variable} is not set"
        )
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(
            f"the key of {candidate.name!r}: the environment variable {candidate.key_variable} holds characters "
            "that no key has, such as a line break"
        )


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body; of a longer one, the beginning."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            break
    return b"".join(chunks)[:max_bytes]


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[list[Event]]:
    rest = b""
    async for chunk in response.content.iter_any():
        buffer = rest + chunk
        # A blank line may have begun at the end of what was there before.
        at, start = 0, max(0, len(rest) - 3)
        events = []
        for match in _BLANK_LINE.finditer(buffer, start):
            events.append(_event(buffer[at : match.end()]))
            at = match.end()
        rest = buffer[at:]
        if len(rest) > MAX_EVENT_BYTES:
            raise UpstreamError("an event without end", failure=Failure.NO_ANSWER)
        if events:
            yield events
    last = _event(rest + b"\n\n")
    if last.is_done or last.data is not None:  # else the rest of what was cut off
        yield [last]


def _event(raw: bytes) -> Event:
    lines = (line[5:].strip() for line in raw.splitlines() if line.startswith(b"data:"))
    data = b"\n".join(lines)
    parsed = None if data == b"[DONE]" else _parsed(data)
    return Event(raw, parsed if isinstance(parsed, Mapping) else None, data == b"[DONE]")


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _failure_by(status: int, protocol: Protocol) -> Failure | None:
    """None where the status stands for itself."""
    if status < 400:
        return Failure.NOT_FOUND  # redirects are not followed
    # Whoever does not offer a protocol, or does not know an earlier answer, is none the worse for chats.
    is_not_offered = status in (404, 405, 501) and not protocol.is_offered_by_all
    return Failure.UNSUPPORTED if is_not_offered else None


def _failure_in(content: bytes, protocol: Protocol) -> Failure | None:
    """None where a body names its failure itself."""
    answer = _parsed(content)
    return None if isinstance(answer, Mapping) and protocol.error(answer) else Failure.NO_ANSWER
