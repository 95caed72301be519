import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.evaluation.prices import expected_pool, usual_costs
from lookahead_router.types import Candidate, CandidatePool

POOL = CandidatePool(["a", "b"])


def rows(a=None, b=None):
    return RoutingDataset.from_examples(
        [RoutingExample("x", {"b": Outcome(score=1.0, cost_usd=b), "a": Outcome(score=0.0, cost_usd=a)})]
    )


def test_a_pool_that_prices_every_candidate_stays_as_it_is():
    by_tokens = Candidate(name="a", input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=2.0)
    pool = CandidatePool([by_tokens, Candidate(name="b", usd_per_call=0.5)])
    assert expected_pool(pool, rows(7.0, 8.0)) is pool


def test_each_candidate_costs_what_the_first_dataset_that_knows_it_shows():
    found = expected_pool(POOL, None, rows(a=1.0), rows(a=3.0, b=4.0), rows(a=5.0, b=6.0))
    np.testing.assert_allclose(usual_costs(found), [1.0, 4.0])


def test_prices_of_a_pool_that_lacks_one_give_way_to_what_was_measured_for_all():
    half = CandidatePool([Candidate(name="a", usd_per_call=9.0), Candidate(name="b")])
    np.testing.assert_allclose(usual_costs(expected_pool(half, rows(a=1.0, b=2.0))), [1.0, 2.0])
    np.testing.assert_allclose(usual_costs(expected_pool(half, rows(b=2.0))), [9.0, 2.0])


def test_a_price_that_nobody_knows_stays_unknown():
    assert usual_costs(expected_pool(POOL, rows(a=1.0))).tolist() == [1.0, pytest.approx(np.nan, nan_ok=True)]
