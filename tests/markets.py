"""Pools with prices, scores of theirs, and policies to try on both."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from lookahead_router.policies import (
    BestQuality,
    CostAware,
    KeepQuality,
    Restricted,
    Threshold,
    WithinMargin,
    call_costs,
)
from lookahead_router.types import CandidatePool, Prediction

relaxed = settings(deadline=None, max_examples=150)

POLICIES = [
    BestQuality(),
    CostAware(10.0),
    Threshold(0.5),
    KeepQuality(0.9),
    WithinMargin(0.1),
    Restricted(Threshold(0.5), allow=["m0", "m1"], max_usd_per_call=1),
]


def priced(*prices: float) -> CandidatePool:
    """Candidates `m0`, `m1`, ... whose input and output tokens cost the same."""
    return CandidatePool(
        {"name": f"m{i}", "input_usd_per_million_tokens": price, "output_usd_per_million_tokens": price}
        for i, price in enumerate(prices)
    )


def decide(policy, scores, pool, probabilities=None):
    """The policy's utilities for what is predicted of the pool's candidates; the scores are probabilities if absent."""
    return policy.utilities(Prediction(pool, scores, scores if probabilities is None else probabilities), pool)


def costs_of(pool, input_tokens=500, output_tokens=500):
    """`(n_candidates,)` dollars of a call of these lengths."""
    return call_costs(Prediction(pool, np.zeros((1, len(pool)))), pool, input_tokens, output_tokens)[0]


# Multiples of a power of two: sums and products stay exact, so ties are ties.
exact_scores = st.integers(0, 64).map(lambda n: n / 64)
exact_prices = st.integers(0, 50)
exact_weights = st.integers(0, 4096).map(lambda n: n / 1024)


@st.composite
def markets(draw, scores=exact_scores):
    """Scores `(n_prompts, n_candidates)` and a pool with prices."""
    n_candidates, n_prompts = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rows = st.lists(scores, min_size=n_candidates, max_size=n_candidates)
    grid = np.array(draw(st.lists(rows, min_size=n_prompts, max_size=n_prompts)))
    return grid, priced(*draw(st.lists(exact_prices, min_size=n_candidates, max_size=n_candidates)))


@st.composite
def judged_markets(draw):
    """A market and probabilities of the shape of its scores."""
    scores, pool = draw(markets(scores=st.floats(0, 1)))
    values = st.lists(st.floats(0, 1), min_size=scores.size, max_size=scores.size)
    return scores, pool, np.array(draw(values)).reshape(scores.shape)
