"""What `collect` would ask, and what that is expected to cost."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.errors import TruncatedPromptWarning, UnknownProfileWarning
from lookahead_router.live.answers import Redact, read_answers
from lookahead_router.live.client import most_input_tokens
from lookahead_router.live.collect import Prompts, answers_there, different, tasks_of
from lookahead_router.live.engine import Task
from lookahead_router.live.members import Pool, members_of
from lookahead_router.live.pool import CandidateConfig, call_usd, known_entry, priced
from lookahead_router.predictors.load import OPEN_EMBEDDED
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.prompts import read_request

_SAMPLE = 300
"""Prompts whose answers' lengths are foreseen; the others are taken to be like them."""


@dataclass(frozen=True)
class Expected:
    """What `collect` would do."""

    calls: Mapping[str, int]
    """Calls to be made, by candidate, where none fails."""
    usd: Mapping[str, float | None]
    """Expected dollars by candidate; `None` without a price."""
    most_usd: Mapping[str, float | None]
    """The most that it can cost, by candidate, where no call has to be made twice; `None` without a price."""
    n_prompts: int
    n_repeats: int
    n_there: int
    """Answers that are there already."""


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
    usd: dict[str, float | None] = {}
    most: dict[str, float | None] = {}
    for config, _ in members:
        candidate, own = priced(config), tasks[config.name]
        n_input = sum(read_request(list(task.messages), allow_empty=True).n_tokens for task in own)
        usd[config.name] = call_usd(candidate, n_input, len(own) * lengths[config.name])
        n_most = sum(most_input_tokens(task.messages) for task in own)
        most[config.name] = call_usd(candidate, n_most, len(own) * config.max_tokens)
    return Expected(
        {name: len(each) for name, each in tasks.items()},
        usd,
        most,
        n_prompts=len(questions),
        n_repeats=n_repeats,
        n_there=len(questions) * len(members) - sum(map(len, tasks.values())),
    )


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
