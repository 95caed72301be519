"""Rules that turn predicted scores and prices into utilities; the router takes the highest.

Policies are pure and vectorised: `(n_prompts, n_candidates)` in, the same shape out. Equal
utilities go to the earlier candidate; one of utility -inf is never chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lookahead_router.errors import ConfigurationError
from lookahead_router.types import Candidate, CandidatePool

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Policy(Protocol):
    """What the router asks of a policy.

    One whose attribute `reads_probabilities` is true is called with a third argument, the probabilities of a
    good answer, of the shape of the scores.
    """

    def utilities(self, scores: "np.ndarray", pool: CandidatePool) -> "np.ndarray":
        """Utilities `(n_prompts, n_candidates)`, higher is better, from predicted scores of that shape."""
        ...


def reads_probabilities(policy: Policy) -> bool:
    """Whether the policy's `utilities` takes probabilities as well."""
    return getattr(policy, "reads_probabilities", False)


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
    """The cheapest candidate whose answer is good with at least that probability; the highest score where none is."""

    minimum_probability: float
    """In [0, 1]."""
    input_tokens: float = 500.0
    """Expected prompt length of a call."""
    output_tokens: float = 500.0
    """Expected response length of a call."""

    reads_probabilities = True

    def __post_init__(self) -> None:
        if not 0 <= self.minimum_probability <= 1:
            raise ConfigurationError(
                f"Threshold: minimum_probability must lie in [0, 1], got {self.minimum_probability!r}"
            )
        _check_amounts(self, "input_tokens", "output_tokens")

    def utilities(
        self, scores: "np.ndarray", pool: CandidatePool, probabilities: "np.ndarray | None" = None
    ) -> "np.ndarray":
        """In [2, 3], the cheaper the higher, for candidates that reach the probability; the score for the rest.

        Args:
            scores: `(n_prompts, n_candidates)` predicted, in [0, 1].
            pool: the candidates, in column order.
            probabilities: of a good answer, of the same shape; the scores are taken for them when absent.

        Raises:
            ConfigurationError: a candidate has no price.
        """
        import numpy as np

        costs = call_costs(pool, self.input_tokens, self.output_tokens)
        cheapness = 1.0 - costs / (costs.max() or 1.0)
        reached = (scores if probabilities is None else probabilities) >= self.minimum_probability
        return np.where(reached, 2.0 + cheapness, scores)


@dataclass(frozen=True)
class Restricted:
    """Another policy among the candidates that every rule here admits; the others have utility -inf.

    The other policy sees the admitted candidates alone, as if the pool held no more.
    """

    policy: Policy = BestQuality()
    allow: tuple[str, ...] | None = None
    """Names that may be chosen; all when absent."""
    deny: tuple[str, ...] = ()
    """Names that may not, even where allowed."""
    max_usd_per_call: float | None = None
    """Most that a call may be expected to cost, in dollars, >= 0."""
    capabilities: tuple[str, ...] = ()
    """What a candidate must be able to do, in the words of `Candidate.capabilities`."""
    context_tokens: int | None = None
    """Tokens that a candidate's context window must hold, >= 0; one whose window is unknown is admitted."""
    input_tokens: float = 500.0
    """Expected prompt length of a call."""
    output_tokens: float = 500.0
    """Expected response length of a call."""

    def __post_init__(self) -> None:
        for field in ("allow", "deny", "capabilities"):
            value = getattr(self, field)
            if isinstance(value, str):
                raise ConfigurationError(f"Restricted: {field} is a list; wrap the single name {value!r} in one")
            object.__setattr__(self, field, None if value is None else tuple(value))
        amounts = [name for name in ("max_usd_per_call", "context_tokens") if getattr(self, name) is not None]
        _check_amounts(self, "input_tokens", "output_tokens", *amounts)

    @property
    def reads_probabilities(self) -> bool:
        """Whether the other policy does."""
        return reads_probabilities(self.policy)

    def utilities(
        self, scores: "np.ndarray", pool: CandidatePool, probabilities: "np.ndarray | None" = None
    ) -> "np.ndarray":
        """The other policy's utilities; -inf for candidates that a rule excludes.

        Raises:
            UnknownCandidateError: a listed name is not in the pool.
            ConfigurationError: a rule excludes every candidate or lacks a price; or what the other policy raises.
        """
        import numpy as np

        excluded = self.excluded(pool)
        admitted = [column for column, name in enumerate(pool.names) if name not in excluded]
        names = {pool.names[column]: pool.names[column] for column in admitted}
        more = (probabilities[:, admitted],) if self.reads_probabilities and probabilities is not None else ()
        utilities = np.full(scores.shape, -np.inf)
        inner = rename(self.policy, pool, names)
        utilities[:, admitted] = inner.utilities(scores[:, admitted], pool.subset(names), *more)
        return utilities

    def excluded(self, pool: CandidatePool) -> dict[str, str]:
        """Why candidates may not be chosen, by name; the others are not named.

        Raises:
            UnknownCandidateError: a listed name is not in the pool.
            ConfigurationError: every candidate is excluded, or one under a budget has no price.
        """
        self.check_names(pool)
        reasons = self.policy.excluded(pool) if isinstance(self.policy, Restricted) else {}
        for candidate in pool:
            reason = reasons.get(candidate.name) or self._lack(candidate)
            if reason is not None:
                reasons[candidate.name] = reason
        affordable = [name for name in pool.names if name not in reasons]
        if affordable and self.max_usd_per_call is not None:
            costs = call_costs(pool.subset(affordable), self.input_tokens, self.output_tokens)
            for name, cost in zip(affordable, costs, strict=True):
                if cost > self.max_usd_per_call:
                    reasons[name] = f"costs {cost:.3g} dollars a call, above {self.max_usd_per_call:g}"
        if len(reasons) == len(pool):
            why = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
            raise ConfigurationError(f"the policy excludes every candidate: {why}. Loosen one of its rules.")
        return reasons

    def check_names(self, pool: CandidatePool) -> None:
        """Nothing, if the pool holds every listed name.

        Raises:
            UnknownCandidateError: it does not.
        """
        for name in (*(self.allow or ()), *self.deny):
            pool.index(name)

    def _lack(self, candidate: Candidate) -> str | None:
        if self.allow is not None and candidate.name not in self.allow:
            return "is not on the allow list"
        if candidate.name in self.deny:
            return "is on the deny list"
        missing = [capability for capability in self.capabilities if capability not in candidate.capabilities]
        if missing:
            return f"lacks {', '.join(missing)}"
        window = candidate.context_window_tokens
        if self.context_tokens is not None and window is not None and window < self.context_tokens:
            return f"has a window of {window} tokens, below {self.context_tokens}"
        return None


def rename(policy: Policy, pool: CandidatePool, names: Mapping[str, str]) -> Policy:
    """The policy for a part of a pool or for other names; only one that lists names changes.

    Args:
        policy: over the candidates of `pool`.
        pool: the candidates so far.
        names: `{name in pool: name from now on}` of those that are left.

    Raises:
        UnknownCandidateError: a listed name is not in the pool.
    """
    if not isinstance(policy, Restricted):
        return policy
    policy.check_names(pool)
    return replace(
        policy,
        policy=rename(policy.policy, pool, names),
        allow=None if policy.allow is None else [names[name] for name in policy.allow if name in names],
        deny=[names[name] for name in policy.deny if name in names],
    )


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
