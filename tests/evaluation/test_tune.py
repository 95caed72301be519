import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import ConfigurationError, DataError, PoolMismatchError
from lookahead_router.evaluation.prices import expected_pool
from lookahead_router.evaluation.tune import (
    best_within,
    cheapest_reaching,
    threshold_grid,
    tune,
    weight_grid,
)
from lookahead_router.policies import CostAware, Restricted, Threshold
from lookahead_router.router import Router
from lookahead_router.types import CandidatePool, Prediction

relaxed = settings(deadline=None, max_examples=100)

# Sixteenths: sums and products stay exact, so ties are ties.
points = st.lists(st.tuples(*[st.integers(0, 16).map(lambda n: n / 16)] * 2), min_size=1, max_size=12)


class Told:
    """Predicts the probabilities that the prompt holds, for `cheap` and `dear`; calibrated already."""

    name, revision = "told", None

    def __init__(self, pool=("cheap", "dear")):
        self.pool = CandidatePool(pool)

    def predict(self, prompts):
        chances = np.array([json.loads(prompt) for prompt in prompts]).reshape(-1, len(self.pool))
        return Prediction(self.pool, chances, chances)


def make_dataset(n=60, seed=0, costs=(0.001, 0.01), splits=("train", "validation", "test")):
    generator = np.random.default_rng(seed)
    examples = []
    for row in range(n):
        chances = np.round(generator.uniform([0.1, 0.6], [1.0, 1.0]), 4)
        good = generator.uniform(size=2) < chances
        outcomes = {
            name: Outcome(score=float(good[k]), cost_usd=costs and costs[k]) for k, name in enumerate(("cheap", "dear"))
        }
        examples.append(RoutingExample(json.dumps(chances.tolist()), outcomes, split=splits[row % len(splits)]))
    return RoutingDataset.from_examples(examples)


@pytest.fixture
def router():
    return Router(Told())


@relaxed
@given(points, st.integers(0, 16).map(lambda n: n / 16))
def test_the_cheapest_that_reaches_a_score_is_that_of_brute_force(settings, target):
    costs, scores = np.array(settings).T
    reaching = [(cost, -score) for cost, score in settings if score >= target]
    if not reaching:
        with pytest.raises(ConfigurationError, match=f"the best has {scores.max():.4f}"):
            cheapest_reaching(costs, scores, target)
        return
    best = cheapest_reaching(costs, scores, target)
    assert (costs[best], -scores[best]) == min(reaching)


@relaxed
@given(points, st.integers(0, 16).map(lambda n: n / 16))
def test_the_best_within_a_budget_is_that_of_brute_force(settings, budget):
    costs, scores = np.array(settings).T
    within = [(-score, cost) for cost, score in settings if cost <= budget]
    if not within:
        with pytest.raises(ConfigurationError, match="no setting stays within"):
            best_within(costs, scores, budget)
        return
    best = best_within(costs, scores, budget)
    assert (-scores[best], costs[best]) == min(within)


@relaxed
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_thresholds_lie_in_their_domain_and_hold_both_ends(values):
    grid = [policy.minimum_probability for policy in threshold_grid(np.array(values))]
    assert grid == sorted(set(grid))
    assert (grid[0], grid[-1]) == (0.0, 1.0)


@relaxed
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=5))
def test_weights_run_from_quality_alone_to_cost_alone(costs):
    costs = np.round(costs, 6)
    grid = weight_grid(costs)
    assert grid[0] == CostAware(0.0)
    scores = np.where(costs == costs.min(), 0.0, 1.0)
    assert costs[(scores - grid[-1].score_per_usd * costs).argmax()] == costs.min()


@pytest.mark.parametrize("kind", ["threshold", "cost-aware"])
@pytest.mark.parametrize("target", [{"target_quality": 0.97}, {"target_usd": 0.004}], ids=repr)
def test_the_policy_does_what_the_report_says(router, kind, target):
    dataset = make_dataset(300)
    report = tune(router, dataset, kind=kind, **target)
    pool = expected_pool(router.pool, dataset.filter(split="train"))
    again = router.with_aliases({candidate.name: candidate for candidate in pool}).with_policy(report.policy)
    assert [result.split for result in report.results] == ["validation", "test"]
    for result in report.results:
        rows = dataset.filter(split=result.split)
        choices = np.array([pool.index(decision.name) for decision in again.route_batch(rows.prompts)])
        picked = np.arange(len(rows)), choices
        assert result.n_prompts == len(rows)
        assert result.score == pytest.approx(rows.scores[picked].mean())
        assert result.usd_per_prompt == pytest.approx(rows.costs_usd[picked].mean())
        assert result.best_single == "dear"
        assert result.best_single_usd_per_prompt == pytest.approx(0.01)
        assert result.saved == pytest.approx(1 - result.usd_per_prompt / 0.01)
        assert sum(result.shares.values()) == pytest.approx(1)
    chosen = report.results[0]
    if "target_quality" in target:
        assert chosen.score >= 0.97 * chosen.best_single_score - 1e-12
        assert chosen.saved > 0
    else:
        assert chosen.usd_per_prompt <= 0.004
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["policy"] == repr(report.policy)


