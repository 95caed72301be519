"""`judge`: a score to every answer, by references, by the user's own function or command, and by LLM judges."""

import asyncio
import hashlib
import inspect
import json
import os
import time
import warnings
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError, DataError, LookaheadRouterWarning
from lookahead_router.files import replacing_file
from lookahead_router.live.agreement import HumanAgreement, human_agreement
from lookahead_router.live.answers import Answer, read_answers
from lookahead_router.live.budget import Budget
from lookahead_router.live.calls import CallLog, Spent
from lookahead_router.live.collect import Collected
from lookahead_router.live.commands import Command
from lookahead_router.live.engine import Engine, Lane, Outcome, Progress
from lookahead_router.live.journal import Journal, only_here
from lookahead_router.live.judges import COMMAND, JudgeConfig, judge_of
from lookahead_router.live.members import identity, lane_of, room_for
from lookahead_router.live.panel import JudgeSummary, Panel
from lookahead_router.live.references import GRADERS, check_reference, number, rule_for
from lookahead_router.live.waiting import wait_for

Answers = str | Path | Collected | Iterable[Answer]
"""An answer file, what `collect` gave, or answers."""
Judge = JudgeConfig | str | Path | Callable[[Answer], Any]
"""A judge's settings, its file, the name of a way to grade by reference, or a function from an answer to its score."""

_FUNCTION_CALLS = 8
"""Calls of a user's function at one time."""


@dataclass(frozen=True)
class Judged:
    """What `judge` gives."""

    answers: tuple[Answer, ...]
    """Those that have a score now."""
    n_answers: int
    """All that were to be judged."""
    left_out: Mapping[str, int]
    """Why answers have no score, and how many each."""
    judges: tuple[JudgeSummary, ...]
    """The LLM judges."""
    human: HumanAgreement | None
    """Agreement of the scores with those of people, where there are some."""
    n_new: int
    """Verdicts of this run."""
    n_short: int
    """Verdicts that the budget did not reach for."""
    spent: Spent
    """In all the runs on this output, as the budget counts it."""


@dataclass
class _Scores:
    """Scores by the place of an answer, with what they are and who gave them."""

    scores: dict[int, tuple[float, str, str]] = field(default_factory=dict)
    reasons: Counter = field(default_factory=Counter)


