import copy
import pickle
import random
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    PoolMismatchError,
    PromptError,
    TruncatedPromptWarning,
)
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.types import CandidatePool

BACKENDS = ["onnx-int8", "onnx", "torch"]


@pytest.fixture(params=BACKENDS)
def predictor(request, predictor_folder):
    return LookaheadPredictor.load(predictor_folder, backend=request.param)


def test_it_is_a_predictor(predictor):
    assert isinstance(predictor, Predictor)


def test_batch_composition_does_not_change_scores(predictor, dataset):
    prompts = list(dataset.prompts[:40])
    alone = np.concatenate([predictor.predict([prompt]).scores for prompt in prompts])
    together = predictor.predict(prompts).scores
    order = random.Random(0).sample(range(40), 40)
    shuffled = predictor.predict([prompts[i] for i in order]).scores
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(shuffled, alone[order], rtol=0, atol=1e-6)


def test_thread_count_does_not_change_decisions(predictor_folder, dataset):
    scores = [
        LookaheadPredictor.load(predictor_folder, backend=backend, n_threads=n).predict(dataset.prompts).scores
        for backend in ("onnx", "onnx-int8")
        for n in (1, 2, 4)
    ]
    for found in scores[1:3]:
        np.testing.assert_allclose(found, scores[0], rtol=0, atol=1e-6)
    for found in scores[4:]:
        np.testing.assert_allclose(found, scores[3], rtol=0, atol=1e-6)


def test_concurrent_threads_get_the_scores_of_a_single_one(predictor, dataset):
    prompts = list(dataset.prompts)
    expected = predictor.predict(prompts).scores
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda prompt: predictor.predict([prompt]).scores[0], prompts))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_saving_and_loading_gives_identical_scores(predictor, dataset, tmp_path):
    predictor.save(tmp_path / "copy")
    again = LookaheadPredictor.load(tmp_path / "copy", backend=predictor.backend.name)
    np.testing.assert_array_equal(again.predict(dataset.prompts).scores, predictor.predict(dataset.prompts).scores)
    assert again.revision == predictor.revision


def test_saving_never_overwrites_a_folder_of_something_else(predictor, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="more than a saved predictor"):
        predictor.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"


def test_a_pickle_holds_the_location_and_not_the_weights(predictor, dataset):
    content = pickle.dumps(predictor)
    assert len(content) < 1000
    again = pickle.loads(content)
    assert again.backend.name == predictor.backend.name
    np.testing.assert_array_equal(
        again.predict(dataset.prompts[:5]).scores, predictor.predict(dataset.prompts[:5]).scores
    )


def test_a_deep_copy_is_the_same_object(predictor):
    assert copy.deepcopy(predictor) is predictor


def test_no_prompts_give_no_scores(predictor):
    assert predictor.predict([]).scores.shape == (0, 3)


def test_a_prompt_without_a_known_token_still_has_scores(predictor):
    assert np.isfinite(predictor.predict(["\x00\x01", "🦜", "漢字"]).scores).all()


def test_a_long_prompt_loses_its_middle_and_warns_once(predictor_folder):
    predictor = LookaheadPredictor.load(predictor_folder)
    head, tail = "sum of 1 and 2 is ", " stone" * 24
    with pytest.warns(TruncatedPromptWarning, match="24 tokens; its middle"):
        long = predictor.predict([head + "river " * 3 + tail]).scores
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(predictor.predict([head + "9 " * 50 + tail]).scores, long)
        assert (predictor.predict(["river of 1 and 2 is " + tail]).scores != long).any()
        assert (predictor.predict([head + tail + " sum"]).scores != long).any()


def test_a_megabyte_prompt_is_routed_within_seconds(predictor_folder):
    predictor = LookaheadPredictor.load(predictor_folder)
    with pytest.warns(TruncatedPromptWarning):
        scores = predictor.predict(["river stone " * 90_000]).scores
    assert scores.shape == (1, 3)


@pytest.mark.parametrize("bad", ["", " \n\t", None, 7, b"bytes", {"role": "user", "content": "x"}, []])
def test_a_bad_prompt_is_named_by_its_index(predictor, bad):
    with pytest.raises(PromptError, match="prompt 1: ") as caught:
        predictor.predict(["river", bad])
    assert caught.value.index == 1


def test_the_embedded_choice_prefers_int8_then_fp32_then_torch(predictor_folder, tmp_path):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    assert LookaheadPredictor.load(folder).backend.name == "onnx-int8"
    (folder / "onnx" / "model_int8.onnx").unlink()
    assert LookaheadPredictor.load(folder).backend.name == "onnx"
    (folder / "onnx" / "model.onnx").unlink()
    assert LookaheadPredictor.load(folder).backend.name == "torch"
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"missing model\.safetensors or onnx"):
        LookaheadPredictor.load(folder)


