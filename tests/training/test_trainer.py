import numpy as np
import pytest

from lookahead_router.training.trainer import selection_score

SCORES = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.4]])
WEIGHTS = np.array([1.0, 1.0, 9.0, 2.0])


def test_the_selection_score_is_one_for_the_oracle_and_zero_for_its_opposite():
    assert selection_score(SCORES, SCORES, WEIGHTS) == 1.0
    assert selection_score(-SCORES, SCORES, WEIGHTS) == 0.0


def test_prompts_count_by_weight_and_those_that_rank_nothing_do_not_count():
    always_first = np.tile([1.0, 0.0], (4, 1))
    assert selection_score(always_first, SCORES, WEIGHTS) == pytest.approx((1 + 0 + 0) / 4)


def test_a_candidate_without_a_score_is_never_the_choice():
    scores = np.array([[np.nan, 0.1, 0.9]])
    assert selection_score(np.array([[9.0, 1.0, 2.0]]), scores, np.ones(1)) == 1.0
