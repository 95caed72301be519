"""What a call is expected to cost: the one rule of `evaluate`, `compare` and `tune`."""

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.policies import call_costs
from lookahead_router.types import CandidatePool, Prediction


def expected_pool(pool: CandidatePool, *observed: RoutingDataset | None) -> CandidatePool:
    """The pool with a price of every candidate, as far as one is known.

    A pool that prices every candidate stays as it is, since that is what its router decides by. In any other, a
    candidate costs the mean dollars of its calls in the first dataset that knows some; its own price is left where
    none does.

    Args:
        pool: the candidates of a router.
        observed: datasets that hold these candidates, in the order in which they are believed: the train split, the
            validation split, the rows that are evaluated.
    """
    if not np.isnan(usual_costs(pool)).any():
        return pool
    costs = np.full(len(pool), np.nan)
    for dataset in observed:
        if dataset is not None:
            found = dataset.call_costs()[[dataset.pool.index(name) for name in pool.names]]
            costs = np.where(np.isnan(costs), found, costs)
    return pool.with_call_costs(costs)


def usual_costs(pool: CandidatePool) -> np.ndarray:
    """Dollars of a call of the usual lengths, `(n_candidates,)`; NaN where a candidate has no price."""
    return call_costs(Prediction(pool, np.zeros((1, len(pool)))), pool)[0]
