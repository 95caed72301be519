import json
import shutil
import sys

import numpy as np
import pytest
from conftest import POOL

from lookahead_router.errors import CheckpointError, DataError, MissingDependencyError
from lookahead_router.predictors.calibration import Calibration, Isotonic, Platt, fit_calibration
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.saved.folder import PredictorFolder, write_json

CURVES = {
    "digits": Platt(slope=2.0, intercept=-1.0),
    "words": Isotonic(scores=(0.2, 0.6), values=(0.1, 0.7)),
    "lazy": Platt(slope=0.0, intercept=0.0),
}
FALLING = {"method": "isotonic", "scores": [1, 0], "values": [0, 1]}
TOO_HIGH = {"method": "isotonic", "scores": [0], "values": [2]}
CALIBRATION = Calibration(curves=CURVES, n_prompts=100, expected_calibration_error=0.02)


@pytest.fixture
def calibrated(predictor_folder, tmp_path):
    folder = PredictorFolder(shutil.copytree(predictor_folder, tmp_path / "calibrated"))
    write_json(folder.calibration, CALIBRATION.model_dump(mode="json"))
    folder.write(folder.read_config(), folder.read_pool())
    return folder


def test_a_logistic_curve_is_one_over_the_logit():
    assert Platt(slope=1.0, intercept=0.0).probabilities(np.array([0.3]))[0] == pytest.approx(0.3)
    assert Platt(slope=2.0, intercept=-1.0).probabilities(np.array([0.5]))[0] == pytest.approx(1 / (1 + np.e))
    assert np.isfinite(Platt(slope=9.0, intercept=0.0).probabilities(np.array([0.0, 1.0]))).all()


def test_a_rising_line_is_flat_beyond_its_knots():
    line = Isotonic(scores=(0.2, 0.6), values=(0.1, 0.7))
    np.testing.assert_allclose(line.probabilities(np.array([0.0, 0.2, 0.4, 1.0])), [0.1, 0.1, 0.4, 0.7])


def test_every_candidate_has_its_own_curve(calibrated):
    predictor = LookaheadPredictor.load(calibrated.path)
    prompts = ["sum 1 2 ?", "rhyme river stone ?"]
    scores, found = predictor.predict(prompts).scores, predictor.predict(prompts).probabilities
    assert found.shape == scores.shape
    for k, name in enumerate(POOL):
        np.testing.assert_allclose(found[:, k], CURVES[name].probabilities(scores[:, k]))
    assert found[:, 2] == pytest.approx(0.5)


def test_a_calibration_travels_with_save_and_export(calibrated, tmp_path, dataset):
    from lookahead_router.predictors.export import export_predictor

    export_predictor(calibrated.path, dataset.prompts)
    LookaheadPredictor.load(calibrated.path).save(tmp_path / "copy")
    assert LookaheadPredictor.load(tmp_path / "copy").calibration == CALIBRATION


def test_a_predictor_without_calibration_says_so(predictor_folder):
    predictor = LookaheadPredictor.load(predictor_folder)
    assert predictor.calibration is None
    assert predictor.predict(["sum 1 2 ?"]).probabilities is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curves": {"digits": {"method": "platt", "slope": 1, "intercept": 0}}}, "other candidates"),
        ({"curves": {name: {"method": "magic"} for name in POOL}}, "calibration.json"),
        ({"curves": dict.fromkeys(POOL, FALLING)}, "rising"),
        ({"curves": dict.fromkeys(POOL, TOO_HIGH)}, "probabilities"),
        ({"n_prompts": 0}, "n_prompts"),
    ],
)
def test_a_malformed_calibration_is_refused(calibrated, change, message):
    calibrated.calibration.write_text(json.dumps({**CALIBRATION.model_dump(mode="json"), **change}))
    with pytest.raises(CheckpointError, match=message):
        Calibration.read(calibrated.calibration, POOL)


def test_a_damaged_calibration_is_found_by_its_hash(calibrated):
    calibrated.calibration.write_text(calibrated.calibration.read_text().replace("2.0", "3.0"))
    with pytest.raises(CheckpointError, match=r"calibration\.json differs"):
        LookaheadPredictor.load(calibrated.path)


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
    observed[:10, 0] = observed[90:] = np.nan
    calibration = fit_calibration(predicted, observed, ["a", "b"])
    curves = calibration.curves
    assert calibration.n_prompts == 90  # the first ten have a score of b
    assert curves["b"] == fit_calibration(predicted[:20, 1:], observed[:20, 1:], ["b"]).curves["b"]
    observed[5:, 1] = np.nan
    with pytest.raises(DataError, match="'b' has 5 judged prompts"):
        fit_calibration(predicted, observed, ["a", "b"])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_candidate_that_always_gets_the_same_score_has_that_probability(rng, value):
    predicted = rng.uniform(size=(100, 1))
    calibration = fit_calibration(predicted, np.full((100, 1), value), ["a"])
    np.testing.assert_allclose(calibration.probabilities(predicted, ("a",)), value, atol=0.02)


@pytest.mark.parametrize("module", ["sklearn.linear_model", "sklearn.isotonic"])
def test_without_scikit_learn_the_error_names_the_extra(monkeypatch, rng, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lookahead-router\[eval\]'"):
        fit_calibration(rng.uniform(size=(100, 1)), rng.uniform(size=(100, 1)), ["a"])
