"""Rules that turn predicted scores and prices into utilities; the router takes the highest.

Policies are pure and vectorised: `(n_prompts, n_candidates)` in, the same shape out. Equal
utilities go to the earlier candidate.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lookahead_router.errors import ConfigurationError
from lookahead_router.types import Candidate, CandidatePool

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Policy(Protocol):
    """What the router asks of a policy."""

    def utilities(self, scores: "np.ndarray", pool: CandidatePool) -> "np.ndarray":
        """Utilities `(n_prompts, n_candidates)`, higher is better, from predicted scores of that shape."""
        ...


@dataclass(frozen=True)
class BestQuality:
    """The highest predicted score wins; prices do not count."""

    def utilities(self, scores: "np.ndarray", pool: CandidatePool) -> "np.ndarray":
        """The scores themselves."""
        return scores


@dataclass(frozen=True)
class CostAware:
    """Predicted score minus what the call is expected to cost.

    With weight 0 it is `BestQuality`; raising the weight never raises the expected cost.
    """

    score_per_usd: float
    """Score that one dollar is worth, >= 0."""
    input_tokens: float = 500.0
    """Expected prompt length of a call."""
    output_tokens: float = 500.0
    """Expected response length of a call."""

    def __post_init__(self) -> None:
        _check_amounts(self, "score_per_usd", "input_tokens", "output_tokens")

    def utilities(self, scores: "np.ndarray", pool: CandidatePool) -> "np.ndarray":
        """Scores minus the weighted dollars of a call.

        Raises:
            ConfigurationError: a candidate has no price.
        """
        return scores - self.score_per_usd * call_costs(pool, self.input_tokens, self.output_tokens)


@dataclass(frozen=True)
class Threshold:
    """The cheapest candidate predicted to reach a score; the best one where none does."""

    minimum_score: float
    """In [0, 1]."""
    input_tokens: float = 500.0
    output_tokens: float = 500.0

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_score <= 1:
            raise ConfigurationError(f"Threshold: minimum_score must lie in [0, 1], got {self.minimum_score!r}")
        _check_amounts(self, "input_tokens", "output_tokens")

    def utilities(self, scores: "np.ndarray", pool: CandidatePool) -> "np.ndarray":
        """In [1, 2], the cheaper the higher, for candidates that reach the score; the score for the rest.

        Raises:
            ConfigurationError: a candidate has no price.
        """
        import numpy as np

        costs = call_costs(pool, self.input_tokens, self.output_tokens)
        cheapness = 1.0 - costs / (costs.max() or 1.0)
        return np.where(scores >= self.minimum_score, 1.0 + cheapness, scores)


def _check_amounts(policy: Policy, *names: str) -> None:
    for name in names:
        value = getattr(policy, name)
        if not 0 <= value < float("inf"):
            raise ConfigurationError(f"{type(policy).__name__}: {name} must be a finite number >= 0, got {value!r}")


def call_costs(pool: CandidatePool, input_tokens: float, output_tokens: float) -> "np.ndarray":
    """Expected dollars of one call per candidate, `(n_candidates,)`: as measured, else by the token prices.

    Raises:
        ConfigurationError: a candidate has neither.
    """
    import numpy as np

    costs = [_call_cost(candidate, input_tokens, output_tokens) for candidate in pool]
    unpriced = [candidate.name for candidate, cost in zip(pool, costs, strict=True) if cost is None]
    if unpriced:
        raise ConfigurationError(
            "a policy that weighs cost needs usd_per_call or both token prices of every candidate; "
            f"missing: {', '.join(unpriced)}"
        )
    return np.array(costs)


def _call_cost(candidate: Candidate, input_tokens: float, output_tokens: float) -> float | None:
    if candidate.usd_per_call is not None:
        return candidate.usd_per_call
    input_price, output_price = candidate.input_usd_per_million_tokens, candidate.output_usd_per_million_tokens
    if input_price is None or output_price is None:
        return None
    return (input_price * input_tokens + output_price * output_tokens) / 1e6
