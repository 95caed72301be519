import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Router

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of huggingface_hub's own requests
]
REPO = "org/toy"


def test_profiles_that_have_learnt_are_pushed_and_pulled(hub, at, tmp_path):
    router = Router.from_pretrained(write_open_folder(tmp_path / "open-toy"), candidates=["gpt-5", "claude-sonnet-4"])
    learnt = router.observe("one two", "gpt-5", 0.0)
    upload = learnt.predictor.push_to_hub(REPO, endpoint=hub.endpoint, token="hf_secret")
    assert {"profiles.npz", "catalogue.json", "onnx/model_int8.onnx", "README.md"} <= set(upload.files)
    pulled = Router.from_pretrained(REPO, revision=upload.commit, **at)
    np.testing.assert_array_equal(pulled.predict(["one two"]).scores, learnt.predict(["one two"]).scores)
    assert pulled.taken_for == learnt.taken_for
    assert pulled.predictor.base_revision == upload.commit
    again = Router.from_pretrained(REPO, candidates=["gpt-5"], revision=upload.commit, **at)
    np.testing.assert_array_equal(again.predict(["one two"]).scores, learnt.predict(["one two"]).scores[:, :1])
    again.save(tmp_path / "pulled")
    np.testing.assert_array_equal(
        Router.from_pretrained(tmp_path / "pulled").predict(["one"]).scores, again.predict(["one"]).scores
    )


def test_info_of_a_repository_fetches_no_weights(hub, tmp_path):
    from lookahead_router.predictors.open_pool_folder import read_profiles
    from lookahead_router.saved.fetch import fetch

    hub.add(REPO, write_open_folder(tmp_path / "open-toy"))
    folder = fetch(REPO, [], {"endpoint": hub.endpoint, "cache_dir": tmp_path / "cache"})
    assert len(read_profiles(folder)[2]) == 3
    assert not any(name.endswith(".onnx") for name in hub.fetched())
