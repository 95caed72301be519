import json
import pickle
import shutil

import pytest

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.fitted.base import FittedPredictor
from lookahead_router.predictors.load import load_predictor
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.saved.find import EMBEDDED, OPEN_EMBEDDED


def test_every_kind_is_a_class_that_goes_by_that_name():
    classes = [fitted_class(kind) for kind in FITTED]
    assert all(issubclass(cls, FittedPredictor) for cls in classes)
    assert [cls.kind for cls in classes] == list(FITTED)
    assert len(set(classes)) == len(classes)


def test_an_unknown_kind_says_which_there_are():
    with pytest.raises(ConfigurationError, match=r"kind of predictor 'nearest'; choose one of random, best-single"):
        fitted_class("nearest")


def test_without_a_location_it_is_the_embedded_predictor():
    assert isinstance(load_predictor(), OpenPoolPredictor)


def test_a_folder_of_lookahead_takes_its_options(predictor_folder):
    predictor = load_predictor(predictor_folder, backend="onnx", n_threads=1)
    assert isinstance(predictor, LookaheadPredictor)
    assert predictor.backend.name == "onnx"


@pytest.mark.parametrize("kind", ["random", "best-single", "rule"])
def test_a_folder_of_a_baseline_is_read_as_that_kind(dataset, tmp_path, kind):
    fitted = fitted_class(kind)().fit(dataset)
    fitted.save(tmp_path / "saved")
    loaded = load_predictor(str(tmp_path / "saved"))
    assert type(loaded) is fitted_class(kind)
    assert loaded.revision == fitted.revision


@pytest.mark.parametrize("config", ["", "{", "[]", "3", "{}", '{"predictor": []}', '{"predictor": "surely-absent"}'])
def test_nonsense_is_a_checkpoint_error(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError):
        load_predictor(tmp_path)


@pytest.mark.parametrize("kind", ["kl", "routerdc", "matrix-factorization"])
def test_a_saved_predictor_of_a_kind_that_is_gone_says_so(tmp_path, kind):
    (tmp_path / "config.json").write_text(f'{{"predictor": "{kind}"}}')
    with pytest.raises(CheckpointError, match=f"a {kind} predictor, which this version no longer has; fit another"):
        load_predictor(tmp_path)


def test_a_folder_that_is_not_there_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_predictor(tmp_path / "absent")


@pytest.mark.parametrize("location", [5, b"org/name", ["org/name"], object()])
def test_a_location_that_is_none_is_refused(location):
    with pytest.raises(ConfigurationError, match="expected a folder or org/name"):
        load_predictor(location)


@pytest.mark.parametrize(("kind", "embedded"), [("lookahead", OPEN_EMBEDDED), ("open-pool", EMBEDDED)])
def test_a_class_refuses_the_folder_of_another_kind(kind, embedded):
    cls = LookaheadPredictor if kind == "lookahead" else OpenPoolPredictor
    with pytest.raises(CheckpointError, match=f"expected a predictor of kind {kind}, found"):
        cls.load(embedded)


def test_a_kind_that_its_network_is_not_of_is_refused(tmp_path):
    shutil.copytree(EMBEDDED, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["network"] = json.loads((OPEN_EMBEDDED / "config.json").read_text(encoding="utf-8"))["network"]
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="found lookahead with a network of kind demands"):
        load_predictor(tmp_path / "copy")


@pytest.mark.parametrize("folder", [EMBEDDED, OPEN_EMBEDDED])
def test_a_pickle_of_an_embedded_predictor_holds_no_path(folder):
    predictor = load_predictor(folder)
    content = pickle.dumps(predictor.found)
    assert str(folder.parent).encode() not in content
    assert pickle.loads(content).folder == predictor.found.folder
