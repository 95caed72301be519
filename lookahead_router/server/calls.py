"""One request that asks a candidate: read, planned, asked, and the next candidate asked where one fails."""

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lookahead_router.dispatch import Attempts, Holdback
from lookahead_router.errors import NoAnswerError
from lookahead_router.failures import Failure, failure_of
from lookahead_router.live.answers import Question
from lookahead_router.policies import RESPONSE_TOKENS
from lookahead_router.prompts import Request
from lookahead_router.server.commons import Note
from lookahead_router.server.gate import acquire
from lookahead_router.server.protocols import Protocol, Usage
from lookahead_router.server.refusals import Refusal, failed
from lookahead_router.server.service import Service, Visit
from lookahead_router.server.serving import Choice, Serving, Turn, call_usd
from lookahead_router.server.upstream import CALL_ERRORS, Event, UpstreamError

ON_LOOP_BYTES = 32_768
"""Bodies up to this size are read on the event loop."""
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class Call:
    """A request on its way to a candidate's answer."""

    def __init__(self, service: Service, visit: Visit, protocol: Protocol, content: bytes, thread: str | None) -> None:
        self.service, self.visit, self.protocol = service, visit, protocol
        self._content = content
        self.serving: Serving = service.serving
        """As it was when the request came."""
        self.id = f"dec_{secrets.token_hex(12)}"
        self.body: dict[str, Any] = {}
        self.request = Request("")
        self.choice = Choice()
        self._whose = "" if visit.key is None else visit.key.name
        """What one client's conversations are called tells another one nothing."""
        self._thread = None if thread is None else f"{self._whose}/{thread}"
        self._turn = Turn()
        self._held: str | None = None
        self._keep: str | None = None
        self.attempts: Attempts | None = None

    async def plan(self) -> None:
        """Reads the request and decides whom to ask.

        Raises:
            Refusal: no JSON object.
            PromptError, ConfigurationError, UnknownCandidateError: what is wrong with it.
        """
        started = time.perf_counter()
        if len(self._content) <= ON_LOOP_BYTES:
            self._read()
        else:
            await self.service.compute(self._read)
        await self._recall()
        if self.choice.forced is not None:
            self._decide()
        else:
            await self.service.compute(self._decide)
        self.service.metrics.routing_seconds.observe(time.perf_counter() - started)
        self._note()

    def _read(self) -> None:
        self.body = parse_body(self._content)
        self._content = b""
        self.choice = self.serving.choice(self.body.get("model"))
        self.request = self.protocol.read(self.body)
        self._turn = self.serving.turn(self.body.get("messages") or self.body.get("input"), self.request)

    async def _recall(self) -> None:
        """Finds out who answered before in what the request goes on with."""
        commons = self.service.commons
        if self._turn.goes_on:
            self._keep = await commons.whom(self._turn.name)
        if self._turn.before:
            self._held = await commons.whom(*self._turn.before)
        if self._thread is not None and self.serving.keeps_threads:
            before = await commons.whom(f"thread/{self._thread}")
            if before is not None:  # a replica may have answered that is none of this process
                self.serving.memory.threads[self._thread] = before
        previous = self.protocol.previous(self.body)
        if previous is not None:  # only whoever gave that answer has it
            name = await commons.whom(self._answer(previous), is_needed=True)
            if name is None and self.visit.key is not None:
                message = "previous_response_id names none of the answers that this key got here"
                raise Refusal(404, message, code="previous_response_not_found", param="previous_response_id")
            self._keep = name or self._keep

    def _decide(self) -> None:
        dispatcher = self.serving.dispatcher
        keep = self._keep if self._keep in dispatcher.candidates else None
        self.attempts = dispatcher.plan(
            self.request,
            held=self._held if self._held in dispatcher.candidates else None,
            forced=self.choice.forced,
            keep=keep,
            thread=self._thread,
            policy=self.serving.policy(self.protocol, self.choice),
        )

    def _note(self) -> None:
        """Begins what the log gets."""
        key = self.visit.key
        self.visit.decision = {
            "id": self.id,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": "decision",
            "endpoint": self.visit.endpoint,
            "key": key and key.name,
            "model": self.body.get("model") or "auto",
            "prompt_id": Question(self.request.text).prompt_id,
            "n_tokens": self.request.n_tokens,
            "stream": bool(self.body.get("stream")),
            **self.attempts.record,
        }
        if self.service.settings.log_prompts:
            self.visit.decision["prompt"] = self.request.text

    def expected_usd(self, name: str) -> float | None:
        """Dollars that a candidate's answer is expected to cost; `None` without a price."""
        n = self.body.get("n")
        n = min(max(n, 1), 1000) if type(n) is int else 1
        expected = self.attempts.record.get("expected_usd", {}).get(name)
        if expected is not None:
            return n * expected
        limits = [limit for each in _LIMITS if isinstance(limit := self.body.get(each), int)]
        usage = Usage(self.request.n_tokens, n * max(0, min([int(RESPONSE_TOKENS), *limits])))
        return self.serving.usd(name, usage)

    def _answer(self, answer_id: str) -> str:
        """What goes on from an answer, as a conversation."""
        return f"answer/{self._whose}/{answer_id}"

    async def _reserve(self) -> None:
        """Counts what the call is expected to cost as spent, until it is known what it did cost.

        Raises:
            Refusal: the key's budget is used up.
        """
        key = self.visit.key
        if key is None or key.budget_usd is None:
            return

        async def settle() -> None:
            await self.service.commons.settle(self.id, key, self.visit.spent_usd)

        self.visit.stack.push_async_callback(settle)  # before, since a client may go away while it is asked
        try:
            await self.service.commons.reserve(self.id, key, self.expected_usd(self.attempts.name) or 0.0)
        except Refusal:
            self.visit.decision |= {"kind": "refused", "attempts": []}
            raise

    async def _answered_by(self, answer: "Answer") -> None:
        """Notes who answered."""
        self.attempts.answered()
        name = answer.name
        self.visit.decision |= self.attempts.record
        self.service.metrics.choices.labels(name, self.attempts.record["reason"]).inc()
        names = [] if self._turn.name is None else [self._turn.name]
        if answer.id is not None:
            names.append(self._answer(answer.id))
        if self._thread is not None and self.serving.memory.threads.get(self._thread) == name:
            names.append(f"thread/{self._thread}")
        await self.service.commons.note(self.id, Note(name, self.request.text, self._whose, tuple(names)))

    async def ask(self) -> "Answer":
        """The first answer that a candidate gives: whole, or a stream that has begun to show something.

        Raises:
            Refusal: nobody answered, or the key's budget is used up.
        """
        await self._reserve()
        while True:
            name = self.attempts.name
            answer = Answer(self, name)
            stack = AsyncExitStack()
            try:
                await answer.begin(stack)
            except (UpstreamError, NoAnswerError, *CALL_ERRORS) as error:
                await stack.aclose()
                self.service.metrics.failures.labels(name, failure_of(error).value).inc()
                has_next = self.attempts.move_on(error)
                self.visit.decision |= self.attempts.record
                if has_next:
                    continue
                if isinstance(error, NoAnswerError) and answer.is_well_formed:
                    return answer  # empty, and nobody else is left
                raise failed(self.attempts.record, error) from error
            except BaseException:  # the client is gone, as a rule; what it asked for is spent
                await stack.aclose()
                answer.settle()
                raise
            self.visit.stack.callback(answer.settle)
            self.visit.stack.push_async_callback(stack.aclose)
            await self._answered_by(answer)
            return answer


