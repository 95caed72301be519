"""The static backend of a predictor for any pool: word vectors in the place of the network, from the same folder."""

import pickle

import numpy as np
import pytest
from predictors.open_folder import make_graph, write_open_folder

from lookahead_router import OpenPoolPredictor, Router
from lookahead_router.errors import CheckpointError
from lookahead_router.predictors.network_embedder import NetworkEmbedder

PROMPTS = ["one two", "three", "four five six", "one"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_open_folder(tmp_path_factory.mktemp("static") / "open-toy", static=make_graph(seed=1))


@pytest.fixture(scope="module")
def static(folder):
    return Router.from_pretrained(folder, backend="static")


def test_it_is_taken_only_where_it_is_asked_for(folder, static):
    network = Router.from_pretrained(folder)
    assert (network.predictor.foresee.backend.name, static.predictor.foresee.backend.name) == ("onnx-int8", "static")
    assert np.abs(network.predict(PROMPTS).scores - static.predict(PROMPTS).scores).max() > 0.01


def test_its_decisions_bear_a_revision_of_their_own(folder, static):
    revision = Router.from_pretrained(folder).route("one").revision
    assert static.route("one").revision == f"{revision}-static"


def test_a_folder_without_it_says_which_file_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"onnx/static\.onnx, which the static backend needs"):
        Router.from_pretrained(write_open_folder(tmp_path / "open-toy"), backend="static")


def test_it_alone_makes_a_predictor(folder, tmp_path, static):
    alone = write_open_folder(tmp_path / "open-toy", static=make_graph(seed=1))
    (alone / "onnx" / "model_int8.onnx").unlink()
    np.testing.assert_array_equal(Router.from_pretrained(alone).predict(PROMPTS).scores, static.predict(PROMPTS).scores)


def test_what_is_saved_and_pickled_has_it_too(static, tmp_path):
    again = pickle.loads(pickle.dumps(static))
    static.save(tmp_path / "again")
    for other in (again, Router.from_pretrained(tmp_path / "again", backend="static")):
        np.testing.assert_array_equal(other.predict(PROMPTS).scores, static.predict(PROMPTS).scores)


def test_what_is_fitted_on_embeddings_reads_those_of_the_network(folder, static):
    of_network = NetworkEmbedder(OpenPoolPredictor.load(folder))
    of_static = NetworkEmbedder(static.predictor)
    np.testing.assert_array_equal(of_static.embed(PROMPTS), of_network.embed(PROMPTS))
    assert of_static.fingerprint == of_network.fingerprint
