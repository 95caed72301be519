import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markets import (
    POLICIES,
    costs_of,
    decide,
    exact_weights,
    judged_markets,
    markets,
    priced,
    relaxed,
)

from lookahead_router.errors import ConfigurationError, UncalibratedScoresWarning
from lookahead_router.policies import (
    BestQuality,
    CostAware,
    KeepQuality,
    Policy,
    Restricted,
    Threshold,
    WithinMargin,
    check_policy,
    checked_utilities,
    chosen_policy,
)
from lookahead_router.routes.orders import Listed, Preferred
from lookahead_router.types import CandidatePool, Prediction


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
    assert decide(policy, scores, priced(1, 2)).shape == (3, 2)
    np.testing.assert_array_equal(scores, before)


def test_policies_say_in_words_what_they_do():
    assert repr(BestQuality()) == "BestQuality()"
    assert "score_per_usd=10.0" in repr(CostAware(10.0))
    assert "minimum_probability=0.5" in repr(Threshold(0.5))
    assert "policy=BestQuality(), allow=None, deny=('a',)" in repr(Restricted(deny=["a"]))


# BestQuality


def test_best_quality_maximises_the_scores_and_needs_no_prices():
    scores = np.array([[0.1, 0.9], [0.6, 0.2]])
    np.testing.assert_array_equal(decide(BestQuality(), scores, CandidatePool(["a", "b"])), scores)


# CostAware


def test_a_call_costs_its_tokens_times_their_prices():
    pool = CandidatePool(
        [
            {"name": "dear", "input_usd_per_million_tokens": 3.0, "output_usd_per_million_tokens": 15.0},
            {"name": "free", "input_usd_per_million_tokens": 0.0, "output_usd_per_million_tokens": 0.0},
        ]
    )
    np.testing.assert_allclose(costs_of(pool, 1000, 200), [0.006, 0.0])


def test_cost_aware_subtracts_the_weighted_dollars():
    policy = CostAware(100.0, input_tokens=1000, output_tokens=500)
    utilities = decide(policy, np.array([[0.5, 0.5]]), priced(2.0, 0.0))
    np.testing.assert_allclose(utilities, [[0.5 - 100 * 0.003, 0.5]])


@relaxed
@given(markets(scores=st.floats(0, 1)))
def test_cost_aware_of_weight_zero_is_best_quality(market):
    scores, pool = market
    np.testing.assert_array_equal(decide(CostAware(0.0), scores, pool), decide(BestQuality(), scores, pool))


@relaxed
@given(markets(), exact_weights, exact_weights)
def test_raising_the_weight_never_raises_the_expected_cost(market, first, second):
    scores, pool = market
    tokens = {"input_tokens": 2**19, "output_tokens": 2**19}
    costs = costs_of(pool, **tokens)
    low, high = (
        costs[decide(CostAware(weight, **tokens), scores, pool).argmax(axis=1)] for weight in sorted([first, second])
    )
    assert (high <= low).all()


@relaxed
@given(markets())
def test_a_large_weight_takes_the_cheapest(market):
    scores, pool = market
    costs = costs_of(pool)
    chosen = decide(CostAware(1e6), scores, pool).argmax(axis=1)
    assert (costs[chosen] == costs.min()).all()


@pytest.mark.parametrize("field", ["score_per_usd", "input_tokens", "output_tokens"])
@pytest.mark.parametrize("value", [-0.001, float("nan"), float("inf"), float("-inf")])
def test_cost_aware_refuses_values_outside_their_domain(field, value):
    with pytest.raises(ConfigurationError, match=f"CostAware: {field} must be"):
        CostAware(**{"score_per_usd": 1.0, field: value})


# Threshold


def test_seconds_weigh_beside_dollars_and_have_to_be_known():
    pool = CandidatePool(
        {"name": name, "usd_per_call": 0.01, "seconds_per_call": seconds} for name, seconds in (("a", 2.0), ("b", 0.5))
    )
    scores = np.array([[0.9, 0.8]])
    utilities = decide(CostAware(10.0, score_per_second=0.25), scores, pool)
    np.testing.assert_allclose(utilities, [[0.9 - 0.1 - 0.5, 0.8 - 0.1 - 0.125]])
    with pytest.raises(ConfigurationError, match="score_per_second"):
        CostAware(10.0, score_per_second=-1.0)
    with pytest.raises(ConfigurationError, match="needs seconds_per_call; missing: m0, m1"):
        decide(CostAware(10.0, score_per_second=0.25), scores, priced(1, 2))


