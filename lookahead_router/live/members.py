"""Whom to ask: the candidates of a pool file, endpoints, functions and chat models, as lanes of an engine."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.live.client import client_of
from lookahead_router.live.engine import Lane
from lookahead_router.live.pool import CandidateConfig, PoolConfig, priced

Pool = PoolConfig | str | Path | Mapping[str, Any]
"""A pool, its file, or `{name: settings of an endpoint, a function, or a chat model of LangChain or LlamaIndex}`."""


def members_of(
    pool: Pool, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> list[tuple[CandidateConfig, Any]]:
    """The candidates of a pool with the models of this process that answer for them; `None` for endpoints.

    Raises:
        ConfigurationError: a pool that is none, or settings of a name that it does not hold.
    """
    settings = dict(settings or {})
    if isinstance(pool, str | Path):
        pool = PoolConfig.load(pool)
    if isinstance(pool, PoolConfig):
        members: list[tuple[CandidateConfig, Any]] = [(config, None) for config in pool.candidates]
    elif isinstance(pool, Mapping):
        if not pool:
            raise ConfigurationError("a pool needs at least one candidate")
        members = [_member(name, model, settings.pop(name, {})) for name, model in pool.items()]
    else:
        raise ConfigurationError(f"expected a pool file, a PoolConfig or {{name: model}}, got {type(pool).__name__}")
    if settings:
        raise ConfigurationError(
            f"settings of {', '.join(map(repr, settings))}, which the pool does not hold as a model"
        )
    return members


def lane_of(config: CandidateConfig, model: Any, *, has_budget: bool) -> Lane:
    """A lane for a candidate.

    Raises:
        ConfigurationError: its key is not there, or it has no price and there is a budget in dollars.
    """
    candidate = priced(config)
    if has_budget and not candidate.has_price:
        raise ConfigurationError(
            f"a budget in dollars needs prices, and {config.name} has none; set input_price and output_price, "
            "which are 0 for a model of your own"
        )
    return Lane(config, candidate, client_of(config, model), config.url if model is None else "its function")


def room_for(lanes: Sequence[Lane]) -> int:
    """Bytes that the calls under way can bring."""
    longest = max((sum(len(str(m)) for m in task.messages) for lane in lanes for task in lane.tasks), default=0)
    return sum(lane.config.max_concurrency * (8 * lane.config.max_tokens + 8 * longest + 4096) for lane in lanes)


def identity(config: CandidateConfig, model: Any) -> str:
    """What must not change while an output is written, since its answers would not be those of one candidate."""
    place = [config.model_name, config.url] if model is None else ["a model of the process"]
    return json.dumps([*place, config.system_prompt, config.call_parameters()], sort_keys=True)


def _member(name: Any, model: Any, settings: Mapping[str, Any]) -> tuple[CandidateConfig, Any]:
    if not isinstance(name, str):
        raise ConfigurationError(f"a candidate's name is text, got {type(name).__name__}")
    if isinstance(model, CandidateConfig):
        model = model.model_dump()
    if isinstance(model, Mapping):
        return CandidateConfig(**{**model, **settings, "name": name}), None
    return CandidateConfig(**{**settings, "name": name}), model
