import json
import shutil

import numpy as np
import pytest
from conftest import POOL

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.hub.layout import PredictorFolder, write_json
from lookahead_router.predictors.calibration import Calibration, Isotonic, Platt
from lookahead_router.predictors.lookahead import LookaheadPredictor

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
    scores, found = predictor.predict_scores(prompts), predictor.predict_probabilities(prompts)
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
    with pytest.raises(ConfigurationError, match=r"without calibration\.json"):
        predictor.predict_probabilities(["sum 1 2 ?"])


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
