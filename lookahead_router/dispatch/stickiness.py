"""Whether a conversation stays with the candidate that holds it."""

from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import call_costs
from lookahead_router.prompts import Request
from lookahead_router.types import Candidate, Decision, Prediction

if TYPE_CHECKING:
    import numpy as np

    from lookahead_router.router import Router

SWITCH_GAIN = 0.02
"""Predicted score, in [0, 1], that another candidate must add before a conversation goes over to it."""
_POWER = 3
"""Of the odds against a new topic, by which the gain that a switch must add is multiplied."""


def check_gain(gain: object) -> float:
    """The option `switch_gain`, if it is in [0, 1].

    Raises:
        ConfigurationError: it is not.
    """
    if isinstance(gain, bool) or not isinstance(gain, Real) or not 0 <= gain <= 1:
        raise ConfigurationError(f"switch_gain must be a score in [0, 1], got {gain!r}")
    return float(gain)


def weigh(
    router: "Router", prediction: Prediction, decision: Decision, held: str, gain: float, request: Request
) -> dict[str, Any] | None:
    """What speaks for staying, as records hold it; `None` where the decision is for the candidate that holds.

    The policy is asked again with the holder's score raised by what a switch must gain, and its price lowered by what
    its cache saves. If it takes the holder then, the conversation stays. A follow-up is answered best by whoever holds
    what it follows, whatever it seems to ask alone, and how much better another one seems says little of whether it is
    one. So what a switch must gain rises steeply with the odds against a new topic, where they are above one.

    Args:
        router: what decided.
        prediction: for the request, one row over the router's pool.
        decision: what the policy takes on its own.
        held: the candidate that holds the conversation, out of the router's pool.
        gain: predicted score that a switch must add where the topic is surely new.
        request: the conversation.

    Returns:
        `held`, `instead` (what the policy takes on its own), `gain` (predicted score that a switch would add),
        `switch_gain` (what it must), `stays` and, where it is known, `cache_usd`, the dollars that a switch loses.
    """
    if decision.name == held:
        return None
    against = (1 - request.new_topic) / max(request.new_topic, 1e-9)
    gain = min(gain * max(against, 1.0) ** _POWER, 1.0)
    column = router.pool.index(held)
    cache_usd = _cache_usd(router.pool[held], prediction, request)
    raised = replace(
        prediction,
        scores=_raised(prediction.scores, column, gain),
        probabilities=None if prediction.probabilities is None else _raised(prediction.probabilities, column, gain),
    )
    cheaper = router
    if cache_usd:
        usd = float(call_costs(prediction, router.pool)[0, column])
        priced = replace(router.pool[held], usd_per_call=max(usd - cache_usd, 0.0))
        cheaper = router.with_aliases({held: priced})
    stays = cheaper.decide(raised.with_pool(cheaper.pool))[0].name == held
    added = decision.scores[decision.name] - decision.scores[held]
    facts = {"held": held, "instead": decision.name, "gain": added, "switch_gain": gain, "stays": stays}
    return facts if cache_usd is None else {**facts, "cache_usd": cache_usd}


def _raised(values: "np.ndarray", column: int, gain: float) -> "np.ndarray":
    raised = values.copy()
    raised[:, column] = (raised[:, column] + gain).clip(max=1.0)
    return raised


def _cache_usd(candidate: Candidate, prediction: Prediction, request: Request) -> float | None:
    """Dollars that the candidate's cache of the conversation saves; `None` where nobody said what that costs."""
    full, cached = candidate.input_usd_per_million_tokens, candidate.cached_input_usd_per_million_tokens
    if full is None or cached is None or candidate.usd_per_call is not None or prediction.prompt_tokens is None:
        return None
    share = request.n_earlier_tokens / max(request.n_tokens, 1)
    return max(full - cached, 0.0) * share * float(prediction.prompt_tokens[0]) / 1e6
