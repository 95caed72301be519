"""What one candidate gives: its body as it came, what that tells of tokens and cost, and what a cascade sees of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lookahead_router.dispatch import Holdback, Reply, read_reply
from lookahead_router.errors import NoAnswerError
from lookahead_router.failures import Failure, failure_of
from lookahead_router.server.gate import acquire
from lookahead_router.server.protocols import Usage
from lookahead_router.server.serving import call_usd
from lookahead_router.server.upstream import CALL_ERRORS, MAX_ANSWER_BYTES, Event, UpstreamError

if TYPE_CHECKING:
    from lookahead_router.server.calls import Call

_REFUSED = (400, 422)
"""Statuses by which a candidate may say that it gives no log-probabilities."""


class Heard:
    """What the first choice of a chat says, whole or piece by piece."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._reason: Any = None
        self._tokens: list[Any] = []

    def add(self, data: Mapping[str, Any]) -> None:
        """Takes a whole answer, or an event."""
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
        part = choice.get("message") or choice.get("delta")
        text = (part.get("content") or part.get("refusal")) if isinstance(part, Mapping) else None
        self._texts += [text] if isinstance(text, str) else []
        self._reason = choice.get("finish_reason") or self._reason
        logprobs = choice.get("logprobs")
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        self._tokens += content if isinstance(content, list) else []

    def reply(self, usage: Usage) -> Reply:
        """The answer as checks see it."""
        told = {"finish_reason": self._reason, "logprobs": {"content": self._tokens}}
        counts = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        return read_reply("".join(self._texts), told, **counts)


