"""One request that asks a candidate: read, planned, asked, and the next candidate asked where one fails."""

import json
import math
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lookahead_router.dispatch import Attempts, Confidence
from lookahead_router.dispatch.cascade import Hops
from lookahead_router.errors import NoAnswerError
from lookahead_router.failures import failure_of
from lookahead_router.live.answers import Question
from lookahead_router.policies import RESPONSE_TOKENS
from lookahead_router.prompts import Request
from lookahead_router.server.answers import Answer
from lookahead_router.server.commons import Note
from lookahead_router.server.protocols import Protocol, Usage
from lookahead_router.server.refusals import Refusal, failed
from lookahead_router.server.service import Service, Visit
from lookahead_router.server.serving import Choice, Serving, Turn
from lookahead_router.server.upstream import CALL_ERRORS, UpstreamError

ON_LOOP_BYTES = 32_768
"""Bodies up to this size are read on the event loop."""
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class Call:
    """A request on its way to a candidate's answer."""

    def __init__(self, service: Service, visit: Visit, protocol: Protocol, content: bytes, thread: str | None) -> None:
        self.service, self.visit, self.protocol = service, visit, protocol
        self._content = content
        self.serving: Serving = service.serving
        """What was served when the request came."""
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
        self.is_looked_at = False
        """Whether a cascade looks at answers."""
        self.looks_at_logprobs = False
        """Whether it looks at log-probabilities that the client has not asked for."""
        self._record: dict[str, Any] = {}
        self._is_reserved = False

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
            cascades=self.choice == Choice() and self.protocol.is_one_text(self.body),
        )
        self._record = self.attempts.record  # which computes, where a cascade may ask again
        self.is_looked_at = isinstance(self.attempts, Hops)
        if self.is_looked_at:
            checks = dispatcher.cascade.checks
            self.looks_at_logprobs = not self.body.get("logprobs") and any(isinstance(c, Confidence) for c in checks)

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
            **self._record,
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
        """Counts what the call is expected to cost as spent, beside what was spent on it already, until it is known.

        Raises:
            Refusal: the key's budget is used up.
        """
        key = self.visit.key
        if key is None or key.budget_usd is None:
            return

        async def settle() -> None:
            await self.service.commons.settle(self.id, key, self.visit.spent_usd)

        if not self._is_reserved:
            self.visit.stack.push_async_callback(settle)  # before, since a client may go away while it is asked
            self._is_reserved = True
        usd = self.visit.spent_usd + (self.expected_usd(self.attempts.name) or 0.0)
        await self.service.commons.reserve(self.id, key, usd)

    async def ask(self) -> Answer:
        """The call's answer: whole, or a stream that has begun to show something. Of a cascade the one that is taken.

        Raises:
            Refusal: nobody answered, or the key's budget is used up.
        """
        try:
            await self._reserve()
        except Refusal:
            self.visit.decision |= {"kind": "refused", "attempts": []}
            raise
        while True:
            answer = Answer(self, self.attempts.name)
            stack = AsyncExitStack()
            try:
                await answer.begin(stack)
            except (UpstreamError, NoAnswerError, *CALL_ERRORS) as error:
                await stack.aclose()
                answer.broke_off()
                self.service.metrics.failures.labels(answer.name, failure_of(error).value).inc()
                if await self._weigh(self.attempts.move_on, error) and await self._may_go_on():
                    continue
                if self.attempts.answer is not None:  # of a cascade: worth more than an error
                    return await self._taken(self.attempts.answer)
                if isinstance(error, NoAnswerError) and answer.is_well_formed:
                    return answer  # empty, and nobody else is left
                raise failed(self.attempts.record, error) from error
            except BaseException:  # the client is gone, as a rule; what it asked for is spent
                await stack.aclose()
                answer.settle()
                raise
            if answer.is_live:
                self.visit.stack.callback(answer.settle)
                self.visit.stack.push_async_callback(stack.aclose)
                self.attempts.answered()
                return await self._taken(answer)
            await stack.aclose()
            if await self._weigh(self.attempts.settles, answer, answer.reply) or not await self._may_go_on():
                return await self._taken(self.attempts.answer)

    async def _weigh(self, step: Callable[..., bool], *arguments: Any) -> bool:
        """What a step of the attempts says, which is noted. That of a cascade computes."""

        def weigh() -> tuple[bool, dict[str, Any]]:
            return step(*arguments), self.attempts.record

        said, record = await self.service.compute(weigh) if self.is_looked_at else weigh()
        self.visit.decision |= record
        return said

    async def _may_go_on(self) -> bool:
        """Whether the next candidate may be asked; a cascade with an answer in hand stops where the budget does."""
        if not isinstance(self.attempts, Hops):
            return True
        try:
            await self._reserve()
        except Refusal:
            return not self.attempts.stop()
        return True

    async def _taken(self, answer: Answer) -> Answer:
        """Notes who answered."""
        name = answer.name
        self.visit.decision |= self.attempts.record
        self.service.metrics.choices.labels(name, self.attempts.record["reason"]).inc()
        names = [] if self._turn.name is None else [self._turn.name]
        if answer.id is not None:
            names.append(self._answer(answer.id))
        if self._thread is not None and self.serving.memory.threads.get(self._thread) == name:
            names.append(f"thread/{self._thread}")
        await self.service.commons.note(self.id, Note(name, self.request.text, self._whose, tuple(names)))
        return answer

    def ended(self, answer: Answer) -> None:
        """Notes that a stream which was shown while it came is whole, and what a cascade reads of it."""
        if isinstance(self.attempts, Hops):
            self.attempts.settles(answer, answer.reply)  # the last one, so that nothing is computed
            self.visit.decision |= self.attempts.record

    def count(self, usage: Usage, usd: float | None, seconds: float, *, is_estimated: bool) -> None:
        """Adds what one of its candidates' answers took and cost."""
        decision = self.visit.decision
        if usd is not None:
            self.visit.spent_usd += usd
            decision["cost_usd"] = decision.get("cost_usd", 0.0) + usd
        decision |= {
            "input_tokens": decision.get("input_tokens", 0) + usage.input_tokens,
            "output_tokens": decision.get("output_tokens", 0) + usage.output_tokens,
            "usage_is_estimated": decision.get("usage_is_estimated", False) or is_estimated,
            "call_seconds": round(decision.get("call_seconds", 0.0) + seconds, 6),
        }

    def headers(self, answer: Answer) -> dict[str, str]:
        """What the client is told beside the body; the cost of an answer that is not there yet is the expected one."""
        usd = self.visit.decision.get("cost_usd")
        if answer.content is None and answer.is_live:
            expected = self.expected_usd(answer.name)
            usd = None if expected is None else expected + (usd or 0.0)
        record = self.attempts.record
        headers = decision_headers(self.id, record, answer.name, usd)
        return headers | {"x-lookahead-cascade": _compact(record)} if self.is_looked_at else headers