class Answer:
    """What one candidate gives: its body as it came, and what that tells of tokens and cost."""

    def __init__(self, call: Call, name: str) -> None:
        self._call, self.name = call, name
        self.id: str | None = None
        """By which later requests may go on from it."""
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
        self.is_well_formed = False

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
        if self.is_stream:
            self._events = await self._service.upstream.stream(self._config, self._protocol, body, stack)
            stack.push_async_callback(self._events.aclose)
            async with asyncio.timeout(self._config.timeout):
                await self._hold_back()
            return
        content, answer = await self._service.upstream.whole(self._config, self._protocol, body)
        self._learn(answer)
        self.content, self._is_whole, self.is_well_formed = content, True, True
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
        self.is_well_formed = self._is_whole
        if not self._is_whole:
            raise UpstreamError("a stream that ended before its end", failure=Failure.CONNECTION)
        if not (self._usage and self._usage.output_tokens):
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

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of a stream. One that breaks off says so in its last event."""
        yield self._first
        self._first = b""
        failure = Failure.CONNECTION
        try:
            async for raw in self._rest():
                yield raw
        except (UpstreamError, *CALL_ERRORS) as error:
            failure = failure_of(error)
        if self._told_failure is not None:
            self._interrupted(self._told_failure)
        elif not self._is_whole:
            self._interrupted(failure)
            message = f"the candidate {self.name!r} broke off its answer ({failure.value})"
            yield b"data: " + json.dumps(self._protocol.broken(message)).encode() + b"\n\n"
        self.settle()

    async def _rest(self) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(self._config.timeout):
                events = await anext(self._events, None)
            if events is None:
                return
            for event in events:
                self._see(event)
            yield b"".join(event.raw for event in events)

    def _interrupted(self, failure: Failure) -> None:
        self._service.metrics.failures.labels(self.name, failure.value).inc()
        self._call.serving.dispatcher.cooldowns.failed(self.name, failure)
        self._call.visit.decision["interrupted"] = failure.value

    def settle(self) -> None:
        """Counts what the call took and cost, once; nothing where it was not asked."""
        if self._asked is None:
            return
        seconds, self._asked = time.perf_counter() - self._asked, None
        call, usage, is_estimated = self._call, self._usage, self._usage is None
        if usage is None:
            usage = Usage(call.request.n_tokens, self._n_shown)
        usd = call_usd(call.serving.router.pool[self.name], usage)
        metrics, decision = self._service.metrics, call.visit.decision
        self._service.took(self.name, seconds)
        for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            metrics.tokens.labels(self.name, kind).inc(count)
        if usd is not None:
            metrics.usd.labels(self.name).inc(usd)
            call.visit.spent_usd += usd
            decision["cost_usd"] = decision.get("cost_usd", 0.0) + usd
        decision |= {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "usage_is_estimated": is_estimated,
            "call_seconds": round(seconds, 6),
        }

    def headers(self) -> dict[str, str]:
        """What the client is told beside the body."""
        record, decision = self._call.attempts.record, self._call.visit.decision
        usd = self._call.expected_usd(self.name) if self.content is None else decision.get("cost_usd")
        return decision_headers(self._call.id, record, self.name, usd)


def _error_in(event: Event) -> UpstreamError:
    return UpstreamError("an error in a stream", content=json.dumps(event.data).encode())


def decision_headers(decision_id: str, record: Mapping[str, Any], name: str, usd: float | None) -> dict[str, str]:
    """A decision as headers; the cost is the expected one where the answer is not there yet."""
    headers = {
        "x-lookahead-decision-id": decision_id,
        "x-lookahead-candidate": quote(name, safe=" !#$%&'()*+,/:;=?@[]<>^`{|}\""),
        "x-lookahead-reason": record["reason"],
    }
    probability = record.get("probabilities", {}).get(name)
    if probability is not None:
        headers["x-lookahead-probability"] = f"{probability:.4f}"
    if usd is not None and math.isfinite(usd):
        headers["x-lookahead-cost"] = f"{usd:.8f}"
    return headers


def parse_body(content: bytes) -> dict[str, Any]:
    """The JSON object that a request sent.

    Raises:
        Refusal: it is none.
    """
    try:
        body = json.loads(content, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON, or has numbers or a depth that JSON has not") from None
    if not isinstance(body, dict):
        raise Refusal(400, f"the body must be a JSON object, not {type(body).__name__}")
    return body


def _no_number(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
