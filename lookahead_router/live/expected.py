"""What `collect` and `judge` would ask, and what that is expected to cost."""

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.errors import TruncatedPromptWarning, UnknownProfileWarning
from lookahead_router.live.answers import Redact, read_answers
from lookahead_router.live.client import most_input_tokens
from lookahead_router.live.collect import Prompts, answers_there, different, tasks_of
from lookahead_router.live.engine import Task
from lookahead_router.live.journal import read_records
from lookahead_router.live.judge import Answers, answers_of, rows_for_judges
from lookahead_router.live.judges import JudgeConfig, judge_of
from lookahead_router.live.members import Pool, members_of
from lookahead_router.live.panel import Panel
from lookahead_router.live.pool import CandidateConfig, call_usd, known_entry, priced
from lookahead_router.predictors.load import OPEN_EMBEDDED
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import read_request

_SAMPLE = 300
"""Prompts whose answers' lengths are foreseen; the others are taken to be like them."""
_REPLY_TOKENS = 200
"""Tokens of a judge's reply."""


@dataclass(frozen=True)
class Expected:
    """What `collect` or `judge` would do."""

    calls: Mapping[str, int]
    """Calls to be made, by candidate, where none fails."""
    usd: Mapping[str, float | None]
    """Expected dollars by candidate; `None` without a price."""
    most_usd: Mapping[str, float | None]
    """The most that it can cost, by candidate, where no call has to be made twice; `None` without a price."""
    n_prompts: int
    n_repeats: int
    n_there: int
    """Answers or verdicts that are there already."""
    unset_keys: Mapping[str, str]
    """Environment variables of keys that are not set, by candidate."""


def expected_calls(
    prompts: Prompts,
    pool: Pool,
    *,
    output: str | Path | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    redact: Redact | None = None,
) -> Expected:
    """What `collect` would ask and what that is expected to cost; nothing is asked and nothing written.

    The lengths of answers are those that the embedded predictor foresees for each prompt and candidate, up to the
    limit that the candidate has. Keys need not be there.

    Raises:
        ConfigurationError: a pool that is none.
        DataError: malformed prompts, or an output that is something else.
    """
    members = members_of(pool, settings)
    questions, n_repeats = different(prompts, redact)
    path = None if output is None else Path(output)
    there = {}
    if path is not None and path.exists():
        there = answers_there((answer.to_dict() for answer in read_answers(path)), path)
    tasks = {config.name: list(tasks_of(config, questions, there)) for config, _ in members}
    lengths = _foreseen_lengths([config for config, _ in members], tasks)
    money = {config.name: _money(config, tasks[config.name], lengths[config.name]) for config, _ in members}
    return Expected(
        {name: len(each) for name, each in tasks.items()},
        {name: usd for name, (usd, _) in money.items()},
        {name: most for name, (_, most) in money.items()},
        n_prompts=len(questions),
        n_repeats=n_repeats,
        n_there=len(questions) * len(members) - sum(map(len, tasks.values())),
        unset_keys=_unset(config for config, model in members if model is None),
    )


def expected_verdicts(
    answers: Answers, judge: JudgeConfig | str | Path, *, output: str | Path | None = None
) -> Expected:
    """What `judge` would ask LLM judges and what that is expected to cost; nothing is asked, run or written.

    A judge's replies are taken to be as long as those that are there or, where there are none, 200 tokens.

    Raises:
        ConfigurationError: settings that are none.
        DataError: malformed answers, or none.
    """
    found, config = answers_of(answers), judge_of(judge)
    path = None if output is None else Path(output).with_name(f"{Path(output).name}.verdicts")
    records = read_records(path) if path is not None and path.exists() else []
    panel = Panel(config, found, rows_for_judges(found, config), records)
    tasks = {each.name: panel.tasks(each.name) for each in config.judges}
    lengths = [record["output_tokens"] for record in records if record.get("output_tokens")]
    length = sum(lengths) / len(lengths) if lengths else _REPLY_TOKENS
    money = {each.name: _money(each, tasks[each.name], length) for each in config.judges}
    return Expected(
        {name: len(each) for name, each in tasks.items()},
        {name: usd for name, (usd, _) in money.items()},
        {name: most for name, (_, most) in money.items()},
        n_prompts=len({answer.prompt_id for answer in found}),
        n_repeats=0,
        n_there=len(config.judges) * panel.n_tasks - sum(map(len, tasks.values())),
        unset_keys=_unset(config.judges),
    )


def _unset(configs: Iterable[CandidateConfig]) -> dict[str, str]:
    named = {config.name: config.key_variable for config in configs}
    return {name: variable for name, variable in named.items() if variable and not os.environ.get(variable, "").strip()}


def _money(config: CandidateConfig, tasks: Sequence[Task], output_tokens: float) -> tuple[float | None, float | None]:
    """Expected and highest dollars of calls."""
    candidate = priced(config)
    n_input = sum(read_request(list(task.messages), allow_empty=True).n_tokens for task in tasks)
    n_most = sum(most_input_tokens(task.messages) for task in tasks)
    expected = call_usd(candidate, n_input, len(tasks) * min(output_tokens, config.max_tokens))
    return expected, call_usd(candidate, n_most, len(tasks) * config.max_tokens)


def _foreseen_lengths(configs: Sequence[CandidateConfig], tasks: Mapping[str, Sequence[Task]]) -> dict[str, float]:
    """Mean tokens of the answers that are to come, by candidate."""
    prompts = list(dict.fromkeys(task.about.prompt for each in tasks.values() for task in each))
    if not prompts:
        return {config.name: 0.0 for config in configs}
    profiles = {config.name: _known(config) for config in configs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownProfileWarning)  # this is about money, and no promise
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        predictor = OpenPoolPredictor.load(OPEN_EMBEDDED).with_candidates(
            [config.name for config in configs], profiles={name: known for name, known in profiles.items() if known}
        )
        tokens = predictor.predict(prompts[:: -(-len(prompts) // _SAMPLE)]).expected_tokens
    return {
        config.name: float(np.minimum(tokens[:, column], config.max_tokens).mean())
        for column, config in enumerate(configs)
    }


def _known(config: CandidateConfig) -> str | None:
    """The known candidate that answers like this one, where its own name is not known."""
    return config.profile or (config.model if config.model and known_entry(config) else None)
