import numpy as np
import pytest

from lookahead_router.errors import DataError
from lookahead_router.training.calibration import fit_calibration, score_scale


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


def test_a_calibrated_probability_comes_true(rng):
    predicted = rng.uniform(0.2, 0.8, size=(4000, 2))
    truth = np.stack([predicted[:, 0] ** 2, np.where(predicted[:, 1] > 0.5, 0.9, 0.3)], axis=1)
    observed = (rng.uniform(size=truth.shape) < truth).astype(float)
    calibration = fit_calibration(predicted, observed, ["smooth", "step"])
    assert calibration.curves["step"].method == "isotonic"
    assert np.abs(calibration.probabilities(predicted, ("smooth", "step")) - truth).mean() < 0.03
    assert calibration.expected_calibration_error < 0.03
    assert calibration.n_prompts == 4000


def test_shares_of_a_good_answer_calibrate_as_good_answers_do(rng):
    predicted = rng.uniform(0.1, 0.9, size=(500, 1))
    calibration = fit_calibration(predicted, 0.5 * predicted, ["a"])
    np.testing.assert_allclose(calibration.probabilities(predicted, ("a",)), 0.5 * predicted, atol=0.03)


def test_missing_scores_calibrate_nothing_and_too_few_are_an_error(rng):
    predicted, observed = rng.uniform(size=(100, 2)), rng.uniform(size=(100, 2))
    observed[20:, 1] = np.nan
    curves = fit_calibration(predicted, observed, ["a", "b"]).curves
    assert curves["b"] == fit_calibration(predicted[:20, 1:], observed[:20, 1:], ["b"]).curves["b"]
    observed[5:, 1] = np.nan
    with pytest.raises(DataError, match="'b' has 5 judged prompts"):
        fit_calibration(predicted, observed, ["a", "b"])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_candidate_that_always_gets_the_same_score_has_that_probability(rng, value):
    predicted = rng.uniform(size=(100, 1))
    calibration = fit_calibration(predicted, np.full((100, 1), value), ["a"])
    np.testing.assert_allclose(calibration.probabilities(predicted, ("a",)), value, atol=0.02)