def test_a_backend_that_the_folder_lacks_or_nobody_knows_is_an_error(predictor_folder, tmp_path):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors, which the torch backend needs"):
        LookaheadPredictor.load(folder, backend="torch")
    with pytest.raises(ConfigurationError, match="unknown backend 'gpu'"):
        LookaheadPredictor.load(folder, backend="gpu")


@pytest.mark.parametrize("name", ["onnx/model_int8.onnx", "tokenizer.json", "pool.json"])
def test_a_swapped_file_is_found_by_its_hash(predictor_folder, tmp_path, name):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b"\n")
    with pytest.raises(CheckpointError, match=r"differs from what config\.json recorded"):
        LookaheadPredictor.load(folder)


def test_a_pool_of_another_size_than_the_networks_is_an_error(predictor_folder):
    whole = LookaheadPredictor.load(predictor_folder)
    with pytest.raises(PoolMismatchError, match="2 candidates"):
        LookaheadPredictor(
            pool=whole.pool.subset(["digits", "lazy"]),
            network=whole.network,
            tokenizer=whole.tokenizer,
            backend=whole.backend,
        )


def test_a_predictor_built_in_memory_says_why_it_cannot_be_pickled(predictor_folder):
    whole = LookaheadPredictor.load(predictor_folder)
    built = LookaheadPredictor(pool=whole.pool, network=whole.network, tokenizer=whole.tokenizer, backend=whole.backend)
    with pytest.raises(ConfigurationError, match="loaded from a folder"):
        pickle.dumps(built)


@pytest.mark.parametrize(
    ("backend", "weights"), [("onnx-int8", "onnx/model_int8.onnx"), ("torch", "model.safetensors")]
)
def test_a_copy_may_carry_the_weights_of_one_backend_alone(predictor_folder, tmp_path, backend, weights):
    whole = LookaheadPredictor.load(predictor_folder, backend=backend)
    whole.save(tmp_path / "light", backend=backend)
    light = PredictorFolder(tmp_path / "light")
    assert [name for name in light.names() if "model" in name and (light.path / name).is_file()] == [weights]
    assert set(light.read_config().files) == {"pool.json", "tokenizer.json", "training.json", weights}
    copied = LookaheadPredictor.load(light.path)
    assert copied.backend.name == backend
    assert np.array_equal(copied.predict(["sum 1 2 ?"]).scores, whole.predict(["sum 1 2 ?"]).scores)


def test_saving_never_replaces_what_is_not_a_saved_predictor(predictor_folder, tmp_path):
    predictor = LookaheadPredictor.load(predictor_folder)
    foreign = tmp_path / "bert"
    foreign.mkdir()
    (foreign / "config.json").write_text("{}")
    (foreign / "pytorch_model.bin").write_bytes(b"theirs")
    with pytest.raises(ConfigurationError, match="holds more than a saved predictor"):
        predictor.save(foreign)
    assert (foreign / "pytorch_model.bin").read_bytes() == b"theirs"


def test_a_copy_is_of_whole_and_undamaged_files(predictor_folder, tmp_path):
    LookaheadPredictor.load(predictor_folder).save(tmp_path / "source")
    source, good = PredictorFolder(tmp_path / "source"), tmp_path / "good"
    predictor = LookaheadPredictor.load(source.path, backend="torch")
    predictor.save(good)
    source.onnx_int8.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"model_int8\.onnx differs"):
        predictor.save(good, backend="onnx-int8")
    shutil.rmtree(source.path)
    with pytest.raises(CheckpointError, match="no such folder"):
        predictor.save(good)
    LookaheadPredictor.load(good)


def test_a_pickle_is_refused_where_the_folder_has_changed(predictor_folder, tmp_path):
    LookaheadPredictor.load(predictor_folder).save(tmp_path / "saved")
    content = pickle.dumps(LookaheadPredictor.load(tmp_path / "saved"))
    folder = PredictorFolder(tmp_path / "saved")
    folder.write(folder.read_config(), CandidatePool(["words", "digits", "lazy"]))
    with pytest.raises(CheckpointError, match="changed since it was pickled"):
        pickle.loads(content)


def test_a_copy_with_weights_that_are_not_there_is_refused(predictor_folder, tmp_path):
    whole = LookaheadPredictor.load(predictor_folder)
    whole.save(tmp_path / "light", backend="onnx-int8")
    light = LookaheadPredictor.load(tmp_path / "light")
    with pytest.raises(CheckpointError, match="which the torch backend needs"):
        light.save(tmp_path / "other", backend="torch")
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigurationError, match="unknown backend"):
        whole.save(tmp_path / "other", backend="tpu")


def test_a_folder_that_is_not_there_is_an_error():
    with pytest.raises(CheckpointError, match="no such folder"):
        LookaheadPredictor.load("./org/name")


def test_a_folder_that_lost_its_calibration_is_refused(tmp_path):
    LookaheadPredictor.load().save(tmp_path / "p")
    (tmp_path / "p" / "calibration.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        LookaheadPredictor.load(tmp_path / "p")
    assert caught.value.missing == ("calibration.json",)