def decision_headers(decision_id: str, record: Mapping[str, Any], name: str, usd: float | None) -> dict[str, str]:
    """A decision as headers; the cost is the expected one where the answer is not there yet."""
    headers = {
        "x-lookahead-decision-id": decision_id,
        "x-lookahead-candidate": _plain(name),
        "x-lookahead-reason": record["reason"],
    }
    if len(record.get("attempts", ())) > 1:  # none of a dry run
        asked = (_plain(each["candidate"]).replace(",", "%2C") for each in record["attempts"])
        headers["x-lookahead-asked"] = ", ".join(asked)
    probability = record.get("probabilities", {}).get(name)
    if probability is not None:
        headers["x-lookahead-probability"] = f"{probability:.4f}"
    if usd is not None and math.isfinite(usd):
        headers["x-lookahead-cost"] = f"{usd:.8f}"
    return headers


def _compact(record: Mapping[str, Any]) -> str:
    """What a cascade did, as a header's value: JSON in ASCII."""
    attempts = [{"candidate": each["candidate"], "failure": each["failure"]} for each in record["attempts"]]
    told = {"attempts": attempts, **record["cascade"]}
    told["hops"] = [
        {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in hop.items()}
        for hop in told["hops"]
    ]
    return json.dumps(told, separators=(",", ":"))


def _plain(name: str) -> str:
    """A name as a header's value."""
    return quote(name, safe=" !#$%&'()*+,/:;=?@[]<>^`{|}\"")


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
