import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import BestQuality, CostAware, Policy, Threshold, call_costs
from lookahead_router.types import CandidatePool

relaxed = settings(deadline=None, max_examples=150)

POLICIES = [BestQuality(), CostAware(10.0), Threshold(0.5)]


def priced(*prices: float) -> CandidatePool:
    """Candidates `m0`, `m1`, ... whose input and output tokens cost the same."""
    return CandidatePool(
        {"name": f"m{i}", "input_usd_per_million_tokens": price, "output_usd_per_million_tokens": price}
        for i, price in enumerate(prices)
    )


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


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_policies_are_policies(policy):
    assert isinstance(policy, Policy)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_policies_are_frozen_hashable_and_picklable_values(policy):
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(pickle.loads(pickle.dumps(policy))) == hash(policy)
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        policy.score_per_usd = 3.0


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_policies_keep_the_shape_and_leave_the_scores_alone(policy):
    scores = np.array([[0.1, 0.9], [0.6, 0.2], [0.5, 0.5]])
    before = scores.copy()
    assert policy.utilities(scores, priced(1, 2)).shape == (3, 2)
    np.testing.assert_array_equal(scores, before)


def test_policies_say_in_words_what_they_do():
    assert repr(BestQuality()) == "BestQuality()"
    assert "score_per_usd=10.0" in repr(CostAware(10.0))
    assert "minimum_score=0.5" in repr(Threshold(0.5))


# BestQuality


def test_best_quality_maximises_the_scores_and_needs_no_prices():
    scores = np.array([[0.1, 0.9], [0.6, 0.2]])
    np.testing.assert_array_equal(BestQuality().utilities(scores, CandidatePool(["a", "b"])), scores)


# CostAware


def test_a_call_costs_its_tokens_times_their_prices():
    pool = CandidatePool(
        [
            {"name": "dear", "input_usd_per_million_tokens": 3.0, "output_usd_per_million_tokens": 15.0},
            {"name": "free", "input_usd_per_million_tokens": 0.0, "output_usd_per_million_tokens": 0.0},
        ]
    )
    np.testing.assert_allclose(call_costs(pool, 1000, 200), [0.006, 0.0])


def test_cost_aware_subtracts_the_weighted_dollars():
    policy = CostAware(100.0, input_tokens=1000, output_tokens=500)
    utilities = policy.utilities(np.array([[0.5, 0.5]]), priced(2.0, 0.0))
    np.testing.assert_allclose(utilities, [[0.5 - 100 * 0.003, 0.5]])


@relaxed
@given(markets(scores=st.floats(0, 1)))
def test_cost_aware_of_weight_zero_is_best_quality(market):
    scores, pool = market
    np.testing.assert_array_equal(CostAware(0.0).utilities(scores, pool), BestQuality().utilities(scores, pool))


@relaxed
@given(markets(), exact_weights, exact_weights)
def test_raising_the_weight_never_raises_the_expected_cost(market, first, second):
    scores, pool = market
    tokens = {"input_tokens": 2**19, "output_tokens": 2**19}
    costs = call_costs(pool, **tokens)
    low, high = (
        costs[CostAware(weight, **tokens).utilities(scores, pool).argmax(axis=1)] for weight in sorted([first, second])
    )
    assert (high <= low).all()


@relaxed
@given(markets())
def test_a_large_weight_takes_the_cheapest(market):
    scores, pool = market
    costs = call_costs(pool, 500, 500)
    chosen = CostAware(1e6).utilities(scores, pool).argmax(axis=1)
    assert (costs[chosen] == costs.min()).all()


@pytest.mark.parametrize("field", ["score_per_usd", "input_tokens", "output_tokens"])
@pytest.mark.parametrize("value", [-0.001, float("nan"), float("inf"), float("-inf")])
def test_cost_aware_refuses_values_outside_their_domain(field, value):
    with pytest.raises(ConfigurationError, match=f"CostAware: {field} must be"):
        CostAware(**{"score_per_usd": 1.0, field: value})


# Threshold


def test_threshold_takes_the_cheapest_that_passes():
    scores = np.array([[0.9, 0.7, 0.6, 0.1], [0.9, 0.7, 0.2, 0.1]])
    chosen = Threshold(0.6).utilities(scores, priced(30, 10, 3, 1)).argmax(axis=1)
    assert chosen.tolist() == [2, 1]


def test_threshold_falls_back_to_the_best():
    scores = np.array([[0.2, 0.4, 0.3]])
    assert Threshold(0.5).utilities(scores, priced(1, 5, 2)).argmax() == 1


def test_reaching_the_threshold_exactly_is_enough():
    assert Threshold(0.5).utilities(np.array([[1.0, 0.5]]), priced(2, 1)).argmax() == 1


def test_candidates_that_pass_at_one_price_are_equal_in_utility():
    utilities = Threshold(0.5).utilities(np.array([[0.6, 0.9]]), priced(2, 2))
    assert utilities[0, 0] == utilities[0, 1]


def test_threshold_works_where_all_candidates_are_free():
    utilities = Threshold(0.5).utilities(np.array([[0.1, 0.6, 0.9], [0.1, 0.2, 0.4]]), priced(0, 0, 0))
    assert utilities.argmax(axis=1).tolist() == [1, 2]


@relaxed
@given(markets(scores=st.floats(0, 1)), st.floats(0, 1))
@example((np.array([[1e-20, 2e-20]]), priced(1, 1)), 0.5)
@example((np.array([[1.0, 1.0]]), priced(0, 50)), 1.0)
def test_threshold_is_cheapest_above_and_best_below(market, minimum):
    scores, pool = market
    costs = call_costs(pool, 500, 500)
    utilities = Threshold(minimum).utilities(scores, pool)
    for row, chosen in enumerate(utilities.argmax(axis=1)):
        passing = scores[row] >= minimum
        if passing.any():
            assert passing[chosen]
            assert costs[chosen] == costs[passing].min()
        else:
            assert scores[row, chosen] == scores[row].max()


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf")])
def test_threshold_refuses_scores_outside_zero_to_one(value):
    with pytest.raises(ConfigurationError, match="Threshold: minimum_score must lie in"):
        Threshold(value)


@pytest.mark.parametrize("field", ["input_tokens", "output_tokens"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_threshold_refuses_token_counts_outside_their_domain(field, value):
    with pytest.raises(ConfigurationError, match=f"Threshold: {field} must be"):
        Threshold(0.5, **{field: value})


# Prices


def test_a_measured_cost_counts_before_the_token_prices():
    pool = priced(2, 2, 2).with_call_costs([0.25, float("nan"), 0.0])
    np.testing.assert_allclose(call_costs(pool, 1000, 500), [0.25, 0.003, 0.0])
    assert call_costs(CandidatePool([{"name": "a", "usd_per_call": 0.5}]), 1, 1).tolist() == [0.5]


@pytest.mark.parametrize("policy", [CostAware(0.0), CostAware(10.0), Threshold(0.5)], ids=repr)
@pytest.mark.parametrize("known", [{}, {"input_usd_per_million_tokens": 1}, {"output_usd_per_million_tokens": 1}])
def test_a_policy_that_weighs_cost_names_the_candidates_without_prices(policy, known):
    pool = CandidatePool([*priced(1, 2), {"name": "unpriced", **known}])
    with pytest.raises(ConfigurationError, match=r"usd_per_call or both token prices.*missing: unpriced$"):
        policy.utilities(np.zeros((1, 3)), pool)
