"""The rule of cascades: whom to ask next, and when to stop."""

import itertools

import numpy as np
import pytest

from lookahead_router.dispatch.checks import Reliability
from lookahead_router.dispatch.stopping import Stopping, log_odds_of
from lookahead_router.metrics import sigmoid

PERFECT = Reliability(0.999, 0.001)
NOTHING = Reliability(0.5, 0.5)
AGREEING = Reliability(0.99, 0.6, 0.02, correlation=0.2)


def begin(stopping, chances, prices):
    chances, prices = np.atleast_2d(chances).astype(float), np.atleast_2d(prices).astype(float)
    return stopping.next(log_odds_of(chances), np.zeros(chances.shape, dtype=bool), prices, 0)


def test_with_checks_that_tell_nothing_it_is_routing_before_the_call():
    generator = np.random.default_rng(0)
    chances, prices = generator.random((200, 4)), generator.random((200, 4)) * 0.5
    for reliabilities in ((), (NOTHING,), (NOTHING, NOTHING)):
        stopping = Stopping(reliabilities, 2)
        first = begin(stopping, chances, prices)
        np.testing.assert_array_equal(first, (chances - prices).argmax(axis=1))


def test_the_cheap_one_is_asked_first_where_the_check_is_good_and_the_dear_one_where_it_is_not():
    chances, prices = [0.6, 0.99], [0.02, 0.2]
    assert begin(Stopping((PERFECT,), 2), chances, prices) == [0]
    assert begin(Stopping((NOTHING,), 2), chances, prices) == [1]
    assert begin(Stopping((PERFECT,), 1), chances, prices) == [1], "with one call nothing can be mended"


def test_a_pass_ends_it_and_a_failure_asks_the_next_if_the_gain_is_worth_its_price():
    stopping = Stopping((Reliability(0.9, 0.1),), 2)
    log_odds, asked = log_odds_of(np.array([[0.6, 0.9]])), np.array([[True, False]])
    before = np.zeros((1, 2), dtype=bool)
    for says, price, expected in ((1.0, 0.1, -1), (0.0, 0.1, 1), (0.0, 0.9, -1), (np.nan, 0.1, 1), (np.nan, 0.4, -1)):
        after = stopping.updated(log_odds, before, np.array([0]), [np.array([says])])
        assert stopping.next(after, asked, np.full((1, 2), price), 1) == [expected], (says, price)


def test_beliefs_follow_bayes_rule_and_the_first_check_that_fails_decides():
    stopping = Stopping((Reliability(0.9, 0.3), Reliability(0.8, 0.4)), 2)
    before, nobody = log_odds_of(np.array([[0.5, 0.7]])), np.zeros((1, 2), dtype=bool)

    def after(*says):
        return sigmoid(stopping.updated(before, nobody, np.array([0]), [np.array([each]) for each in says]))[0, 0]

    assert after(1.0, 1.0) == pytest.approx(0.9 * 0.8 / (0.9 * 0.8 + 0.3 * 0.4))
    assert after(0.0, 1.0) == after(0.0, 0.0) == after(0.0, np.nan) == pytest.approx(0.1 / (0.1 + 0.7))
    assert after(np.nan, 1.0) == pytest.approx(0.8 / (0.8 + 0.4))


def test_agreement_speaks_for_both_and_disagreement_for_the_better_one():
    stopping = Stopping((AGREEING,), 3)
    before, asked = log_odds_of(np.array([[0.9, 0.5, 0.7]])), np.array([[True, False, False]])

    def after(says):
        return sigmoid(stopping.updated(before, asked, np.array([1]), [np.array([says])]))[0]

    agreed, apart = after(1.0), after(0.0)
    assert agreed[0] > 0.9
    assert agreed[1] > 0.85
    assert 0.7 < apart[0] < 0.9
    assert apart[1] < 0.2
    assert agreed[2] == apart[2] == pytest.approx(0.7), "whoever was not asked stays, without a shift of others"
    np.testing.assert_allclose(after(np.nan), [0.9, 0.5, 0.7])


