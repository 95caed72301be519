"""What every policy keeps. Subclass it and give a `policy` fixture."""

import json

import numpy as np
import pytest

from lookahead_router.policies import Policy, reads_probabilities
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool


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
        assert policy.utilities(scores, pool).shape == scores.shape
        assert policy.utilities(scores[:0], pool).shape == (0, 3)

    def test_it_is_pure(self, policy, pool, scores):
        before = scores.copy()
        first = policy.utilities(scores, pool)
        np.testing.assert_array_equal(policy.utilities(scores, pool), first)
        np.testing.assert_array_equal(scores, before)

    def test_a_row_depends_on_itself_alone(self, policy, pool, scores):
        whole = policy.utilities(scores, pool)
        rows = [policy.utilities(scores[i : i + 1], pool)[0] for i in range(len(scores))]
        np.testing.assert_allclose(whole, rows)

    def test_a_better_score_never_lowers_a_candidates_utility(self, policy, pool, scores):
        raised = scores.copy()
        raised[:, 1] = np.minimum(raised[:, 1] + 0.2, 1.0)
        assert (policy.utilities(raised, pool)[:, 1] >= policy.utilities(scores, pool)[:, 1]).all()

    def test_it_takes_probabilities_if_it_says_so(self, policy, pool, scores):
        if reads_probabilities(policy):
            np.testing.assert_array_equal(policy.utilities(scores, pool, scores), policy.utilities(scores, pool))

    def test_a_router_decides_by_it(self, policy, pool, scores):
        class Predictor:
            name, revision = "fixed", None

            def predict_scores(self, prompts):
                return scores[: len(prompts)]

            def calibrate(self, scores):
                return scores**2

        Predictor.pool = pool
        decisions = Router(Predictor(), policy=policy).route_batch(["a"] * 5)
        more = (scores[:5] ** 2,) if reads_probabilities(policy) else ()
        utilities = policy.utilities(scores[:5], pool, *more)
        assert [decision.name for decision in decisions] == [pool.names[k] for k in utilities.argmax(axis=1)]
        for decision in decisions:
            assert set(decision.scores) == set(pool.names)
            json.dumps(decision.to_dict(), allow_nan=False)

    def test_its_repr_says_what_it_is(self, policy):
        assert repr(policy).startswith(type(policy).__name__ + "(")