def judge(
    answers: Answers,
    judge: Judge,
    *,
    output: str | Path | None = None,
    models: Mapping[str, Any] | None = None,
    allow_commands: bool = False,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Judged:
    """Scores answers, each in [0, 1].

    With an output, every verdict is written as soon as it is there, in `OUTPUT.verdicts`, and the same call goes on
    where an earlier one stopped. Scores stand in the output, a line an answer as in an answer file,
    once all verdicts are there that can be; answers without a score are not in it.

    Args:
        answers: a file of answers, what `collect` gave, or answers.
        judge: settings or their file; or the name of a way to grade by reference, such as `exact`; or a function that
            takes an `Answer` and gives its score, or `None` for none. It may be asynchronous, and is called again in
            every run.
        output: JSONL to write scored answers to; nothing is written when absent.
        models: `{name: a function or a chat model}` for judges of the settings that live in this process.
        allow_commands: whether the command in the settings may run on what models wrote.
        budget_usd: the most to spend on this output, in all runs together; see `collect`.
        budget_calls: the most calls to make for this output, in all runs together.
        on_progress: called after every verdict.

    Raises:
        ConfigurationError: settings that are none, a command that was not allowed, a key that is not there, a budget
            without prices, an output that another run writes, or one that holds verdicts by other settings, scores of
            other answers or something else.
        DataError: malformed answers, no answer that could be judged, a reference that cannot be compared with, or a
            function's score that is none.
        FileError: the output cannot be written.
        MissingDependencyError: a package of the extra `live` is not installed.
    """
    return wait_for(
        ajudge(
            answers,
            judge,
            output=output,
            models=models,
            allow_commands=allow_commands,
            budget_usd=budget_usd,
            budget_calls=budget_calls,
            on_progress=on_progress,
        )
    )


async def ajudge(
    answers: Answers,
    judge: Judge,
    *,
    output: str | Path | None = None,
    models: Mapping[str, Any] | None = None,
    allow_commands: bool = False,
    budget_usd: float | None = None,
    budget_calls: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Judged:
    """`judge`, for code that is asynchronous itself. Cancelled, it lets calls under way end first."""
    found = answers_of(answers)
    path = None if output is None else Path(output)
    config = None if callable(judge) else judge_of(judge)
    if config is not None and config.command is not None and not allow_commands:
        raise ConfigurationError(
            f"the judge would run {config.command!r} on what models wrote; allow it with --allow-commands, or "
            "allow_commands=True"
        )
    _check_path(path, answers)
    with only_here(path):
        _check_kept(path, found)
        if config is None:
            scores, panel, run = await _by_function(found, judge, on_progress), None, _Run()
        else:
            scores, panel, run = await _by_settings(
                found,
                config,
                path,
                models=models or {},
                budget=partial(Budget, budget_usd, budget_calls),
                has_budget=budget_usd is not None,
                on_progress=on_progress,
            )
        scored = [
            replace(found[row], score=score, kind=kind, judge=name)
            for row, (score, kind, name) in sorted(scores.scores.items())
        ]
        if path is not None:
            _write(scored, path)
    judged = Judged(
        tuple(scored),
        len(found),
        dict(scores.reasons),
        () if panel is None else panel.summaries(run.lanes),
        _human(scored),
        n_new=sum(lane.n_done for lane in run.lanes),
        n_short=sum(lane.n_short for lane in run.lanes),
        spent=run.spent,
    )
    _warn_of_the_stubborn(judged)
    return judged


@dataclass(frozen=True)
class _Run:
    """What LLM judges were asked in this run."""

    lanes: Sequence[Lane] = ()
    spent: Spent = field(default_factory=Spent)


def answers_of(answers: Answers) -> list[Answer]:
    """The answers that are to be judged.

    Raises:
        DataError: malformed ones, or none.
    """
    if isinstance(answers, str | Path):
        found = read_answers(answers)
    else:
        found = list(answers.answers if isinstance(answers, Collected) else answers)
    if not found or not all(isinstance(answer, Answer) for answer in found):
        raise DataError(
            "no answers to judge" if not found else "expected answers, as collect and read_answers give them"
        )
    return found


async def _by_settings(
    answers: Sequence[Answer],
    config: JudgeConfig,
    path: Path | None,
    *,
    models: Mapping[str, Any],
    budget: Callable[..., Budget],
    has_budget: bool,
    on_progress: Callable[[Progress], None] | None,
) -> tuple[_Scores, Panel, _Run]:
    scores = _Scores()
    rows = _sorted_out(answers, config, scores)
    open_rows = rows_for_judges(answers, config)
    graded = sorted(set(rows) - set(open_rows))
    if not graded and not config.judges and not scores.scores:
        raise DataError("no prompt has a reference; name judges, or put a reference beside every prompt")
    with Journal(None if path is None else path.with_name(f"{path.name}.verdicts")) as verdicts:
        if config.reference == COMMAND:
            await _by_command(answers, graded, config, verdicts, scores, on_progress)
        elif config.reference is not None:
            _by_reference(answers, graded, config, scores)
        panel = Panel(config, answers, open_rows, verdicts.records)
        run = _Run()
        if config.judges and open_rows:
            run = await _ask(panel, config, path, verdicts, models, budget, has_budget, on_progress)
    for row in open_rows:
        score = panel.score(row) if config.judges else None
        if score is None:
            scores.reasons["no verdict" if config.judges else "no reference"] += 1
        else:
            kind = "judge" if config.method == "rating" else "pref"
            scores.scores[row] = (score, kind, f"{config.method}:{','.join(judge.name for judge in config.judges)}")
    return scores, panel, run


async def _ask(
    panel: Panel,
    config: JudgeConfig,
    path: Path | None,
    verdicts: Journal,
    models: Mapping[str, Any],
    budget: Callable[..., Budget],
    has_budget: bool,
    on_progress: Callable[[Progress], None] | None,
) -> _Run:
    """Asks the LLM judges for the verdicts that are not there."""
    strays = [name for name in models if name not in {judge.name for judge in config.judges}]
    if strays:
        raise ConfigurationError(f"models of {', '.join(map(repr, strays))}, which are no judges of the settings")
    lanes = [lane_of(judge, models.get(judge.name), has_budget=has_budget) for judge in config.judges]
    for lane in lanes:
        lane.tasks = deque(panel.tasks(lane.name))
    n_before = len(lanes) * panel.n_tasks - sum(len(lane.tasks) for lane in lanes)

    async def record(lane: Lane, outcome: Outcome) -> None:
        await verdicts.append(panel.record(lane, outcome))

    with CallLog(path) as calls:
        asked = {lane.name: (identity(lane.config, models.get(lane.name)), panel.identity) for lane in lanes}
        await calls.start(asked, path)
        verdicts.keep_room(room_for(lanes))
        before = calls.spent(panel.costs)
        await Engine(
            lanes,
            calls=calls,
            budget=budget(spent_usd=before.usd, n_calls=before.n_calls),
            record=record,
            on_progress=on_progress,
            n_before=n_before,
        ).run()
        return _Run(lanes, calls.spent(panel.costs))


def _sorted_out(answers: Sequence[Answer], config: JudgeConfig, scores: _Scores) -> list[int]:
    """The rows of answers that hold one; those of an error score what the settings say."""
    for row, answer in enumerate(answers):
        if answer.response is None or answer.error is not None:
            if config.error_score is None:
                scores.reasons["error"] += 1
            else:
                scores.scores[row] = (config.error_score, "correct", "error")
    left = [row for row, answer in enumerate(answers) if answer.response is not None and answer.error is None]
    if not left and not scores.scores:
        raise DataError("no answer holds a response to judge")
    return left


def rows_for_judges(answers: Sequence[Answer], config: JudgeConfig) -> list[int]:
    """The places of answers that hold a response and that no reference decides."""
    return [
        row
        for row, answer in enumerate(answers)
        if answer.response is not None
        and answer.error is None
        and config.reference != COMMAND
        and (config.reference is None or answer.reference is None)
    ]


def _by_reference(answers: Sequence[Answer], rows: Sequence[int], config: JudgeConfig, scores: _Scores) -> None:
    grade = partial(number, tolerance=config.tolerance) if config.reference == "number" else GRADERS[config.reference]
    for row in rows:
        try:
            check_reference(config.reference, answers[row].reference)
        except DataError as error:
            suits = rule_for(answers[each].reference for each in rows)
            advice = f"; all references suit `{suits}`" if suits else ""
            raise DataError(f"prompt {answers[row].prompt_id}: {error}{advice}") from None
    for row in rows:
        score = grade(answers[row].response, answers[row].reference)
        scores.scores[row] = (score, "correct", f"reference:{config.reference}")


async def _by_command(
    answers: Sequence[Answer],
    rows: Sequence[int],
    config: JudgeConfig,
    verdicts: Journal,
    scores: _Scores,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    command = Command(config.command, timeout_seconds=config.command_timeout)
    there = {record["task"]: record["score"] for record in verdicts.records if "score" in record}
    turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def grade(row: int) -> None:
        answer = answers[row]
        about = [COMMAND, config.command, answer.prompt_id, answer.response, answer.reference]
        task = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]
        if task not in there:
            async with turns:
                there[task] = await command.grade(answer)
                await verdicts.append({"task": task, "judge": COMMAND, "score": there[task]})
        scores.scores[row] = (there[task], "correct", COMMAND)

    await _all((grade(row) for row in rows), on_progress)


async def _by_function(
    answers: Sequence[Answer], function: Callable[[Answer], Any], on_progress: Callable[[Progress], None] | None
) -> _Scores:
    scores = _Scores()
    name = f"function:{getattr(function, '__name__', type(function).__name__)}"
    turns = asyncio.Semaphore(_FUNCTION_CALLS)

    async def grade(row: int) -> None:
        async with turns:
            if inspect.iscoroutinefunction(function):
                score = await function(answers[row])
            else:
                score = await asyncio.to_thread(function, answers[row])
        if score is None:
            scores.reasons["no score by the function"] += 1
            return
        is_number = hasattr(score, "__float__") and not isinstance(score, str)
        if not is_number or not 0 <= float(score) <= 1:
            raise DataError(f"a judge's function gives a score in [0, 1] or None, got {type(score).__name__}")
        scores.scores[row] = (float(score), "judge", name)

    await _all((grade(row) for row in range(len(answers))), on_progress)
    return scores


async def _all(work: Iterable[Awaitable[None]], on_progress: Callable[[Progress], None] | None) -> None:
    """Does all of it at one time; the first error ends the rest."""
    start, tasks = time.monotonic(), [asyncio.ensure_future(each) for each in work]
    n_done = 0

    def tell(task: asyncio.Future) -> None:
        nonlocal n_done
        n_done += 1
        if on_progress is not None and not task.cancelled():
            left = (len(tasks) - n_done) * (time.monotonic() - start) / n_done
            on_progress(Progress(n_done, len(tasks), 0.0, left))

    for task in tasks:
        task.add_done_callback(tell)
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _write(scored: Sequence[Answer], path: Path) -> None:
    with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for answer in scored:
            lines.write(json.dumps(answer.to_dict(), ensure_ascii=False, allow_nan=False) + "\n")


def _check_path(path: Path | None, answers: Answers) -> None:
    if path is not None and isinstance(answers, str | Path) and path.resolve() == Path(answers).resolve():
        raise ConfigurationError(f"{path} holds the answers; choose another output for the scores")


def _check_kept(path: Path | None, found: Sequence[Answer]) -> None:
    """Raises `ConfigurationError` where the output holds anything else than scores of these answers."""
    if path is None or not path.exists() or not path.stat().st_size:
        return
    asked = {(answer.prompt_id, answer.candidate) for answer in found}
    try:
        n_others = sum((kept.prompt_id, kept.candidate) not in asked for kept in read_answers(path))
    except DataError as error:
        raise ConfigurationError(f"{path} holds something else than scored answers; choose another output") from error
    if n_others:
        raise ConfigurationError(
            f"{path} holds {n_others:,} scores of other answers, which would be lost; choose another output"
        )


def _human(scored: Sequence[Answer]) -> HumanAgreement | None:
    both = [answer for answer in scored if answer.score_human is not None]
    return human_agreement(
        [answer.score for answer in both],
        [answer.score_human for answer in both],
        [answer.prompt_id for answer in both],
    )


def _warn_of_the_stubborn(judged: Judged) -> None:
    for judge in judged.judges:
        if judge.is_constant:
            warnings.warn(
                f"the judge {judge.name} gave the same verdict all {judge.n_verdicts} times; its scores tell nothing. "
                "Look at its replies in the verdicts, and choose another judge or rubric",
                LookaheadRouterWarning,
                stacklevel=3,
            )