shares = st.integers(0, 16).map(lambda n: n / 16)


@relaxed
@given(markets(), shares)
@pytest.mark.parametrize(
    ("policy", "least"),
    [(KeepQuality, lambda share, best: share * best), (WithinMargin, lambda margin, best: best - margin)],
)
def test_the_cheapest_near_the_best_is_taken_and_no_dearer_one_is_worth_more(policy, least, market, share):
    scores, pool = market
    costs = costs_of(pool)
    for row, utilities in zip(scores, decide(policy(share), scores, pool), strict=True):
        near = row >= least(share, row.max())
        chosen = utilities.argmax()
        assert near[chosen]
        assert costs[chosen] == costs[near].min()
        assert utilities[near].min() >= 2 >= 1 >= utilities[~near].max(initial=0.0)
        np.testing.assert_array_equal(utilities[~near], row[~near])
        order = np.argsort(costs[near], kind="stable")
        assert (np.diff(utilities[near][order]) <= 0).all()


@pytest.mark.parametrize("policy", [KeepQuality, WithinMargin])
def test_nothing_to_give_up_is_the_best_and_everything_the_cheapest(policy):
    scores, pool = np.array([[0.25, 0.75, 0.5]]), priced(1, 3, 2)
    keep_all, keep_none = (1.0, 0.0) if policy is KeepQuality else (0.0, 1.0)
    assert decide(policy(keep_all), scores, pool).argmax() == 1
    assert decide(policy(keep_none), scores, pool).argmax() == 0
    for outside in (-0.1, 1.1, float("nan"), "0.5", True):
        with pytest.raises(ConfigurationError, match=dataclasses.fields(policy)[0].name):
            policy(outside)
    for field in ("input_tokens", "output_tokens"):
        with pytest.raises(ConfigurationError, match=field):
            policy(0.5, **{field: -1})


@pytest.mark.parametrize("policy", [KeepQuality(0.5), WithinMargin(0.5), Threshold(0.5)])
def test_the_cheapness_of_a_prompt_is_by_its_own_lengths_or_by_those_that_are_given(policy):
    pool = CandidatePool(
        [
            {"name": "reads", "input_usd_per_million_tokens": 4, "output_usd_per_million_tokens": 1},
            {"name": "writes", "input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 4},
        ]
    )
    scores = np.full((2, 2), 0.9)
    given = dataclasses.replace(policy, input_tokens=900, output_tokens=100)
    np.testing.assert_allclose(decide(given, scores, pool), np.tile([2.0, 3.0 - 1300 / 3700], (2, 1)))
    told = Prediction(pool, scores, scores, expected_tokens=[[100, 100], [1000, 2000]], prompt_tokens=[900, 100])
    np.testing.assert_allclose(given.utilities(told, pool), [[2.0, 3.0 - 1300 / 3700], [3.0 - 1400 / 8100, 2.0]])
    free = CandidatePool({"name": name, "usd_per_call": 0.0} for name in ("reads", "writes"))
    np.testing.assert_array_equal(decide(policy, scores, free), np.full((2, 2), 3.0))


def test_lengths_that_are_given_price_what_is_taken_off():
    policy = CostAware(1000.0, input_tokens=900, output_tokens=100)
    assert decide(policy, np.array([[0.9]]), priced(2.0)).item() == pytest.approx(0.9 - 1000 * 2.0 * 1000 / 1e6)


@pytest.mark.parametrize("policy", [BestQuality, "best", None, lambda prediction, pool: prediction.scores])
def test_what_is_no_policy_cannot_be_restricted(policy):
    with pytest.raises(ConfigurationError, match="must be a policy such as BestQuality"):
        Restricted(policy)


def test_threshold_takes_the_cheapest_that_passes():
    scores = np.array([[0.9, 0.7, 0.6, 0.1], [0.9, 0.7, 0.2, 0.1]])
    chosen = decide(Threshold(0.6), scores, priced(30, 10, 3, 1)).argmax(axis=1)
    assert chosen.tolist() == [2, 1]


def test_threshold_falls_back_to_the_best():
    scores = np.array([[0.2, 0.4, 0.3]])
    assert decide(Threshold(0.5), scores, priced(1, 5, 2)).argmax() == 1


def test_reaching_the_threshold_exactly_is_enough():
    assert decide(Threshold(0.5), np.array([[1.0, 0.5]]), priced(2, 1)).argmax() == 1


def test_candidates_that_pass_at_one_price_are_equal_in_utility():
    utilities = decide(Threshold(0.5), np.array([[0.6, 0.9]]), priced(2, 2))
    assert utilities[0, 0] == utilities[0, 1]


def test_threshold_works_where_all_candidates_are_free():
    utilities = decide(Threshold(0.5), np.array([[0.1, 0.6, 0.9], [0.1, 0.2, 0.4]]), priced(0, 0, 0))
    assert utilities.argmax(axis=1).tolist() == [1, 2]


def test_threshold_reads_probabilities_where_there_are_any_and_falls_back_to_scores():
    scores, probabilities = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.2, 0.6], [0.3, 0.2]])
    chosen = decide(Threshold(0.5), scores, priced(1, 5), probabilities).argmax(axis=1)
    assert chosen.tolist() == [1, 1]
    with pytest.warns(UncalibratedScoresWarning, match="not calibrated"):
        utilities = Threshold(0.5).utilities(Prediction(priced(1, 5), scores), priced(1, 5))
    assert utilities.argmax(axis=1).tolist() == [0, 1]


