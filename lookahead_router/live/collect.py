"""`collect`: every candidate answers every prompt; what is there is not asked again."""

import math
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError, LookaheadRouterWarning
from lookahead_router.live.answers import Answer, Question, Redact, questions_of, read_questions
from lookahead_router.live.budget import Budget
from lookahead_router.live.calls import Call, CallLog, Spent
from lookahead_router.live.client import ChatMessage
from lookahead_router.live.engine import Engine, Lane, Outcome, Progress, Task
from lookahead_router.live.journal import Journal, only_here
from lookahead_router.live.members import Pool, identity, lane_of, members_of, room_for
from lookahead_router.live.pool import CandidateConfig
from lookahead_router.live.waiting import wait_for

Prompts = str | Path | Iterable[Any]
"""A prompt file; or texts, conversations, records with the columns of a prompt file, or `Question`s."""


@dataclass(frozen=True)
class CandidateSummary:
    """How a candidate fared in all the runs on an output."""

    name: str
    n_answers: int
    """Answers that hold text."""
    n_errors: int
    """Prompts that it cannot answer: filtered, too long, or answered with nothing."""
    n_missing: int
    """Prompts that it was not asked, or whose calls failed; another run asks them."""
    cost_usd: float | None
    """Dollars of its answers; `None` without a price."""
    output_tokens: float | None
    """Mean of its answers."""
    latency_seconds: float | None
    """Mean of its answers."""
    aside: str | None
    """Why it was set aside in this run."""


@dataclass(frozen=True)
class Collected:
    """What `collect` gives."""

    answers: tuple[Answer, ...]
    """To the prompts, by the candidates of the pool; in the order of the prompts, then of the pool."""
    candidates: tuple[CandidateSummary, ...]
    n_prompts: int
    """Different ones."""
    n_repeats: int
    """Prompts that were left out because they stand there before."""
    n_new: int
    """Answers of this run."""
    spent: Spent
    """In all the runs on this output, as the budget counts it."""
    n_short: int
    """Answers that the budget did not reach for."""

    @property
    def is_complete(self) -> bool:
        """Whether every candidate has answered every prompt, or cannot."""
        return not any(candidate.n_missing for candidate in self.candidates)


