"""`leaders`: who is good at what a prompt is like, from leaderboards alone."""

from dataclasses import replace

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.predictors.fitted import Leaders

MEANS = {"a": {"maths": 0.9, "tales": 0.2}, "b": {"maths": 0.3, "tales": 0.8}}


class Axes:
    """A prompt's embedding is an axis by its first word."""

    fingerprint = location = "axes"

    def embed(self, texts):
        return np.array([[1.0, 0.0] if text.startswith("sum") else [0.0, 1.0] for text in texts], dtype=np.float32)


def world(scores=True):
    rows = []
    for row in range(40):
        source = ("maths", "tales")[row % 2]
        outcomes = {name: Outcome(score=means[source] if scores else None) for name, means in MEANS.items()}
        rows.append(RoutingExample(("sum ", "tell ")[row % 2] + str(row), outcomes, source=source))
    return RoutingDataset.from_examples(rows)


def fit(dataset=None, leaderboard=None, **settings):
    predictor = Leaders(embedder=Axes(), **{"n_clusters": 2, **settings})
    return predictor.fit(world() if dataset is None else dataset, leaderboard)


def test_a_prompt_goes_to_the_leader_of_the_benchmark_that_it_is_like():
    scores = fit(prior_prompts=1e-6).predict(["sum x", "tell x"]).scores
    np.testing.assert_allclose(scores, [[0.9, 0.3], [0.2, 0.8]], atol=1e-6)


def test_a_small_cluster_is_drawn_to_the_mixture_of_all():
    drawn = fit(prior_prompts=20.0).predict(["sum x"]).scores[0]
    np.testing.assert_allclose(drawn, [0.75 * 0.9 + 0.25 * 0.2, 0.75 * 0.3 + 0.25 * 0.8], atol=1e-6)


def test_a_leaderboard_without_any_score_gives_what_scores_of_the_same_means_give():
    by_board, by_scores = fit(world(scores=False), MEANS), fit()
    prompts = ["sum x", "tell x"]
    np.testing.assert_allclose(by_board.predict(prompts).scores, by_scores.predict(prompts).scores, atol=1e-12)


def test_with_one_source_everybody_has_their_mean():
    dataset = world()
    one = replace(dataset, sources=np.array(["all"] * len(dataset), dtype=object))
    np.testing.assert_allclose(fit(one).predict(["sum x", "tell x"]).scores, [[0.55, 0.55]] * 2)


@pytest.mark.parametrize(
    ("leaderboard", "error", "message"),
    [
        ({"a": MEANS["a"]}, DataError, "must give b a mean"),
        ({**MEANS, "b": {"maths": 0.5}}, DataError, "on 'tales', got None"),
        ({**MEANS, "b": {"maths": 56.0, "tales": 1.0}}, DataError, "got 56.0; divide percent by 100"),
        ({**MEANS, "b": {"maths": float("nan"), "tales": 1.0}}, DataError, "got nan"),
        ({**MEANS, "b": 0.5}, DataError, "got None"),
        ([1], ConfigurationError, "mapping from candidates"),
    ],
)
def test_what_is_wrong_with_a_leaderboard_is_said(leaderboard, error, message):
    with pytest.raises(error, match=message):
        fit(leaderboard=leaderboard)
