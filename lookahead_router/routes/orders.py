"""The policies of a route that lists its candidates: one after the other, or before all others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookahead_router.policies import Policy
from lookahead_router.types import CandidatePool, Prediction

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Listed:
    """The first candidate of a list, then the next one, whatever is foreseen; by score those that are not on it."""

    names: tuple[str, ...]
    """The first choice first; a name that the pool does not hold is passed over."""

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """Above 1, by their place, for those on the list; the score for the others."""
        utilities = prediction.scores.copy()
        for place, name in enumerate(reversed(self.names), start=1):
            if name in pool.names:
                utilities[:, pool.index(name)] = 1.0 + place
        return utilities


@dataclass(frozen=True)
class Preferred:
    """Another policy, by which certain candidates go before all others."""

    policy: Policy
    names: tuple[str, ...]
    """Who goes before; a name that the pool does not hold is passed over."""

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> "np.ndarray":
        """The other policy's utilities; those of the others are lowered until each is below all the preferred."""
        import numpy as np

        utilities = np.asarray(self.policy.utilities(prediction, pool), dtype=np.float64).copy()
        others = [column for column, name in enumerate(pool.names) if name not in self.names]
        admitted = np.where(np.isfinite(utilities), utilities, np.nan)
        utilities[:, others] -= 1.0 + np.nanmax(admitted) - np.nanmin(admitted)
        return utilities