def test_a_failure_says_of_the_others_what_was_measured():
    stopping = Stopping((Reliability(0.9, 0.3, others_failed=-1.0),), 2)
    before, nobody = log_odds_of(np.array([[0.5, 0.7]])), np.zeros((1, 2), dtype=bool)
    after = stopping.updated(before, nobody, np.array([0]), [np.array([0.0])])
    assert after[0, 1] == pytest.approx(before[0, 1] - 1.0)


@pytest.mark.parametrize("max_calls", [2, 3])
@pytest.mark.parametrize("reliabilities", [(AGREEING,), (Reliability(0.9, 0.5), AGREEING)])
def test_the_worth_is_that_of_going_through_all_that_may_be_said(max_calls, reliabilities):
    """A plain recursion over one prompt, with chances as joint tables in place of log-odds."""

    def weigh(each, p, q, passes):
        right, wrong, mixed = each.shares(passes)
        if mixed is None:
            chance = p * right + (1 - p) * wrong
            return chance, p * right / chance, q
        together = min(each.correlation * (p * (1 - p) * q * (1 - q)) ** 0.5, p * (1 - q), q * (1 - p))
        table = {(1, 1): p * q + together, (1, 0): p * (1 - q) - together}
        table |= {(0, 1): q * (1 - p) - together, (0, 0): (1 - p) * (1 - q) + together}
        table = {key: value * (right, mixed, wrong)[2 - sum(key)] for key, value in table.items()}
        chance = sum(table.values())
        return chance, (table[1, 1] + table[1, 0]) / chance, (table[1, 1] + table[0, 1]) / chance

    def value(chances, asked, prices, n_calls):
        best = max(asked, key=chances.__getitem__, default=None)
        worths = [-np.inf if best is None else chances[best]]
        for k in range(len(chances)) if n_calls < max_calls else ():
            if k in asked:
                continue
            total, reached, p, q = -prices[k], 1.0, chances[k], 0.0 if best is None else chances[best]
            active = [each for each in reliabilities if best is not None or each.passes_mixed is None]
            for each in active:
                chance, p_failed, q_failed = weigh(each, p, q, False)
                total += (
                    reached
                    * chance
                    * value(told(chances, k, p_failed, best, q_failed), [*asked, k], prices, n_calls + 1)
                )
                chance, p, q = weigh(each, p, q, True)
                reached *= chance
            worths.append(total + reached * value(told(chances, k, p, best, q), [*asked, k], prices, n_calls + 1))
        return max(worths)

    def told(chances, k, p, best, q):
        return [p if j == k else q if j == best else c for j, c in enumerate(chances)]

    generator = np.random.default_rng(1)
    for chances, prices in itertools.islice(
        zip(generator.random((8, 3)), generator.random((8, 3)) * 0.1, strict=True), 8
    ):
        stopping = Stopping(reliabilities, max_calls)
        worth = stopping._value(log_odds_of(chances[None]), np.zeros((1, 3), dtype=bool), prices[None], 0)
        assert worth[0] == pytest.approx(value(list(chances), [], prices, 0), abs=1e-6)


def test_an_order_is_kept_and_whoever_may_not_be_asked_is_not():
    chances, prices = np.array([[0.3, 0.9, 0.5]]), np.zeros((1, 3))
    assert begin(Stopping((PERFECT,), 2, order=(2, 0)), chances, prices) == [2]
    chances[0, 1] = np.nan
    assert begin(Stopping((PERFECT,), 3), chances, prices) != [1]


def test_a_prompts_choice_does_not_depend_on_the_prompts_beside_it():
    generator = np.random.default_rng(2)
    chances, prices = generator.random((60, 5)), generator.random((60, 5)) * 0.1
    stopping = Stopping((Reliability(0.9, 0.4), AGREEING), 3)
    together = begin(stopping, chances, prices)
    assert together.tolist() == [int(begin(stopping, c, p)[0]) for c, p in zip(chances, prices, strict=True)]
