"""Asking on as a decision process: a world whose best policy is known."""

from functools import cache

import numpy as np
import pytest

from lookahead_router.dispatch.checks import OwnCheck, Reliability
from lookahead_router.dispatch.stopping import log_odds_of
from lookahead_router.evaluation.cascades import Looked
from lookahead_router.evaluation.hops import Hops
from lookahead_router.networks import hops as networks

RIGHT = np.array([[0.9, 0.3, 0.6], [0.2, 0.8, 0.7]])
"""Chance of a right answer by kind of prompt and candidate; kinds are alike in number."""
PRICES = np.array([0.02, 0.05, 0.2])
PASSES = np.array([0.1, 0.95])
"""How often the check passes wrong and right answers."""
MAX_CALLS = 3


def world(n=4000, seed=0, max_calls=MAX_CALLS):
    """The process, and the kind of each prompt."""
    generator = np.random.default_rng(seed)
    kinds = np.arange(n) % 2
    scores = (generator.random((n, 3)) < RIGHT[kinds]).astype(float)
    found = (generator.random((n, 3)) < PASSES[scores.astype(int)]).astype(float)
    check = OwnCheck(lambda question, answer: None, Reliability(0.9, 0.1), name="tells")
    return Hops(log_odds_of(RIGHT[kinds]), Looked((check,), (found,)), scores, PRICES, max_calls), kinds


def best_value(weight, max_calls=MAX_CALLS):
    """What the best policy gains in that world, by going through all that can happen."""

    @cache
    def value(kind, said):
        """`said`: of each candidate None before it is asked, then whether its answer passes."""
        values = [right_after(kind, k, passes) for k, passes in enumerate(said) if passes is not None]
        if len(values) < max_calls:
            for k in (k for k in range(3) if said[k] is None):
                p = RIGHT[kind, k] * PASSES[1] + (1 - RIGHT[kind, k]) * PASSES[0]
                after = {passes: value(kind, (*said[:k], passes, *said[k + 1 :])) for passes in (True, False)}
                values.append(p * after[True] + (1 - p) * after[False] - weight * PRICES[k])
        return max(values)

    def right_after(kind, k, passes):
        share = PASSES if passes else 1 - PASSES
        right, wrong = RIGHT[kind, k] * share[1], (1 - RIGHT[kind, k]) * share[0]
        return right / (right + wrong)

    return float(np.mean([value(kind, (None,) * 3) for kind in (0, 1)]))


@pytest.mark.parametrize("weight", [0.0, 1.0, 5.0])
def test_dynamic_programming_on_logged_answers_finds_the_value_of_the_best_policy(weight):
    hops, kinds = world()
    (solved,) = hops.solve([weight], kinds)
    assert solved.value == pytest.approx(best_value(weight), abs=0.02)
    assert hops.gain(solved.done, weight) == pytest.approx(solved.value, abs=1e-9)


@pytest.fixture(scope="module")
def learnt():
    """A policy for all weights from 0 to 5."""
    return world()[0].learn(np.array([0.0, 0.1, 5.0]), n_updates=250, n_episodes=256, learning_rate=5e-3)


@pytest.mark.parametrize("weight", [0.0, 1.0, 5.0])
def test_the_learnt_policy_reaches_the_best_value_on_prompts_that_it_has_not_seen(learnt, weight):
    fresh, _ = world(8000, seed=1)
    assert fresh.gain(fresh.run(learnt, weight), weight) >= 0.98 * best_value(weight) - 0.005


def test_it_beats_every_policy_that_decides_before_the_call(learnt):
    fresh, kinds = world(8000, seed=1)
    before = max(
        np.mean([fresh.scores[kinds == kind, k].mean() - PRICES[k] for kind, k in enumerate(pair)])
        for pair in np.ndindex(3, 3)
    )
    assert fresh.gain(fresh.run(learnt, 1.0), 1.0) > before + 0.03


def test_where_a_dollar_is_worth_more_than_any_answer_the_cheapest_is_asked_once():
    hops, kinds = world()
    for done in (hops.solve([1e4], kinds)[0].done, hops.run(hops.learn(np.array([1e3, 1e4]), n_updates=60), 1e4)):
        assert done.n_calls.max() == 1
        assert (done.accepted == 0).all()


def test_the_cost_of_what_was_asked_is_part_of_what_is_seen():
    hops, _ = world(10)
    rows, weights = np.zeros(2, dtype=int), np.ones(2)
    asked = np.array([[True, False, False], [False, False, True]])
    seen, allowed = hops.observe(rows, asked, weights)
    assert seen[1, -1] > seen[0, -1]
    np.testing.assert_array_equal(allowed[0], [False, True, True, True, False, False])
    everybody = np.ones((1, 3), dtype=bool)
    np.testing.assert_array_equal(hops.observe(rows[:1], everybody, weights[:1])[1][0], [False] * 3 + [True] * 3)


def test_a_check_is_seen_only_of_answers_that_were_paid_for():
    hops, _ = world(50)
    nobody = np.zeros((50, 3), dtype=bool)
    blind, _ = hops.observe(np.arange(50), nobody, np.ones(50))
    assert len(np.unique(blind, axis=0)) == 2  # the kinds
    assert len(np.unique(hops.observe(np.arange(50), nobody | [True, False, False], np.ones(50))[0], axis=0)) == 4


def test_the_same_seed_learns_the_same_policy():
    hops, _ = world(200)
    weights = np.array([0.0, 1.0])
    one, again, other = (hops.learn(weights, seed=seed, n_updates=3, n_episodes=32) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.actor["act"], again.actor["act"])
    assert not np.array_equal(one.actor["act"], other.actor["act"])


def test_a_policy_that_is_kept_is_not_learnt_again_and_a_damaged_or_another_one_is(tmp_path, monkeypatch):
    times, learn = [], networks.learn_policy
    monkeypatch.setattr(networks, "learn_policy", lambda *args, **options: times.append(1) or learn(*args, **options))
    options = {"cache": tmp_path, "n_updates": 2, "n_episodes": 16}
    weights = np.array([0.0, 1.0])
    hops, _ = world(100)
    one = hops.learn(weights, **options)
    again = world(100)[0].learn(weights, **options)
    assert len(times) == 1
    for name, value in one.actor.items():
        np.testing.assert_array_equal(again.actor[name], value)
    hops.learn(weights, seed=1, **options)
    hops.learn(weights * 2, **options)
    world(100, seed=1)[0].learn(weights, **options)
    assert len(times) == 4
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    hops.learn(weights, **options)
    assert len(times) == 5


def test_learning_and_solving_tell_how_far_they_are():
    hops, kinds = world(200)
    for work in (
        lambda tell: hops.learn(np.array([0.0, 1.0]), n_updates=4, n_episodes=16, tell=tell),
        lambda tell: hops.solve([0.0, 1.0, 2.0, 3.0], kinds, tell=tell),
    ):
        shares = []
        work(shares.append)
        assert shares == [0.0, 0.25, 0.5, 0.75]
