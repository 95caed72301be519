"""Rules that turn predictions and prices into utilities; the router takes the highest.

Policies are pure and vectorised: a `Prediction` in, utilities `(n_prompts, n_candidates)` out. Equal
utilities go to the earlier candidate; one of utility -inf is never chosen.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lookahead_router.errors import ConfigurationError, UncalibratedScoresWarning
from lookahead_router.types import Candidate, CandidatePool, Prediction

if TYPE_CHECKING:
    import numpy as np

PROMPT_TOKENS = 500.0
"""Length of a prompt where the prediction does not know it."""
RESPONSE_TOKENS = 500.0
"""Length of a response where the prediction does not foresee it."""


@runtime_checkable
class Policy(Protocol):
    """What the router asks of a policy."""

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """Utilities `(n_prompts, n_candidates)`, higher is better, finite or -inf, for the candidates of the pool."""
        ...


@dataclass(frozen=True)
class BestQuality:
    """The highest predicted score wins; prices do not count."""

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """The scores themselves."""
        return prediction.scores


@dataclass(frozen=True)
class CostAware:
    """Predicted score minus what the call is expected to cost.

    With weight 0 it is `BestQuality`; raising the weight never raises the expected cost.
    """

    score_per_usd: float
    """Score that one dollar is worth, >= 0."""
    score_per_second: float = 0.0
    """Score that one second is worth, >= 0; where it is more, every candidate needs `seconds_per_call`."""
    input_tokens: float = PROMPT_TOKENS
    """Prompt length of a call, where the prediction does not know it."""
    output_tokens: float = RESPONSE_TOKENS
    """Response length of a call, where the prediction does not foresee it."""

    def __post_init__(self) -> None:
        _check_amounts(self, "score_per_usd", "score_per_second", "input_tokens", "output_tokens")

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """Scores minus the weighted dollars and seconds of a call.

        Raises:
            ConfigurationError: a candidate has no price, or no seconds where these count.
        """
        costs = priced(call_costs(prediction, pool, self.input_tokens, self.output_tokens), pool)
        utilities = prediction.scores - self.score_per_usd * costs
        return utilities - self.score_per_second * _seconds(pool) if self.score_per_second else utilities


def _seconds(pool: CandidatePool) -> "np.ndarray":
    """`(n_candidates,)` seconds of a call."""
    import numpy as np

    unknown = [candidate.name for candidate in pool if candidate.seconds_per_call is None]
    if unknown:
        raise ConfigurationError(f"a policy that weighs seconds needs seconds_per_call; missing: {', '.join(unknown)}")
    return np.array([candidate.seconds_per_call for candidate in pool])


@dataclass(frozen=True)
class Threshold:
    """The cheapest candidate whose answer is good with at least that probability; the highest score where none is."""

    minimum_probability: float
    """In [0, 1]."""
    input_tokens: float = PROMPT_TOKENS
    """Prompt length of a call, where the prediction does not know it."""
    output_tokens: float = RESPONSE_TOKENS
    """Response length of a call, where the prediction does not foresee it."""

    def __post_init__(self) -> None:
        check_share(self, "minimum_probability", self.minimum_probability)
        _check_amounts(self, "input_tokens", "output_tokens")

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """In [2, 3], the cheaper the higher, for candidates that reach the probability; the score for the rest.

        Raises:
            ConfigurationError: a candidate has no price.
        """
        reached = _probabilities(prediction) >= self.minimum_probability
        return _cheapest(self, prediction, pool, reached)


def _probabilities(prediction: Prediction) -> "np.ndarray":
    """The probabilities; the scores, with a warning, where there are none."""
    if prediction.probabilities is not None:
        return prediction.probabilities
    warnings.warn(
        "the policy reads probabilities and takes predicted scores for them: the predictor is not calibrated; "
        "fit its calibration on validation prompts, or use a calibrated predictor",
        UncalibratedScoresWarning,
        stacklevel=3,
    )
    return prediction.scores


@dataclass(frozen=True)
class WithinMargin:
    """The cheapest candidate whose predicted score is at most a margin below the best one's on this prompt."""

    margin: float
    """In score, in [0, 1]; 0 asks for the best."""
    input_tokens: float = PROMPT_TOKENS
    """Prompt length of a call, where the prediction does not know it."""
    output_tokens: float = RESPONSE_TOKENS
    """Response length of a call, where the prediction does not foresee it."""

    def __post_init__(self) -> None:
        check_share(self, "margin", self.margin)
        _check_amounts(self, "input_tokens", "output_tokens")

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """In [2, 3], the cheaper the higher, for candidates within the margin; the score for the rest.

        Raises:
            ConfigurationError: a candidate has no price.
        """
        scores = prediction.scores
        return _cheapest(self, prediction, pool, scores >= scores.max(axis=1, keepdims=True) - self.margin)


