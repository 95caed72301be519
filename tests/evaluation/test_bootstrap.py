import numpy as np
import pytest

from lookahead_router import metrics
from lookahead_router.evaluation.bootstrap import Resamples, costs_at_quality


def average_normalized_score(chosen, scores, sources):
    """By hand: the mean over the benchmarks that have something to gain."""
    masks = [sources == source for source in np.unique(sources)]
    return np.nanmean([metrics.normalized_score(chosen[mask], scores[mask]) for mask in masks])


@pytest.fixture
def scores(rng):
    return rng.random((40, 3))


@pytest.fixture
def sources():
    return np.array(["a"] * 25 + ["b"] * 15)


def test_the_first_row_is_the_data_itself(rng, scores, sources):
    chosen = scores[:, 1]
    samples = Resamples(scores, sources, n_resamples=20, seed=0).normalized(chosen)
    assert samples.shape == (21, 3)
    by_hand = [metrics.normalized_score(chosen[sources == s], scores[sources == s]) for s in ("a", "b")]
    np.testing.assert_allclose(samples[0], [*by_hand, np.mean(by_hand)], rtol=1e-4)
    assert samples[0, -1] == pytest.approx(average_normalized_score(chosen, scores, sources), rel=1e-4)


def test_every_resample_equals_drawing_those_rows(scores, sources):
    resamples = Resamples(scores, sources, n_resamples=5, seed=3)
    chosen = scores.max(axis=1) * 0.9
    samples = resamples.normalized(chosen)
    for row, counts in enumerate(resamples.counts):
        drawn = np.repeat(np.arange(40), counts.astype(int))
        assert (sources[drawn] == "a").sum() == 25
        expected = average_normalized_score(chosen[drawn], scores[drawn], sources[drawn])
        assert samples[row, -1] == pytest.approx(expected, rel=1e-4)


def test_the_interval_is_that_of_drawing_rows_within_their_benchmark(rng, sources):
    scores = (rng.random((40, 3)) < 0.5).astype(float)
    chosen = scores[:, 0]
    fast = metrics.sample_interval(Resamples(scores, sources, n_resamples=4000, seed=0).normalized(chosen)[:, -1])
    members = [np.flatnonzero(sources == source) for source in ("a", "b")]
    slow = []
    for _ in range(2000):
        drawn = np.concatenate([rng.choice(rows, len(rows)) for rows in members])
        slow.append(average_normalized_score(chosen[drawn], scores[drawn], sources[drawn]))
    low, high = np.nanpercentile(slow, [2.5, 97.5])
    assert fast.value == pytest.approx(average_normalized_score(chosen, scores, sources))
    assert fast.low == pytest.approx(low, abs=4)
    assert fast.high == pytest.approx(high, abs=4)


def test_a_benchmark_with_nothing_to_gain_is_left_out_of_the_mean(sources):
    scores = np.tile([0.0, 1.0], (40, 1))
    scores[sources == "b"] = 0.5
    samples = Resamples(scores, sources, n_resamples=3, seed=0).normalized(scores[:, 1])
    assert np.isnan(samples[:, 1]).all()
    np.testing.assert_allclose(samples[:, [0, 2]], 100)


def test_nothing_to_gain_anywhere_is_nan(sources):
    scores = np.full((40, 2), 0.3)
    samples = Resamples(scores, sources, n_resamples=3, seed=0).normalized(scores[:, 0])
    assert np.isnan(samples).all()
    assert all(np.isnan(metrics.sample_interval(samples[:, -1])))


def test_a_source_of_one_row_is_that_row_in_every_resample():
    scores = np.array([[0.0, 1.0], [1.0, 0.0], [0.2, 0.4]])
    resamples = Resamples(scores, np.array(["a", "a", "lone"]), n_resamples=50, seed=0)
    assert (resamples.counts[:, 2] == 1).all()


def test_means_are_over_the_drawn_rows(scores, sources):
    resamples = Resamples(scores, sources, n_resamples=4, seed=0)
    means = resamples.means(scores)
    assert means.shape == (5, 3)
    drawn = np.repeat(np.arange(40), resamples.counts[2].astype(int))
    np.testing.assert_allclose(means[2], scores[drawn].mean(axis=0), rtol=1e-5)


def test_cost_at_quality_is_that_of_each_resample():
    costs, qualities = np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([[0.2, 0.4], [0.2, 0.4]])
    np.testing.assert_allclose(costs_at_quality(costs, qualities, np.array([0.3, 0.4])), [1.5, 3.0])
    assert np.isnan(costs_at_quality(costs, qualities, np.array([0.5, 0.5]))).all()
