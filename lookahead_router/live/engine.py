"""Many calls at one time: a lane a candidate, retries with back-off, and a budget that holds."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.failures import TRANSIENT, Failure, failure_of, retry_after
from lookahead_router.live.budget import Budget
from lookahead_router.live.calls import CallLog
from lookahead_router.live.client import ChatMessage, Client, counted, most_input_tokens
from lookahead_router.live.completion import Completion
from lookahead_router.live.pool import CandidateConfig, call_usd
from lookahead_router.live.sent import was_free
from lookahead_router.types import Candidate

MOST_TRIES = 6
"""Tries of one call that fails for reasons of the moment."""
MOST_PAID_TRIES = 3
"""Tries of one that may have been paid although it failed."""
MOST_FAILURES = 3
"""Calls in a row that came to nothing before a candidate is set aside."""
FIRST_WAIT_SECONDS = 0.5
"""Before the second try; doubled before each further one, and jittered."""
LONGEST_BACKOFF_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 300.0
"""A candidate that asks for a longer one is set aside."""
GRACE_SECONDS = 60.0
"""What calls under way get to end after an interrupt, since they are paid."""
_BLINK_SECONDS = 0.25
_OF_THE_PROMPT = frozenset({Failure.CONTEXT_OVERFLOW, Failure.CONTENT_FILTER})
"""What is a candidate's answer to a prompt, since it would be the same next time."""


@dataclass(frozen=True)
class Task:
    """One call to be made."""

    id: str
    """Name of the task, the same in every run on the same output."""
    messages: Sequence[ChatMessage]
    about: Any = None
    """Whatever the caller needs to make a record of the answer."""


@dataclass(frozen=True)
class Outcome:
    """What came of a task."""

    task: Task
    completion: Completion | None
    """`None` where the candidate cannot answer this."""
    error: Failure | None
    """Why there is no text."""
    input_tokens: int
    output_tokens: int
    is_estimated: bool
    """Whether the endpoint did not count the tokens."""
    usd: float | None
    """`None` where the candidate has no price."""


@dataclass
class Lane:
    """A candidate with its tasks."""

    config: CandidateConfig
    candidate: Candidate
    client: Client
    place: str
    """Where it answers, for messages."""
    tasks: deque[Task] = field(default_factory=deque)
    aside: str | None = None
    """Why it is asked no more."""
    n_done: int = 0
    """Outcomes of this run."""
    n_short: int = 0
    """Tasks that the budget did not reach for."""
    n_failures: int = 0
    """Calls in a row that came to nothing."""
    opens_at: float = 0.0
    """`time.monotonic()` before which nothing is asked."""

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.config.name

    def usd(self, input_tokens: int, output_tokens: int) -> float | None:
        """Dollars of a call; `None` without a price."""
        return call_usd(self.candidate, input_tokens, output_tokens)

    def most_usd(self, messages: Sequence[ChatMessage]) -> float:
        """What a call costs at most; 0 without a price."""
        return self.usd(most_input_tokens(messages), self.config.max_tokens) or 0.0


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    n_done: int
    """Results that are there, those of earlier runs too."""
    n_all: int
    usd: float
    """Spent so far, by earlier runs too."""
    seconds_left: float | None
    """`None` where that cannot be told yet."""
    n_ending: int | None = None
    """After an interrupt: calls that are still waited for."""