@dataclass(frozen=True)
class KeepQuality:
    """The cheapest candidate that keeps a share of the best one's expected quality on this prompt."""

    share: float
    """Share of the best candidate's predicted score to keep, in [0, 1]: 0.95 gives up one good answer in twenty."""
    input_tokens: float = PROMPT_TOKENS
    """Prompt length of a call, where the prediction does not know it."""
    output_tokens: float = RESPONSE_TOKENS
    """Response length of a call, where the prediction does not foresee it."""

    def __post_init__(self) -> None:
        check_share(self, "share", self.share)
        _check_amounts(self, "input_tokens", "output_tokens")

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """In [2, 3], the cheaper the higher, for candidates that keep the share; the score for the rest.

        Raises:
            ConfigurationError: a candidate has no price.
        """
        scores = prediction.scores
        return _cheapest(self, prediction, pool, scores >= self.share * scores.max(axis=1, keepdims=True))


def _cheapest(policy, prediction: Prediction, pool: CandidatePool, is_good_enough: "np.ndarray") -> "np.ndarray":
    """In [2, 3], the cheaper the higher, where it is good enough; the score elsewhere."""
    import numpy as np

    costs = priced(call_costs(prediction, pool, policy.input_tokens, policy.output_tokens), pool)
    highest = costs.max(axis=1, keepdims=True)
    cheapness = 1.0 - costs / np.where(highest > 0, highest, 1.0)
    return np.where(is_good_enough, 2.0 + cheapness, prediction.scores)


