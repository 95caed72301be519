"""What every policy keeps. Subclass it and give a `policy` fixture."""

import numpy as np
import pytest

from lookahead_router.policies import Policy
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

    def test_its_repr_says_what_it_is(self, policy):
        assert repr(policy).startswith(type(policy).__name__ + "(")