def test_no_threshold_that_reaches_the_target_is_cheaper(router):
    dataset = make_dataset(300)
    found = tune(router, dataset, target_quality=0.97).results[0]
    rows = dataset.filter(split="validation")
    probabilities = router.predictor.predict(rows.prompts).scores
    pool = router.pool.with_call_costs([0.001, 0.01])
    for threshold in threshold_grid(probabilities):
        picked = (
            np.arange(len(rows)),
            threshold.utilities(Prediction(pool, probabilities, probabilities), pool).argmax(axis=1),
        )
        if rows.scores[picked].mean() >= 0.97 * rows.scores[:, 1].mean():
            assert rows.costs_usd[picked].mean() >= found.usd_per_prompt - 1e-12


def test_a_candidate_without_a_price_is_an_error_that_says_where_to_give_it(router):
    with pytest.raises(ConfigurationError, match=r"missing: cheap, dear.*cost_usd in the outcomes"):
        tune(router, make_dataset(30, costs=None), target_usd=1.0)


def test_the_prices_of_a_router_that_has_them_all_are_those_it_goes_by(router):
    dear = router.with_prices({"cheap": 0.5, "dear": 0.7})
    assert tune(dear, make_dataset(60), target_usd=1.0).usd_per_call == {"cheap": 0.5, "dear": 0.7}


def test_a_restricted_router_is_tuned_within_its_rules(router):
    dataset = make_dataset(300)
    whole = tune(router, dataset, target_usd=1.0)
    for narrow in (router.restrict_to(["cheap"]), router.with_policy(Restricted(deny=["dear"]))):
        report = tune(narrow, dataset, target_usd=1.0)
        assert report.results[1].shares == {"cheap": 1.0, "dear": 0.0}
        assert report.results[1].best_single == "dear"
        assert report.results[1].best_single_score == whole.results[1].best_single_score
    assert report.policy.deny == ("dear",)
    assert isinstance(report.policy.policy, Threshold)


def test_dollars_are_those_of_the_prices_where_no_cost_was_observed():
    router = Router(Told(CandidatePool(["cheap", "dear"]).with_call_costs([0.5, 0.7])))
    result = tune(router, make_dataset(60, costs=None), target_usd=0.5).results[0]
    assert result.usd_per_prompt == pytest.approx(0.5)
    assert result.shares == {"cheap": 1.0, "dear": 0.0}


def test_a_free_best_single_candidate_leaves_nothing_to_save(router):
    assert tune(router, make_dataset(60, costs=(0.0, 0.0)), target_quality=0.9).results[0].saved is None


def test_prompts_without_every_score_are_left_out_and_counted(router):
    dataset = make_dataset(60)
    dataset.scores[1, 0] = dataset.scores[2, 1] = np.nan
    report = tune(router, dataset, target_usd=1.0)
    assert report.n_unscored == 2
    assert [result.n_prompts for result in report.results] == [19, 19]


def test_without_a_test_split_the_choice_alone_is_shown(router):
    dataset = make_dataset(60, splits=("validation",))
    assert [result.split for result in tune(router, dataset, target_usd=1.0).results] == ["validation"]


def test_the_routers_own_policy_does_not_matter(router):
    dataset = make_dataset(60)
    priced = router.with_prices({"cheap": 0.001, "dear": 0.01})
    other = priced.with_policy(Threshold(0.9))
    assert tune(other, dataset, target_usd=0.005) == tune(priced, dataset, target_usd=0.005)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one target"),
        ({"target_quality": 0.9, "target_usd": 1.0}, "give one target"),
        ({"target_quality": 0.0}, "share > 0"),
        ({"target_quality": float("nan")}, "share > 0"),
        ({"target_usd": -1.0}, "dollars >= 0"),
        ({"target_quality": 2.0}, "no setting reaches a mean score"),
        ({"target_usd": 0.0001}, "no setting stays within 0.0001 dollars a prompt; the cheapest takes 0.001"),
        ({"target_usd": 1.0, "kind": "magic"}, "unknown policy 'magic'"),
    ],
    ids=repr,
)
def test_what_cannot_be_had_is_an_error_that_says_why(router, options, message):
    with pytest.raises(ConfigurationError, match=message):
        tune(router, make_dataset(60), **options)


def test_other_candidates_an_absent_split_and_unjudged_rows_are_errors_of_the_data(router):
    with pytest.raises(PoolMismatchError):
        tune(Router(Told(["cheap", "other"])), make_dataset(60), target_usd=1.0)
    with pytest.raises(DataError, match="no row has split 'validation'"):
        tune(router, make_dataset(60, splits=("train",)), target_usd=1.0)
    dataset = make_dataset(60)
    dataset.scores[:] = np.nan
    with pytest.raises(DataError, match="no prompt has a score of every candidate"):
        tune(router, dataset, target_usd=1.0)
