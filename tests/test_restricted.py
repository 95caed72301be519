"""Which candidates a policy may choose at all."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markets import (
    costs_of,
    decide,
    judged_markets,
    priced,
    relaxed,
)

from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.policies import (
    BestQuality,
    CostAware,
    KeepQuality,
    Restricted,
    Threshold,
    rename,
)
from lookahead_router.types import CandidatePool


def zoo() -> CandidatePool:
    return CandidatePool(
        [
            {"name": "small", "usd_per_call": 0.001, "context_window_tokens": 4096},
            {
                "name": "large",
                "usd_per_call": 0.1,
                "context_window_tokens": 128_000,
                "capabilities": ["tools", "images"],
            },
            {"name": "vague", "usd_per_call": 0.01, "capabilities": ["tools"]},
        ]
    )


@pytest.mark.parametrize(
    ("rules", "excluded"),
    [
        ({}, {}),
        ({"allow": ["large", "vague"]}, {"small": "is not on the allow list"}),
        ({"deny": ["large"]}, {"large": "is on the deny list"}),
        ({"allow": ["large", "small"], "deny": ["large"]}, {"large": "deny", "vague": "allow"}),
        ({"max_usd_per_call": 0.01}, {"large": "costs 0.1 dollars a call, above 0.01"}),
        ({"capabilities": ["tools"]}, {"small": "lacks tools"}),
        ({"capabilities": ["images", "tools"]}, {"small": "lacks images, tools", "vague": "lacks images"}),
        ({"context_tokens": 8000}, {"small": "has a window of 4096 tokens, below 8000"}),
        ({"context_tokens": 4096}, {}),
        ({"policy": Restricted(deny=["small"]), "deny": ["vague"]}, {"small": "deny", "vague": "deny"}),
    ],
    ids=repr,
)
def test_every_rule_says_whom_it_excludes(rules, excluded):
    policy = Restricted(**rules)
    found = policy.excluded(zoo())
    assert found.keys() == excluded.keys()
    assert all(reason in found[name] for name, reason in excluded.items())
    utilities = decide(policy, np.array([[0.1, 0.3, 0.2]]), zoo())[0]
    assert {name for name, utility in zip(zoo().names, utilities, strict=True) if utility == -np.inf} == set(excluded)


def test_token_prices_count_by_the_expected_tokens():
    pool = priced(1, 10)
    assert Restricted(max_usd_per_call=0.001).excluded(pool).keys() == {"m1"}
    assert Restricted(max_usd_per_call=0.001, input_tokens=50, output_tokens=50).excluded(pool) == {}


def test_the_other_policy_sees_the_admitted_candidates_alone():
    pool = CandidatePool([*priced(4, 2), "unpriced"])
    scores = np.array([[0.3, 0.2, 0.9]])
    utilities = decide(Restricted(CostAware(10.0), deny=["unpriced"]), scores, pool)
    np.testing.assert_array_equal(utilities[:, :2], decide(CostAware(10.0), scores[:, :2], priced(4, 2)))
    nested = Restricted(Restricted(deny=["m0"]), deny=["unpriced"])
    assert decide(nested, scores, pool)[0].tolist() == [-np.inf, 0.2, -np.inf]


def test_probabilities_reach_the_other_policy_if_it_reads_them():
    scores, probabilities = np.array([[0.9, 0.1, 0.5]]), np.array([[0.1, 0.9, 0.9]])
    policy = Restricted(Threshold(0.5), deny=["m2"])
    assert decide(policy, scores, priced(3, 2, 1), probabilities).argmax() == 1
    assert decide(policy, scores, priced(3, 2, 1), scores).argmax() == 0


restrictions = st.fixed_dictionaries(
    {},
    optional={
        "allow": st.lists(st.integers(0, 4)),
        "deny": st.lists(st.integers(0, 4)),
        "max_usd_per_call": st.floats(0, 0.06),
    },
)


@relaxed
@given(judged_markets(), restrictions, st.sampled_from([BestQuality(), CostAware(20.0), Threshold(0.5)]))
def test_no_excluded_candidate_is_chosen_and_the_rest_decide_as_if_alone(market, rules, policy):
    scores, pool, probabilities = market
    for field in ("allow", "deny"):
        if field in rules:
            rules = {**rules, field: [pool.names[n % len(pool)] for n in rules[field]]}
    restricted = Restricted(policy, **rules)
    costs = costs_of(pool)
    budget = rules.get("max_usd_per_call", np.inf)
    kept = [
        k
        for k, name in enumerate(pool.names)
        if name in rules.get("allow", pool.names) and name not in rules.get("deny", ()) and costs[k] <= budget
    ]
    if not kept:
        with pytest.raises(ConfigurationError, match="excludes every candidate"):
            decide(restricted, scores, pool, probabilities)
        return
    alone = decide(policy, scores[:, kept], pool.subset(pool.names[k] for k in kept), probabilities[:, kept])
    found = decide(restricted, scores, pool, probabilities)
    np.testing.assert_array_equal(found[:, kept], alone)
    assert (np.delete(found, kept, axis=1) == -np.inf).all()
    assert (costs[found.argmax(axis=1)] <= budget).all()


@relaxed
@given(
    judged_markets(), st.sampled_from([BestQuality(), CostAware(20.0), Threshold(0.5), KeepQuality(0.9)]), st.randoms()
)
def test_neither_order_nor_names_of_the_candidates_change_a_utility(market, policy, random):
    scores, pool, probabilities = market
    utilities = decide(policy, scores, pool, probabilities)
    order = random.sample(range(len(pool)), len(pool))
    shuffled = CandidatePool(pool.candidates[k] for k in order)
    np.testing.assert_array_equal(
        decide(policy, scores[:, order], shuffled, probabilities[:, order]), utilities[:, order]
    )

    kept = pool.names[: 1 + len(pool) // 2]
    restricted = Restricted(policy, allow=kept, deny=[name for name in pool.names if name not in kept])
    names = {each.name: f"another {each.name}" for each in pool}
    others = CandidatePool(replace(each, name=names[each.name]) for each in pool)
    np.testing.assert_array_equal(
        decide(rename(restricted, pool, names), scores, others, probabilities),
        decide(restricted, scores, pool, probabilities),
    )


def test_nothing_left_is_an_error_that_says_which_rule_took_whom():
    policy = Restricted(deny=["large"], capabilities=["tools"], max_usd_per_call=0.005)
    with pytest.raises(ConfigurationError) as caught:
        decide(policy, np.zeros((1, 3)), zoo())
    for reason in ("small lacks tools", "large is on the deny list", "vague costs 0.01 dollars a call, above 0.005"):
        assert reason in str(caught.value)


@pytest.mark.parametrize("field", ["allow", "deny"])
def test_an_unknown_name_is_an_error_also_within_another_restriction(field):
    policy = Restricted(**{field: ["smal"]})
    for wrong in (policy, Restricted(policy, deny=["vague"])):
        with pytest.raises(UnknownCandidateError, match="Did you mean 'small'"):
            decide(wrong, np.zeros((1, 3)), zoo())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"allow": "small"}, "allow is a list; wrap the single name 'small'"),
        ({"deny": "small"}, "deny is a list"),
        ({"capabilities": "tools"}, "capabilities is a list"),
        ({"max_usd_per_call": -1}, "max_usd_per_call must be"),
        ({"max_usd_per_call": float("nan")}, "max_usd_per_call must be"),
        ({"context_tokens": -1}, "context_tokens must be"),
        ({"input_tokens": float("inf")}, "input_tokens must be"),
    ],
)
def test_restricted_refuses_values_outside_their_domain(rules, message):
    with pytest.raises(ConfigurationError, match=f"Restricted: {message}"):
        Restricted(**rules)


def test_names_of_a_policy_follow_the_pool():
    policy = Restricted(Restricted(allow=["small", "large"]), deny=["small", "vague"])
    names = {"small": "s", "large": "large"}
    assert rename(policy, zoo(), names) == Restricted(Restricted(allow=["s", "large"]), deny=["s"])
    assert rename(BestQuality(), zoo(), names) == BestQuality()
    with pytest.raises(UnknownCandidateError):
        rename(Restricted(deny=["x"]), zoo(), names)