def test_the_dearest_that_passes_beats_a_perfect_score_that_does_not():
    probabilities = np.array([[0.2, 0.9]])
    assert decide(Threshold(0.5), np.array([[1.0, 0.0]]), priced(0, 50), probabilities).argmax() == 1


@relaxed
@given(judged_markets(), st.floats(0, 1))
@example((np.array([[1e-20, 2e-20]]), priced(1, 1), np.zeros((1, 2))), 0.5)
@example((np.array([[1.0, 1.0]]), priced(0, 50), np.ones((1, 2))), 1.0)
def test_threshold_is_cheapest_above_and_best_below(market, minimum):
    scores, pool, probabilities = market
    costs = costs_of(pool)
    utilities = decide(Threshold(minimum), scores, pool, probabilities)
    for row, chosen in enumerate(utilities.argmax(axis=1)):
        passing = probabilities[row] >= minimum
        if passing.any():
            assert passing[chosen]
            assert costs[chosen] == costs[passing].min()
        else:
            assert scores[row, chosen] == scores[row].max()


@relaxed
@given(judged_markets(), st.floats(0, 1), st.floats(0, 1))
def test_raising_the_probability_never_lowers_the_cost_where_a_candidate_reaches_it(market, first, second):
    scores, pool, probabilities = market
    low, high = sorted([first, second])
    reached = (probabilities >= high).any(axis=1)
    costs = costs_of(pool)
    before, after = (
        costs[decide(Threshold(minimum), scores, pool, probabilities).argmax(axis=1)] for minimum in (low, high)
    )
    assert (before <= after)[reached].all()


@pytest.mark.parametrize("value", [-0.001, 1.001, float("nan"), float("inf")])
def test_threshold_refuses_probabilities_outside_zero_to_one(value):
    with pytest.raises(ConfigurationError, match="Threshold: minimum_probability must be a number in"):
        Threshold(value)


