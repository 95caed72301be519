import numpy as np
import pytest
from conftest import toy_dataset

from lookahead_router.training.recipe import ObjectiveSettings
from lookahead_router.training.targets import dataset_targets, ranks_candidates, shrink_to_sources, source_weights


def test_source_weights_even_out_the_sources_at_exponent_one(dataset):
    weights = source_weights(dataset, 1.0)
    ranking = ranks_candidates(dataset.scores)
    totals = [weights[ranking & (dataset.sources == source)].sum() for source in ("numbers", "poems")]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert weights[ranking].mean() == pytest.approx(1.0, rel=1e-5)
    assert (source_weights(dataset, 0.0) == 1.0).all()


def test_only_judged_scores_rank():
    scores = np.array([[0.1, 0.1, np.nan], [0.1, np.nan, 0.2], [np.nan] * 3])
    assert ranks_candidates(scores).tolist() == [False, True, False]


def test_shrinkage_moves_targets_towards_their_sources_mean(dataset):
    shrunk = shrink_to_sources(dataset.scores, dataset.scores, dataset.sources, 0.25)
    for source in ("numbers", "poems"):
        rows = dataset.sources == source
        expected = 0.75 * dataset.scores[rows] + 0.25 * dataset.scores[rows].mean(axis=0)
        np.testing.assert_allclose(shrunk[rows], expected)
    np.testing.assert_array_equal(
        shrink_to_sources(dataset.scores, dataset.scores, dataset.sources, 0.0), dataset.scores
    )


def test_shrinkage_leaves_what_is_not_known():
    targets = np.array([[0.0, 1.0], [1.0, np.nan], [np.nan, np.nan]])
    shrunk = shrink_to_sources(targets, targets, np.array(["a", "a", "a"]), 0.5)
    np.testing.assert_allclose(shrunk, [[0.25, 1.0], [0.75, np.nan], [np.nan, np.nan]])


def test_targets_are_of_the_recipes_objective():
    settings = ObjectiveSettings(routing="expected-regret", source_shrinkage=0.5)
    dataset = toy_dataset()
    expected = shrink_to_sources(dataset.scores, dataset.scores, dataset.sources, 0.5)
    np.testing.assert_allclose(dataset_targets(dataset, settings), expected, rtol=1e-6)


def test_the_best_candidate_of_a_source_takes_the_whole_share():
    targets = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [np.nan, np.nan, np.nan]])
    scores = np.array([[0.9, 0.1, 0.1], [0.0, 1.0, 1.0], [0.2, 0.3, np.nan], [1.0, 1.0, 1.0]])
    shrunk = shrink_to_sources(targets, scores, np.array(["a", "a", "b", "a"]), 0.5, "best")
    np.testing.assert_allclose(shrunk[:3], [[0.5, 0.5, 0.0], [0.0, 0.75, 0.25], [0.0, 1.0, 0.0]])
    assert np.isnan(shrunk[3]).all()


@pytest.mark.parametrize("prior", ["mean", "best"])
def test_shrunk_distributions_stay_distributions_where_scores_are_missing(prior):
    targets = np.array([[0.5, 0.5, 0.0], [np.nan, 1.0, 0.0], [0.0, np.nan, 1.0]])
    scores = np.array([[0.9, 0.9, 0.1], [np.nan, 0.8, 0.1], [0.9, np.nan, 1.0]])
    sources = np.array(["a", "a", "a"])
    shrunk = shrink_to_sources(targets, scores, sources, 0.5, prior, is_distribution=True)
    np.testing.assert_allclose(np.nansum(shrunk, axis=1), 1.0)
    np.testing.assert_array_equal(np.isnan(shrunk), np.isnan(targets))