@dataclass(frozen=True)
class Restricted:
    """Another policy among the candidates that every rule here admits; the others have utility -inf.

    The other policy sees the admitted candidates alone, as if the pool held no more.
    """

    policy: Policy = BestQuality()
    allow: Sequence[str] | None = None
    """Names that may be chosen; all when absent."""
    deny: Sequence[str] = ()
    """Names that may not, even where allowed."""
    max_usd_per_call: float | None = None
    """Most that a call may be expected to cost, in dollars, >= 0."""
    capabilities: Sequence[str] = ()
    """What a candidate must be able to do, in the words of `Candidate.capabilities`."""
    context_tokens: int | None = None
    """Tokens that a candidate's context window must hold, >= 0; one whose window is unknown is admitted."""
    input_tokens: float = PROMPT_TOKENS
    """Prompt length of a call, where the prediction does not know it."""
    output_tokens: float = RESPONSE_TOKENS
    """Response length of a call, where the prediction does not foresee it."""
    because: str = field(default="is not on the allow list", repr=False, compare=False)
    """Why candidates that `allow` does not name are excluded, in the words of records."""

    def __post_init__(self) -> None:
        for name in ("allow", "deny", "capabilities"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigurationError(f"Restricted: {name} is a list; wrap the single name {value!r} in one")
            object.__setattr__(self, name, None if value is None else tuple(value))
        amounts = [name for name in ("max_usd_per_call", "context_tokens") if getattr(self, name) is not None]
        _check_amounts(self, "input_tokens", "output_tokens", *amounts)
        if isinstance(self.policy, type) or not isinstance(self.policy, Policy):
            raise ConfigurationError(f"Restricted: policy must be a policy such as BestQuality(), got {self.policy!r}")

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """The other policy's utilities; -inf for candidates that a rule excludes.

        Raises:
            UnknownCandidateError: a listed name is not in the pool.
            ConfigurationError: a rule excludes every candidate or lacks a price; or what the other policy raises.
        """
        import numpy as np

        excluded = self.excluded(pool)
        admitted = [name for name in pool.names if name not in excluded]
        utilities = np.full(prediction.scores.shape, -np.inf)
        inner = rename(self.policy, pool, {name: name for name in admitted})
        seen = prediction.with_pool(pool).select(admitted)
        utilities[:, [pool.index(name) for name in admitted]] = inner.utilities(seen, seen.pool)
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
            affordable_pool = pool.subset(affordable)
            costs = priced(_flat_costs(affordable_pool, self.input_tokens, self.output_tokens), affordable_pool)
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
        _check_listed(self.policy, pool)

    def _lack(self, candidate: Candidate) -> str | None:
        if self.allow is not None and candidate.name not in self.allow:
            return self.because
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
    _check_listed(policy, pool)
    if not isinstance(policy, Restricted):
        return policy.renamed(names) if hasattr(policy, "renamed") else policy
    return replace(
        policy,
        policy=rename(policy.policy, pool, names),
        allow=None if policy.allow is None else [names[name] for name in policy.allow if name in names],
        deny=[names[name] for name in policy.deny if name in names],
    )


def chosen_policy(policy: Policy | None, quality: float | None) -> Policy | None:
    """The policy that two options name of which one at most is given: a policy itself, and a share of quality to keep.

    Raises:
        ConfigurationError: both are given, or a share outside [0, 1].
    """
    if quality is None:
        return policy
    if policy is not None:
        raise ConfigurationError("quality is a policy of its own; give one of quality and policy")
    return KeepQuality(quality)


def check_policy(policy: Policy, pool: CandidatePool) -> None:
    """Tries a policy on a made-up prediction, so that what it lacks is said when a router is built.

    Raises:
        ConfigurationError: no policy, or one that cannot decide among these candidates.
    """
    import numpy as np

    if isinstance(policy, type) or not isinstance(policy, Policy):
        raise ConfigurationError(
            f"a policy is an object with utilities(prediction, pool), such as BestQuality(), got {policy!r}"
        )
    _check_listed(policy, pool)
    middle = np.full((1, len(pool)), 0.5)
    made_up = Prediction(pool, middle, middle, 0 * middle, 1000 * middle, np.array([PROMPT_TOKENS]))
    checked_utilities(policy, made_up, pool)


def _check_listed(policy: Policy, pool: CandidatePool) -> None:
    """Raises `UnknownCandidateError` where the policy lists a name that is not in the pool."""
    if hasattr(policy, "check_names"):
        policy.check_names(pool)


def checked_utilities(policy: Policy, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
    """The policy's utilities `(n_prompts, n_candidates)`, of which every row admits a candidate.

    Raises:
        ConfigurationError: another shape, NaN or infinity, or a row that admits nobody.
    """
    import numpy as np

    utilities = np.asarray(policy.utilities(prediction, pool))
    if utilities.shape != prediction.scores.shape:
        raise ConfigurationError(
            f"{policy!r} must give utilities of shape {prediction.scores.shape}, got {utilities.shape}"
        )
    is_number = utilities.dtype.kind in "iuf"
    best = np.maximum.reduce(utilities, axis=1) if is_number else utilities  # NaN where there is one
    if is_number and (isfinite(np.add.reduce(best)) or np.isfinite(best).all()):
        return utilities
    if not is_number or not (best < np.inf).all():
        raise ConfigurationError(f"{policy!r} gave a utility that is no number, NaN or infinite; only -inf excludes")
    raise ConfigurationError(f"{policy!r} excludes every candidate of {', '.join(pool.names)}")


def _check_amounts(policy: Policy, *names: str) -> None:
    for name in names:
        value = getattr(policy, name)
        if not _is_number(value) or not 0 <= value < float("inf"):
            raise ConfigurationError(f"{type(policy).__name__}: {name} must be a finite number >= 0, got {value!r}")


def check_share(policy: Policy, name: str, value: object) -> None:
    """Raises `ConfigurationError` for an attribute of a policy that is no number in [0, 1]."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ConfigurationError(f"{type(policy).__name__}: {name} must be a number in [0, 1], got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def call_costs(
    prediction: Prediction,
    pool: CandidatePool,
    input_tokens: float = PROMPT_TOKENS,
    output_tokens: float = RESPONSE_TOKENS,
) -> "np.ndarray":
    """Expected dollars of a call, `(n_prompts, n_candidates)`; NaN for candidates without a price.

    The one rule for the price of a call: `usd_per_call` where it was measured, else the token prices times the
    lengths of the prompt and of the response, as far as the prediction knows them.

    Args:
        prediction: of the pool's candidates.
        pool: what they cost.
        input_tokens: length of a prompt where the prediction does not know it.
        output_tokens: length of a response where the prediction does not foresee it.
    """
    import numpy as np

    shape = prediction.scores.shape
    asked, answered = prediction.prompt_tokens, prediction.expected_tokens
    asked = np.full((shape[0], 1), input_tokens) if asked is None else asked[:, None]
    answered = np.full(shape, output_tokens) if answered is None else answered
    return _flat_costs(pool, asked, answered)


def _flat_costs(pool: CandidatePool, input_tokens, output_tokens) -> "np.ndarray":
    """Dollars of a call per candidate, in the last axis, for lengths that are numbers or arrays."""
    prices = pool.prices
    return prices[0] + (prices[1] * input_tokens + prices[2] * output_tokens) / 1e6


def priced(costs: "np.ndarray", pool: CandidatePool) -> "np.ndarray":
    """The costs, where every candidate has one.

    Raises:
        ConfigurationError: a candidate has no price.
    """
    import numpy as np

    unpriced = np.isnan(costs.reshape(-1, len(pool))).any(axis=0)
    if unpriced.any():
        names = ", ".join(name for name, is_unpriced in zip(pool.names, unpriced, strict=True) if is_unpriced)
        raise ConfigurationError(
            "a policy that weighs cost needs usd_per_call or both token prices of every candidate; "
            f"missing: {names}. Give them as prices={{name: (input, output)}} per million tokens, or in the pool"
        )
    return costs