@pytest.mark.parametrize("field", ["input_tokens", "output_tokens"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_threshold_refuses_token_counts_outside_their_domain(field, value):
    with pytest.raises(ConfigurationError, match=f"Threshold: {field} must be"):
        Threshold(0.5, **{field: value})


# Prices


def test_a_measured_cost_counts_before_the_token_prices():
    pool = priced(2, 2, 2).with_call_costs([0.25, float("nan"), 0.0])
    np.testing.assert_allclose(costs_of(pool, 1000, 500), [0.25, 0.003, 0.0])
    assert costs_of(CandidatePool([{"name": "a", "usd_per_call": 0.5}]), 1, 1).tolist() == [0.5]


@pytest.mark.parametrize("policy", [CostAware(0.0), Threshold(0.5), Restricted(max_usd_per_call=1)], ids=repr)
@pytest.mark.parametrize("known", [{}, {"input_usd_per_million_tokens": 1}, {"output_usd_per_million_tokens": 1}])
def test_a_policy_that_weighs_cost_names_the_candidates_without_prices(policy, known):
    pool = CandidatePool([*priced(1, 2), {"name": "unpriced", **known}])
    with pytest.raises(ConfigurationError, match=r"usd_per_call or both token prices.*missing: unpriced\."):
        decide(policy, np.zeros((1, 3)), pool)


# Order by name, and what every policy is held to


def test_a_list_is_followed_in_its_order_above_every_score():
    utilities = decide(Listed(("m2", "nobody", "m0")), np.array([[0.9, 1.0, 0.1, 0.3]]), priced(1, 1, 1, 1))
    assert utilities.tolist() == [[2.0, 1.0, 4.0, 0.3]]


@relaxed
@given(markets(), st.sets(st.integers(0, 4), min_size=1))
def test_the_preferred_go_before_all_others_and_each_keep_their_order(market, preferred):
    scores, pool = market
    policy = CostAware(1000.0)  # below zero
    names = tuple(f"m{n}" for n in preferred)
    is_preferred = np.array([name in names for name in pool.names])
    plain, found = decide(policy, scores, pool), decide(Preferred(policy, names), scores, pool)
    np.testing.assert_array_equal(found[:, is_preferred], plain[:, is_preferred])
    if is_preferred.any() and not is_preferred.all():
        lowered = plain[:, ~is_preferred] - found[:, ~is_preferred]
        assert np.ptp(lowered) < 1e-9
        assert found[:, is_preferred].min() >= found[:, ~is_preferred].max() + 1 - 1e-9


class Gives:
    """A policy of these utilities."""

    def __init__(self, *rows):
        self.rows = rows

    def utilities(self, prediction, pool):
        return self.rows


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (([0.5, float("nan")], [0.5, 0.5]), "no number, NaN or infinite"),
        (([0.5, 0.5], [INFINITE, 0.5]), "no number, NaN or infinite"),
        ((["a", "b"], ["a", "b"]), "no number, NaN or infinite"),
        (([0.5, 0.5], [-INFINITE, -INFINITE]), "excludes every candidate of m0, m1"),
        (([0.5, 0.5],), r"must give utilities of shape \(2, 2\), got \(1, 2\)"),
    ],
)
def test_utilities_that_choose_nobody_are_an_error(rows, message):
    prediction = Prediction(priced(1, 2), np.full((2, 2), 0.5))
    with pytest.raises(ConfigurationError, match=message):
        checked_utilities(Gives(*rows), prediction, prediction.pool)


def test_numbers_of_any_kind_are_utilities_and_whoever_is_excluded_may_be_in_any_row():
    prediction = Prediction(priced(1, 2), np.full((2, 2), 0.5))
    for rows in (([1, 2], [3, 4]), ([-INFINITE, 0.5], [0.5, -INFINITE])):
        np.testing.assert_array_equal(checked_utilities(Gives(*rows), prediction, prediction.pool), rows)


@pytest.mark.parametrize("policy", [BestQuality, "best", None])
def test_what_is_no_policy_is_told_from_one(policy):
    with pytest.raises(ConfigurationError, match="a policy is an object with utilities"):
        check_policy(policy, priced(1, 2))


def test_what_a_policy_lacks_is_said_before_there_is_a_prompt():
    pool = CandidatePool([{"name": "unpriced"}])
    check_policy(BestQuality(), pool)
    for policy in POLICIES[1:-1]:
        with pytest.raises(ConfigurationError, match="unpriced"):
            check_policy(policy, pool)


def test_a_share_stands_for_a_policy_and_not_beside_one():
    assert chosen_policy(None, None) is None
    assert chosen_policy(CostAware(1.0), None) == CostAware(1.0)
    assert chosen_policy(None, 0.9) == KeepQuality(0.9)
    with pytest.raises(ConfigurationError, match="give one of quality and policy"):
        chosen_policy(BestQuality(), 0.9)