def collect(
    prompts: Prompts,
    pool: Pool,
    *,
    output: str | Path | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    redact: Redact | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Collected:
    """Asks every candidate of the pool every prompt, and gives the answers with what they cost.

    With an output, every answer is written as soon as it is there; the same call goes on where an earlier one stopped,
    however that was: nothing that was answered is asked or paid again. Calls that were under way when a run was killed
    are made again, and count twice against the budget, since nobody knows whether they were paid.

    Args:
        prompts: a file of prompts, or prompts. Repeats are asked once.
        pool: a pool file, a `PoolConfig`, or `{name: model}` of functions, chat models of LangChain or LlamaIndex, or
            settings of an endpoint. A function takes the prompt, or the messages of a conversation, and gives text or a
            `Completion`; plain ones run in threads.
        output: JSONL to append answers to, a line each; they are kept in memory alone when absent.
        settings: `{name: settings}` as in a pool file, such as prices and `max_concurrency`, for models of `pool`.
        budget_usd: the most to spend on this output, in all runs together. What a call can cost at most is set aside
            before it is made, so that the budget holds as long as an endpoint keeps the limit on an answer's tokens.
        budget_calls: the most calls to make for this output, in all runs together, every try counting.
        redact: a function that takes personal data out of a text. Only what it gives is asked and written.
        on_progress: called after every answer.

    Raises:
        ConfigurationError: a pool that is none, a key that is not there, a budget without prices, an output that
            another run writes, or one that holds answers with other settings.
        DataError: malformed prompts, or an output that is something else.
        FileError: the output cannot be written.
        MissingDependencyError: a package of the extra `live` is not installed.
    """
    return wait_for(
        acollect(
            prompts,
            pool,
            output=output,
            settings=settings,
            budget_usd=budget_usd,
            budget_calls=budget_calls,
            redact=redact,
            on_progress=on_progress,
        )
    )


async def acollect(
    prompts: Prompts,
    pool: Pool,
    *,
    output: str | Path | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    redact: Redact | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Collected:
    """`collect`, for code that is asynchronous itself. Cancelled, it lets calls under way end first."""
    members = members_of(pool, settings)
    questions, n_repeats = different(prompts, redact)
    path = None if output is None else Path(output)
    if path is not None and isinstance(prompts, str | Path) and path.resolve() == Path(prompts).resolve():
        raise ConfigurationError(f"{path} holds the prompts; choose another output for the answers")
    with only_here(path), Journal(path) as results, CallLog(path) as calls:
        there = answers_there(results.records, path)
        lanes = [lane_of(config, model, has_budget=budget_usd is not None) for config, model in members]
        for lane in lanes:
            lane.tasks = tasks_of(lane.config, questions, there)
        n_missing = sum(len(lane.tasks) for lane in lanes)
        await calls.start({config.name: identity(config, model) for config, model in members}, path)
        results.keep_room(room_for(lanes))

        async def record(lane: Lane, outcome: Outcome) -> None:
            answer = _answer(lane, outcome)
            await results.append(answer.to_dict())
            there[answer.prompt_id, answer.candidate] = answer

        before = calls.spent({call: answer.cost_usd for call, answer in there.items()})
        await Engine(
            lanes,
            calls=calls,
            budget=Budget(budget_usd, budget_calls, spent_usd=before.usd, n_calls=before.n_calls),
            record=record,
            on_progress=on_progress,
            n_before=len(questions) * len(lanes) - n_missing,
        ).run()
        spent = calls.spent({call: answer.cost_usd for call, answer in there.items()})
    wanted = [(question.prompt_id, lane.name) for question in questions for lane in lanes]
    return Collected(
        tuple(there[call] for call in wanted if call in there),
        tuple(_summary(lane, questions, there) for lane in lanes),
        n_prompts=len(questions),
        n_repeats=n_repeats,
        n_new=sum(lane.n_done for lane in lanes),
        spent=spent,
        n_short=sum(lane.n_short for lane in lanes),
    )


def different(prompts: Prompts, redact: Redact | None = None) -> tuple[list[Question], int]:
    """The different prompts, redacted, and the number of repeats.

    A prompt that stands there again with another reference keeps the first one; a warning says so.
    """
    questions = read_questions(prompts) if isinstance(prompts, str | Path) else questions_of(prompts)
    if redact is not None:
        questions = [question.redacted(redact) for question in questions]
    found: dict[str, Question] = {}
    n_torn = 0
    for question in questions:
        first = found.setdefault(question.prompt_id, question)
        n_torn += question.reference is not None and question.reference != first.reference
    if n_torn:
        warnings.warn(
            f"{n_torn} prompts stand there again with another reference; the first one is kept",
            LookaheadRouterWarning,
            stacklevel=2,
        )
    return list(found.values()), len(questions) - len(found)


def answers_there(records: Iterable[Mapping[str, Any]], path: Path | None) -> dict[Call, Answer]:
    """The answers of an output by prompt and candidate.

    Raises:
        SchemaError: a line that is no answer.
    """
    place = None if path is None else str(path)
    answers = [Answer.from_dict(record, path=place, row=row) for row, record in enumerate(records)]
    return {(answer.prompt_id, answer.candidate): answer for answer in answers}


def tasks_of(config: CandidateConfig, questions: Iterable[Question], there: Collection[Call]) -> deque[Task]:
    """What a candidate has still to be asked."""
    return deque(
        Task(question.prompt_id, messages_of(question, config.system_prompt), question)
        for question in questions
        if (question.prompt_id, config.name) not in there
    )


def messages_of(question: Question, system_prompt: str | None) -> list[ChatMessage]:
    """What is sent: the conversation, behind the candidate's system prompt where it has no system message.

    Passages stand before what the last message says.
    """
    messages = [{"role": "user", "content": question.prompt}] if question.messages is None else list(question.messages)
    if question.context:
        messages[-1] = _after_passages(messages[-1], question.context)
    has_system = any(message["role"] in ("system", "developer") for message in messages)
    return messages if has_system or not system_prompt else [{"role": "system", "content": system_prompt}, *messages]


def _after_passages(message: ChatMessage, context: Sequence[str]) -> ChatMessage:
    numbered = (f"[{number}] {passage}" for number, passage in enumerate(context, 1))
    passages = "Passages that may help:\n\n" + "\n\n".join(numbered)
    content = message["content"]
    if isinstance(content, list):
        return {**message, "content": [{"type": "text", "text": passages}, *content]}
    return {**message, "content": f"{passages}\n\n{content}"}


def _answer(lane: Lane, outcome: Outcome) -> Answer:
    question: Question = outcome.task.about
    completion = outcome.completion
    carried = {each.name: getattr(question, each.name) for each in fields(Question)}
    return Answer(
        **carried,
        prompt_id=question.prompt_id,
        candidate=lane.name,
        response=None if completion is None or outcome.error else completion.text,
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        cost_usd=outcome.usd,
        latency_seconds=0.0 if completion is None else round(completion.latency_seconds, 4),
        finish_reason="" if completion is None else completion.finish_reason,
        tokens_estimated=outcome.is_estimated,
        error=None if outcome.error is None else outcome.error.value,
    )


def _summary(lane: Lane, questions: Sequence[Question], there: Mapping[Call, Answer]) -> CandidateSummary:
    answers = [there[call] for question in questions if (call := (question.prompt_id, lane.name)) in there]
    whole = [answer for answer in answers if answer.error is None]
    costs = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    return CandidateSummary(
        lane.name,
        len(whole),
        len(answers) - len(whole),
        len(questions) - len(answers),
        math.fsum(costs) if costs else None,
        _mean(answer.output_tokens for answer in whole),
        _mean(answer.latency_seconds for answer in whole),
        lane.aside,
    )


def _mean(values: Iterable[float]) -> float | None:
    values = list(values)
    return math.fsum(values) / len(values) if values else None