class Answer:
    """One candidate's answer to a call, on its way."""

    def __init__(self, call: "Call", name: str) -> None:
        self._call, self.name = call, name
        self.id: str | None = None
        """Name by which later requests may go on from the answer."""
        self._protocol, self._service = call.protocol, call.service
        self._config = call.serving[name]
        self._asked: float | None = None
        """When; `None` before, and when it is counted."""
        self._told_failure: Failure | None = None
        """What the candidate itself said of it in the middle of a stream."""
        self._usage: Usage | None = None
        self._n_shown = 0
        """Events that showed something, of about a token each."""
        self._is_whole = False
        self._held = Holdback()
        self._events: AsyncIterator[list[Event]] | None = None
        self._first = b""
        self.content: bytes | None = None
        """The body of a whole answer; `None` of a stream."""
        self.is_stream = bool(call.body.get("stream"))
        self.is_live = self.is_stream and call.attempts.is_final
        """Whether it is shown while it comes; otherwise it is read to its end before."""
        self.is_well_formed = False
        self._heard = Heard() if call.is_looked_at else None
        self._hides_logprobs = (
            call.looks_at_logprobs and not call.attempts.is_final and name not in call.serving.without_logprobs
        )
        """Whether log-probabilities are asked for that the client does not want."""

    async def begin(self, stack: AsyncExitStack) -> None:
        """Asks, and waits for a whole answer or for the first event that shows something.

        Raises:
            UpstreamError, NoAnswerError, aiohttp.ClientError, TimeoutError: no answer.
        """
        place = self._service.place_at(self.name, self._config.max_concurrency)
        await acquire(place, self._config.timeout)
        stack.callback(place.release)
        self._asked = time.perf_counter()
        body = self._protocol.body_for(self._call.body, self._config)
        try:
            await self._ask({**body, "logprobs": True} if self._hides_logprobs else body, stack)
        except UpstreamError as error:
            if not self._hides_logprobs or error.status_code not in _REFUSED:
                raise
            self._hides_logprobs = False
            await self._ask(body, stack)
            self._call.serving.without_logprobs.add(self.name)

    async def _ask(self, body: Mapping[str, Any], stack: AsyncExitStack) -> None:
        if self.is_stream:
            self._events = await self._service.upstream.stream(self._config, self._protocol, body, stack)
            stack.push_async_callback(self._events.aclose)
            if self.is_live:
                async with asyncio.timeout(self._config.timeout):
                    await self._hold_back()
            else:
                await self._read_out()
            return
        content, answer = await self._service.upstream.whole(self._config, self._protocol, body)
        self._learn(answer)
        self.content, self._is_whole, self.is_well_formed = content, True, True
        if self._hides_logprobs:
            self.content = _without_logprobs(answer) or content
        self.settle()
        if not self._protocol.answers(answer):
            raise NoAnswerError(self.name)

    async def _hold_back(self) -> None:
        async for events in self._events:
            for event in events:
                self._check(event)
                self._take(self._held.add(event, shows=self._see(event)))
            if self._held.has_begun:
                return
        self._take(self._held.rest())
        self._check_end()

    async def _read_out(self) -> None:
        """Reads a stream to its end, of which nothing is shown before."""
        size = 0
        while (events := await self._following()) is not None:
            size += sum(len(event.raw) for event in events)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamError("an answer without end", failure=Failure.NO_ANSWER)
            for event in events:
                self._check(event)
                self._see(event)
            self._take([_plain(event) for event in events] if self._hides_logprobs else events)
        self._check_end()
        self.settle()

    def _check_end(self) -> None:
        """Raises where a stream was over before anything was shown, or before its end."""
        self.is_well_formed = self._is_whole
        if not self._is_whole:
            raise UpstreamError("a stream that ended before its end", failure=Failure.CONNECTION)
        if not self._n_shown and not (self._usage and self._usage.output_tokens):
            raise NoAnswerError(self.name)

    def _take(self, events: list[Event]) -> None:
        self._first += b"".join(event.raw for event in events)

    def _check(self, event: Event) -> None:
        """Raises `UpstreamError` where an event tells of a failure before anything was shown."""
        if self._held.has_begun or event.data is None:
            return
        if self._protocol.error(event.data):
            raise _error_in(event)

    def _see(self, event: Event) -> bool:
        """Whether an event shows something; notes what it tells besides."""
        self._is_whole |= event.is_done
        if event.data is None:
            return False
        self._learn(event.data)
        self._is_whole |= self._protocol.ends(event.data)
        if self._protocol.error(event.data):
            self._told_failure = failure_of(_error_in(event))
        shows = self._protocol.shows(event.data)
        self._n_shown += shows
        return shows

    def _learn(self, data: Mapping[str, Any]) -> None:
        self._usage = self._protocol.usage(data) or self._usage
        self.id = self._protocol.answer_id(data) or self.id
        if self._heard is not None:
            self._heard.add(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of a stream. One that breaks off says so in its last event."""
        yield self._first
        self._first = b""
        failure = Failure.CONNECTION
        try:
            while (events := await self._following()) is not None:
                for event in events:
                    self._see(event)
                yield b"".join(event.raw for event in events)
        except (UpstreamError, *CALL_ERRORS) as error:
            failure = failure_of(error)
        if self._told_failure is not None:
            self._interrupted(self._told_failure)
        elif not self._is_whole:
            self._interrupted(failure)
            message = f"the candidate {self.name!r} broke off its answer ({failure.value})"
            yield b"data: " + json.dumps(self._protocol.broken(message)).encode() + b"\n\n"
        elif self.is_live:
            self._call.ended(self)
        self.settle()

    async def _following(self) -> list[Event] | None:
        async with asyncio.timeout(self._config.timeout):
            return await anext(self._events, None)

    def _interrupted(self, failure: Failure) -> None:
        self._service.metrics.failures.labels(self.name, failure.value).inc()
        self._call.serving.dispatcher.cooldowns.failed(self.name, failure)
        self._call.visit.decision["interrupted"] = failure.value

    @property
    def usage(self) -> Usage:
        """Tokens, as the candidate counted them or as they are estimated."""
        return Usage(self._call.request.n_tokens, self._n_shown) if self._usage is None else self._usage

    def reply(self) -> Reply:
        """The answer as checks of a cascade see it."""
        return self._heard.reply(self.usage)

    def broke_off(self) -> None:
        """Counts what was said before a failure: it is paid for."""
        if self._n_shown:
            self.settle()

    def settle(self) -> None:
        """Counts what the call took and cost, once; nothing where it was not asked."""
        if self._asked is None:
            return
        seconds, self._asked = time.perf_counter() - self._asked, None
        call, usage, metrics = self._call, self.usage, self._service.metrics
        usd = call_usd(call.serving.router.pool[self.name], usage)
        self._service.took(self.name, seconds)
        for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            metrics.tokens.labels(self.name, kind).inc(count)
        if usd is not None:
            metrics.usd.labels(self.name).inc(usd)
        call.count(usage, usd, seconds, is_estimated=self._usage is None)


def _error_in(event: Event) -> UpstreamError:
    return UpstreamError("an error in a stream", content=json.dumps(event.data).encode())


def _without_logprobs(data: Mapping[str, Any]) -> bytes | None:
    """A body or an event without the log-probabilities in it; `None` where there are none."""
    choices = data.get("choices")
    if not isinstance(choices, list) or not any(isinstance(each, dict) and each.get("logprobs") for each in choices):
        return None
    plain = [{**each, "logprobs": None} if isinstance(each, dict) and "logprobs" in each else each for each in choices]
    return json.dumps({**data, "choices": plain}, separators=(",", ":")).encode()


def _plain(event: Event) -> Event:
    content = None if event.data is None else _without_logprobs(event.data)
    return event if content is None else replace(event, raw=b"data: " + content + b"\n\n")
