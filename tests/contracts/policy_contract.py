"""What every policy keeps. Subclass it and give a `policy` fixture."""

import json

import numpy as np
import pytest

from lookahead_router.policies import Policy
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool, Prediction


def decide(policy, scores, pool):
    """The policy's utilities for what a calibrated predictor says of the pool's candidates."""
    return policy.utilities(Prediction(pool, scores, scores**2), pool)


class PolicyContract:
    @pytest.fixture
    def pool(self):
        prices = {"cheap": 0.1, "middle": 1.0, "dear": 10.0}
        return CandidatePool(
            Candidate(name=n, input_usd_per_million_tokens=p, output_usd_per_million_tokens=3 * p)
            for n, p in prices.items()
        )

    @pytest.fixture
    def scores(self):
        return np.random.default_rng(0).random((50, 3))

    def test_it_follows_the_protocol(self, policy):
        assert isinstance(policy, Policy)

    def test_utilities_have_the_shape_of_the_scores(self, policy, pool, scores):
        assert decide(policy, scores, pool).shape == scores.shape
        assert decide(policy, scores[:0], pool).shape == (0, 3)

    def test_it_is_pure(self, policy, pool, scores):
        before = scores.copy()
        first = decide(policy, scores, pool)
        np.testing.assert_array_equal(decide(policy, scores, pool), first)
        np.testing.assert_array_equal(scores, before)

    def test_a_row_depends_on_itself_alone(self, policy, pool, scores):
        whole = decide(policy, scores, pool)
        rows = [decide(policy, scores[i : i + 1], pool)[0] for i in range(len(scores))]
        np.testing.assert_allclose(whole, rows)

    def test_a_better_score_never_lowers_a_candidates_utility(self, policy, pool, scores):
        raised = scores.copy()
        raised[:, 1] = np.minimum(raised[:, 1] + 0.2, 1.0)
        assert (decide(policy, raised, pool)[:, 1] >= decide(policy, scores, pool)[:, 1]).all()

    def test_a_router_decides_by_it(self, policy, pool, scores):
        class Predictor:
            name, revision = "fixed", None

            def predict(self, prompts):
                return Prediction(pool, scores[: len(prompts)], scores[: len(prompts)] ** 2)

        Predictor.pool = pool
        decisions = Router(Predictor(), policy=policy).route_batch(["a"] * 5)
        utilities = decide(policy, scores[:5], pool)
        assert [decision.name for decision in decisions] == [pool.names[k] for k in utilities.argmax(axis=1)]
        for decision in decisions:
            assert set(decision.scores) == set(pool.names)
            json.dumps(decision.to_dict(), allow_nan=False)

    def test_its_repr_says_what_it_is(self, policy):
        assert repr(policy).startswith(type(policy).__name__ + "(")