class Engine:
    """Makes the calls of several lanes."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        calls: CallLog,
        budget: Budget,
        record: Callable[[Lane, Outcome], Awaitable[None]],
        on_progress: Callable[[Progress], None] | None = None,
        n_before: int = 0,
    ) -> None:
        """Puts a run together.

        Args:
            lanes: candidates with what they are to be asked.
            calls: log of what is begun and what failed.
            budget: what may be spent.
            record: awaited with every outcome; comes back when it is on the disk.
            on_progress: called after every outcome.
            n_before: results that are there already.
        """
        self.lanes, self.calls, self.budget = lanes, calls, budget
        self._record, self._on_progress, self._n_before = record, on_progress, n_before
        self._counts = [len(lane.tasks) for lane in lanes]
        self._start = time.monotonic()
        self._is_stopping = False
        self._under_way: set[asyncio.Task] = set()

    async def run(self) -> None:
        """Makes all calls that can be made.

        When it is cancelled, calls under way may end, since they are paid; nothing new is begun.

        Raises:
            FileError: a journal cannot be written.
            ConfigurationError: a candidate's function gives something else than an answer.
        """
        workers = [
            asyncio.create_task(self._work(lane))
            for lane in self.lanes
            for _ in range(min(lane.config.max_concurrency, len(lane.tasks)))
        ]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION) if workers else ((), ())
            for worker in done:
                worker.result()
        finally:
            self._is_stopping = True
            for worker in set(workers) - self._under_way:
                worker.cancel()
            self._tell()
            if workers:
                await asyncio.wait(workers, timeout=GRACE_SECONDS)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, *(lane.client.close() for lane in self.lanes), return_exceptions=True)

    async def _work(self, lane: Lane) -> None:
        """One worker of a lane. An outcome reaches the disk while the next call is made."""
        writing: asyncio.Task | None = None
        try:
            while lane.tasks and not lane.aside and not self._is_stopping:
                outcome, reserved = await self._outcome(lane, lane.tasks.popleft())
                if writing is not None:
                    await writing
                if outcome is not None:
                    writing = asyncio.create_task(self._keep(lane, outcome, reserved))
                    await asyncio.sleep(0)  # it stands in the file before the next call begins
                else:
                    writing = None
        finally:
            if writing is not None:
                await writing

    async def _keep(self, lane: Lane, outcome: Outcome, reserved: float) -> None:
        try:
            await self._record(lane, outcome)
        except BaseException:
            self._is_stopping = True  # nothing more is paid that could not be written
            raise
        self.budget.settle(reserved, outcome.usd or 0.0)
        if self.budget.has_dollars and (outcome.usd or 0.0) > reserved:
            lane.aside = f"{lane.place} counts more tokens than its parameters allow, so that no budget could be kept"
        lane.n_done += 1
        self._tell()

    async def _outcome(self, lane: Lane, task: Task) -> tuple[Outcome | None, float]:
        """What came of a task, and what is still reserved for it; nothing where it is left for another run."""
        call, most = (task.id, lane.name), lane.most_usd(task.messages)
        for n_tries in range(1, MOST_TRIES + 1):
            await self._pass(lane)
            if lane.aside or self._is_stopping:
                break
            if not await self.budget.reserve(most):
                lane.n_short += 1
                break
            worker = asyncio.current_task()
            self._under_way.add(worker)
            try:
                await self.calls.begin(call, most)
                error = None
                try:
                    completion = await lane.client.complete(task.messages, key=self.calls.key(call))
                except Exception as caught:
                    error = caught
                if error is None:
                    return _answered(lane, task, completion), most
                is_free, failure = was_free(error), failure_of(error)
                usd = 0.0 if is_free else most
                if failure in _OF_THE_PROMPT:
                    lane.n_failures = 0
                    return Outcome(task, None, failure, 0, 0, False, usd if lane.candidate.has_price else None), most
                await self.calls.fail(call, failure.value, usd)
                self.budget.settle(most, usd)
                if isinstance(error, ConfigurationError):
                    raise error
            finally:
                self._under_way.discard(worker)
            seconds = _pause(lane, error, failure, n_tries, is_free=is_free)
            if seconds is None:
                break
            await self._pass(lane, seconds)
        return None, 0.0

    async def _pass(self, lane: Lane, seconds: float = 0.0) -> None:
        """Waits so long, and until the lane is open; no longer than it is asked at all."""
        end = time.monotonic() + seconds
        while (left := max(end, lane.opens_at) - time.monotonic()) > 0 and not lane.aside and not self._is_stopping:
            await asyncio.sleep(min(left, _BLINK_SECONDS))

    def _tell(self) -> None:
        if self._on_progress is None:
            return
        n_done = sum(lane.n_done for lane in self.lanes)
        elapsed = time.monotonic() - self._start
        left = [
            (count - lane.n_done) * elapsed / lane.n_done
            for lane, count in zip(self.lanes, self._counts, strict=True)
            if lane.n_done and not lane.aside
        ]
        self._on_progress(
            Progress(
                self._n_before + n_done,
                self._n_before + sum(self._counts),
                self.budget.spent_usd,
                max(left, default=None),
                len(self._under_way) if self._is_stopping and self._under_way else None,
            )
        )


def _answered(lane: Lane, task: Task, completion: Completion) -> Outcome:
    """The outcome of an answer; one without text is paid, and none all the same."""
    tokens = counted(completion, task.messages)
    is_stopped = completion.finish_reason == "content_filter"
    error = None if completion.text.strip() else Failure.CONTENT_FILTER if is_stopped else Failure.NO_ANSWER
    if error is not Failure.NO_ANSWER:
        lane.n_failures = 0
    else:
        why = "its answers end at the limit before they hold text; raise max_tokens"
        _failed(lane, why if completion.finish_reason == "length" else "it answers with nothing")
    return Outcome(task, completion, error, *tokens, lane.usd(*tokens[:2]))


def _pause(lane: Lane, error: BaseException, failure: Failure, n_tries: int, *, is_free: bool) -> float | None:
    """Seconds to wait before the next try; `None` where there is none. May close the lane, for a while or for good."""
    reason = _reason(lane, error, failure)
    if failure in (Failure.AUTHENTICATION, Failure.NOT_FOUND) and not lane.n_done:
        lane.aside = reason
        return None
    if failure not in TRANSIENT or n_tries >= (MOST_TRIES if is_free else MOST_PAID_TRIES):
        _failed(lane, reason)
        return None
    asked = retry_after(error)
    if asked is not None and asked > LONGEST_WAIT_SECONDS:
        lane.aside = f"{reason}; it asks to wait for {asked:.0f} seconds"
        return None
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_WAIT_SECONDS * 2 ** (n_tries - 1))
    seconds = longest * random.uniform(0.5, 1.0)
    if asked is not None:
        seconds = asked + random.uniform(0.0, min(0.1 * asked, 1.0))
    if failure in (Failure.RATE_LIMIT, Failure.OVERLOAD):  # whoever is asked next would hear the same
        lane.opens_at = max(lane.opens_at, time.monotonic() + seconds)
    return seconds


def _failed(lane: Lane, reason: str) -> None:
    lane.n_failures += 1
    if lane.n_failures >= MOST_FAILURES:
        lane.aside = lane.aside or reason


def _reason(lane: Lane, error: BaseException, failure: Failure) -> str:
    """Why a call failed, in words; without those of the endpoint, which may quote the prompt."""
    variable = lane.config.key_variable
    says = {
        Failure.AUTHENTICATION: f"{lane.place} refuses its key"
        + (f", the value of {variable}" if variable else "; name one in api_key_env"),
        Failure.NOT_FOUND: f"{lane.place} has no model {lane.config.model_name!r}",
        Failure.CONNECTION: f"{lane.place} cannot be reached, or breaks off",
        Failure.NO_ANSWER: f"{lane.place} sends something else than answers",
        Failure.UNSUPPORTED: f"{lane.place} does not take its parameters, or parts of its requests; check them",
        Failure.BAD_REQUEST: f"{lane.place} refuses its requests; check its parameters",
        Failure.UNKNOWN: f"its calls raise {type(error).__name__}",
    }
    return says.get(failure, failure.value)
