import numpy as np
import pytest

from lookahead_router.training.trainer import selection_score

SCORES = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.4]])
SOURCES = np.array(["a", "a", "a", "b"])


def test_the_selection_score_is_one_for_the_oracle_and_zero_for_its_opposite():
    assert selection_score(SCORES, SCORES, SOURCES) == 1.0
    assert selection_score(-SCORES, SCORES, SOURCES) == 0.0


def test_every_source_counts_alike_and_prompts_that_rank_nothing_do_not_count():
    always_first = np.tile([1.0, 0.0], (4, 1))
    assert selection_score(always_first, SCORES, SOURCES) == pytest.approx((0.5 + 0.0) / 2)


def test_a_candidate_without_a_score_is_never_the_choice():
    scores = np.array([[np.nan, 0.1, 0.9]])
    assert selection_score(np.array([[9.0, 1.0, 2.0]]), scores, np.array(["a"])) == 1.0
