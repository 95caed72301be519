import numpy as np
import pytest

from lookahead_router.live.agreement import human_agreement, rank_correlation


def test_the_rank_correlation_is_spearmans():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = rng.integers(0, 6, 30) / 5, rng.integers(0, 4, 30) / 3
        assert rank_correlation(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_a_constant_series_has_no_correlation():
    assert rank_correlation(np.ones(5), np.arange(5)) is None


def test_pairs_are_those_of_one_prompt_that_people_order_and_ties_of_the_judge_count_half():
    scores = [0.9, 0.1, 0.5, 0.5, 0.2, 0.8]
    human = [1.0, 0.0, 0.2, 0.8, 0.7, 0.7]
    found = human_agreement(scores, human, ["p", "p", "q", "q", "r", "r"])
    assert (found.n_answers, found.n_pairs, found.same_order) == (6, 2, 0.75)
    assert found.mean_difference == pytest.approx((0.1 + 0.1 + 0.3 + 0.3 + 0.5 + 0.1) / 6)


def test_without_scores_of_people_there_is_nothing_to_agree_with():
    assert human_agreement([], [], []) is None
    assert human_agreement([0.5], [0.5], ["p"]).same_order is None
