import numpy as np
import pytest

from lookahead_router.training.calibration import score_scale


def test_scaled_logits_show_expected_differences_of_scores(rng):
    gain = rng.normal(scale=0.05, size=(4000, 3))
    gain -= gain.mean(axis=1, keepdims=True)
    scores = 0.6 + gain + rng.normal(scale=0.02, size=gain.shape)
    logits = gain / 0.02 + rng.normal(size=(4000, 1))  # the level of a prompt means nothing
    shown = 1 / (1 + np.exp(-score_scale(logits, scores) * (logits - logits.mean(axis=1, keepdims=True))))
    np.testing.assert_allclose(shown - 0.5, gain, atol=0.01)


def test_missing_scores_take_no_part(rng):
    logits, scores = rng.normal(size=(50, 3)), rng.uniform(size=(50, 3))
    wider = np.concatenate([logits, rng.normal(size=(50, 1))], axis=1)
    missing = np.concatenate([scores, np.full((50, 1), np.nan)], axis=1)
    assert score_scale(wider, missing) == pytest.approx(score_scale(logits, scores))


def test_logits_that_rank_nothing_are_left_alone():
    assert score_scale(np.zeros((4, 2)), np.array([[0.0, 1.0]] * 4)) == 1.0
