"""`Workhorse`: a candidate for whatever comes, and who that is where nobody says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import BestQuality, Policy, call_costs, check_share
from lookahead_router.types import CandidatePool, Prediction

if TYPE_CHECKING:
    import numpy as np

GAIN = 0.03
"""By how much, in score, another candidate has to be foreseen as better before it takes a workhorse's place."""
WORTH = 0.95
"""Share of the best candidate's mean score on ordinary prompts that a workhorse keeps."""


@dataclass(frozen=True)
class Workhorse:
    """One candidate for whatever comes, unless another one is foreseen to be better by more than a gain.

    Where candidates are as good as equal, as current ones are at everyday prompts, it is chance who is foreseen as the
    best, and a few words more decide otherwise. A workhorse keeps its place then, at its price.
    """

    name: str
    """The workhorse."""
    gain: float = GAIN
    """In score, in [0, 1]; 0 is `BestQuality`, but for equals."""
    instead: Sequence[str] = field(default=(), repr=False)
    """Who takes its place where it may not be chosen, the first choice first."""

    def __post_init__(self) -> None:
        check_share(self, "gain", self.gain)
        names = (self.name, *(() if isinstance(self.instead, str) else self.instead))
        if isinstance(self.instead, str) or not all(isinstance(name, str) and name for name in names):
            raise ConfigurationError(
                f"Workhorse: expected a candidate's name, and a list of others; got {names!r:.200}"
            )
        object.__setattr__(self, "instead", tuple(self.instead))

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """The scores, and the gain on top for the first of the names that the pool holds."""
        utilities = prediction.scores.copy()
        for name in (self.name, *self.instead):
            if name in pool.names:
                utilities[:, pool.index(name)] += self.gain
                break
        return utilities

    def check_names(self, pool: CandidatePool) -> None:
        """Nothing, if the pool holds every name.

        Raises:
            UnknownCandidateError: it does not.
        """
        for name in (self.name, *self.instead):
            pool.index(name)

    def renamed(self, names: Mapping[str, str]) -> "Policy":
        """The policy under other names, of those that are left; `BestQuality` where none is."""
        left = [names[name] for name in (self.name, *self.instead) if name in names]
        return replace(self, name=left[0], instead=left[1:]) if left else BestQuality()


def usual_policy(general: Prediction | None, pool: CandidatePool) -> Policy:
    """The policy where nobody names one: a `Workhorse`, chosen by what is foreseen of ordinary prompts in general.

    It is the cheapest candidate that keeps `WORTH` of the best one's score there; where it may not be chosen, the one
    that is so among the rest. `BestQuality` where that is not known, or where a candidate has no price.

    Args:
        general: one row, over that pool.
        pool: with prices.
    """
    if general is None or not all(candidate.has_price for candidate in pool):
        return BestQuality()
    scores, costs = general.scores[0].tolist(), call_costs(general, pool)[0].tolist()
    left, order = list(range(len(pool))), []
    while left:
        enough = WORTH * max(scores[k] for k in left)
        order.append(min((k for k in left if scores[k] >= enough), key=lambda k: costs[k]))
        left.remove(order[-1])
    first, *others = (pool.names[k] for k in order)
    return Workhorse(first, instead=others)
