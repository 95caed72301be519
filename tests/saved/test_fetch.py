"""Pulling from a server that speaks the Hub's protocol."""

import copy
import json
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from servers.hub_server import Failure, HubServer

from lookahead_router import LookaheadPredictor, Router, RoutingDataset
from lookahead_router.errors import CheckpointError, ConfigurationError, HubError
from lookahead_router.hub import is_repo_id
from lookahead_router.saved.folder import PredictorFolder

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of huggingface_hub's own requests
]
REPO = "org/toy"
ROUTING_FILES = {"config.json", "pool.json", "tokenizer.json", "onnx/model_int8.onnx"}
PROMPTS = ["sum 1 2 3 ?", "rhyme river stone ?"]


def test_a_repository_routes_as_its_folder_does(hub, at, folder):
    commit = hub.add(REPO, folder.path)
    pulled, local = Router.from_pretrained(REPO, **at), Router.from_pretrained(folder.path)
    assert np.array_equal(pulled.predictor.predict(PROMPTS).scores, local.predictor.predict(PROMPTS).scores)
    assert pulled.route(PROMPTS[0]).revision == pulled.predictor.revision == commit


def test_only_what_routing_reads_is_fetched(hub, at, folder):
    hub.add(REPO, folder.path)
    files = hub.repositories[REPO].commits[hub.repositories[REPO].refs["main"]]
    files.update(dict.fromkeys(("pytorch_model.bin", "model.pkl", "modeling.py", "../escape.json"), b"never"))
    LookaheadPredictor.load(REPO, **at)
    assert set(hub.fetched()) - {"calibration.json"} == ROUTING_FILES


@pytest.mark.parametrize(
    ("backend", "weights"),
    [("torch", "model.safetensors"), ("onnx", "onnx/model.onnx"), ("auto", "onnx/model_int8.onnx")],
)
def test_of_the_weights_only_those_of_the_backend_are_fetched(hub, at, folder, backend, weights):
    hub.add(REPO, folder.path)
    LookaheadPredictor.load(REPO, backend=backend, **at)
    assert [name for name in hub.fetched() if "model" in name] == [weights]


def test_a_repository_without_int8_routes_with_the_next_best_weights(hub, at, folder):
    folder.onnx_int8.unlink()
    hub.add(REPO, folder.path)
    assert LookaheadPredictor.load(REPO, **at).backend.name == "onnx"
    folder.onnx.unlink()
    hub.add(REPO, folder.path)
    assert LookaheadPredictor.load(REPO, **at).backend.name == "torch"


def test_weights_that_the_repository_lacks_are_named(hub, at, folder):
    folder.onnx.unlink()
    hub.add(REPO, folder.path)
    with pytest.raises(CheckpointError, match=r"no onnx/model\.onnx, which the onnx backend needs"):
        LookaheadPredictor.load(REPO, backend="onnx", **at)


def test_branch_tag_and_commit_are_revisions(hub, at, folder):
    first = hub.add(REPO, folder.path)
    repository = hub.repositories[REPO]
    repository.refs["v1"] = first
    second = repository.commit({**repository.commits[first], "README.md": b"new"})
    repository.commit(repository.commits[first], branch="trial")
    for revision, commit in ((None, second), ("main", second), ("v1", first), (first, first)):
        assert LookaheadPredictor.load(REPO, revision=revision, **at).revision == commit
    assert LookaheadPredictor.load(REPO, revision="trial", **at).revision == repository.refs["trial"]


def test_a_cached_commit_is_loaded_without_a_request(hub, at, folder):
    commit = hub.add(REPO, folder.path)
    LookaheadPredictor.load(REPO, revision=commit, **at)
    n_requests = len(hub.requests)
    assert LookaheadPredictor.load(REPO, revision=commit, **at).revision == commit
    assert len(hub.requests) == n_requests


def test_with_the_hub_down_the_cache_serves_at_once(folder, tmp_path):
    with HubServer() as hub:
        at = {"endpoint": hub.endpoint, "cache_dir": tmp_path / "cache"}
        commit = hub.add(REPO, folder.path)
        LookaheadPredictor.load(REPO, **at)
    for revision in (commit, "main", None):
        start = time.perf_counter()
        assert LookaheadPredictor.load(REPO, revision=revision, **at).revision == commit
        assert time.perf_counter() - start < 5


def test_local_files_only_asks_nobody(hub, at, folder):
    hub.add(REPO, folder.path)
    with pytest.raises(HubError, match="not in the cache, and only the cache was to be used"):
        LookaheadPredictor.load(REPO, local_files_only=True, **at)
    assert hub.requests == []
    LookaheadPredictor.load(REPO, **at)
    n_requests = len(hub.requests)
    LookaheadPredictor.load(REPO, local_files_only=True, **at)
    assert len(hub.requests) == n_requests


def test_an_interrupted_download_is_repaired_by_the_next_call(hub, at, folder):
    commit = hub.add(REPO, folder.path)
    hub.failures = [Failure("GET .*/resolve/.*model_int8", 503)]
    with pytest.raises(HubError) as caught:
        LookaheadPredictor.load(REPO, revision=commit, **at)
    assert caught.value.is_retryable
    hub.failures = []
    assert LookaheadPredictor.load(REPO, revision=commit, **at).revision == commit


def test_a_body_that_breaks_off_is_repaired_by_the_next_call(hub, at, folder):
    hub.add(REPO, folder.path)
    hub.cut_downloads = 100  # more than huggingface_hub tries again by itself
    with pytest.raises(HubError) as caught:
        LookaheadPredictor.load(REPO, **at)
    assert caught.value.is_retryable
    hub.cut_downloads = 0
    loaded = LookaheadPredictor.load(REPO, **at)
    expected = LookaheadPredictor.load(folder.path)
    np.testing.assert_array_equal(loaded.predict(PROMPTS).scores, expected.predict(PROMPTS).scores)


def test_endpoint_and_cache_of_the_environment_are_honoured(hub, folder, tmp_path):
    hub.add(REPO, folder.path)
    code = "from lookahead_router import Router; print(Router.from_pretrained('org/toy').route('hello').revision)"
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in hub.repositories[REPO].commits
    assert list((tmp_path / "home" / "hub").glob("models--org--toy/snapshots/*/config.json"))


def test_a_pickled_predictor_comes_back_from_the_cache_without_its_token(hub, at, folder):
    hub.add(REPO, folder.path)
    predictor = LookaheadPredictor.load(REPO, token="hf_secret", **at)
    content = pickle.dumps(predictor)
    assert b"hf_secret" not in content
    assert "hf_secret" not in repr(predictor)
    n_requests = len(hub.requests)
    again = pickle.loads(content)
    assert len(hub.requests) == n_requests
    assert again.revision == predictor.revision
    assert np.array_equal(again.predict(PROMPTS).scores, predictor.predict(PROMPTS).scores)
    assert copy.deepcopy(predictor) is predictor


def test_a_pickle_of_a_repository_is_one_wherever_it_is_loaded(hub, at, folder, tmp_path, monkeypatch):
    hub.add(REPO, folder.path)
    refuses = LookaheadPredictor.load(REPO, token=False, local_files_only=False, **at)
    assert refuses.found.__reduce__()[1][-1]["token"] is False
    monkeypatch.chdir(tmp_path)
    (tmp_path / REPO).mkdir(parents=True)
    assert pickle.loads(pickle.dumps(refuses)).revision == refuses.revision


def test_a_pulled_predictor_can_be_saved_as_a_folder(hub, at, folder, tmp_path):
    hub.add(REPO, folder.path)
    pulled = LookaheadPredictor.load(REPO, **at)
    pulled.save(tmp_path / "copy")
    copied = LookaheadPredictor.load(tmp_path / "copy")
    assert np.array_equal(copied.predict(PROMPTS).scores, pulled.predict(PROMPTS).scores)


def test_four_processes_may_pull_at_once(hub, at, folder):
    commit = hub.add(REPO, folder.path)
    code = (
        "import sys; from lookahead_router import LookaheadPredictor as P;"
        "p = P.load(sys.argv[1], endpoint=sys.argv[2], cache_dir=sys.argv[3]);"
        "print(p.revision, p.predict(['sum 1 ?']).scores.tolist())"
    )
    arguments = [sys.executable, "-c", code, REPO, hub.endpoint, str(at["cache_dir"])]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    running = [subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(4)]
    printed = {process.communicate(timeout=120)[0].strip() for process in running}
    assert [process.returncode for process in running] == [0] * 4
    assert len(printed) == 1
    assert printed.pop().startswith(commit)


# What a location means


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("org/name", True),
        ("org/name-1.0_x", True),
        ("/org/name", False),
        ("./name", False),
        ("../name", False),
        ("org/name/more", False),
        ("name", False),
        ("", False),
        (None, False),
    ],
)
def test_org_and_name_make_a_repository(location, expected):
    assert is_repo_id(location) is expected


def test_a_folder_that_exists_is_no_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert not is_repo_id("org/name")


@pytest.mark.parametrize("location", [None, "folder"])
def test_options_of_the_hub_need_a_repository(folder, location):
    where = folder.path if location else None
    with pytest.raises(ConfigurationError, match="revision: only for a repository of the Hub"):
        LookaheadPredictor.load(where, revision="main")
    LookaheadPredictor.load(where, revision=None)


# Refusals of the Hub

REFUSALS = {
    "gated": (Failure("/api/models/", 403, "GatedRepo"), "access is gated; accept its terms", 403, False),
    "missing": (Failure("/api/models/", 404, "RepoNotFound"), "no such repository or a private one", 404, False),
    "private": (Failure("/api/models/", 401, "RepoNotFound"), "no such repository or a private one", 401, False),
    "no revision": (Failure("/api/models/", 404, "RevisionNotFound"), "no such revision", 404, False),
    "disabled": (
        Failure("/api/models/", 403, None, "Access to this resource is disabled."),
        "the Hub has disabled this repository",
        403,
        False,
    ),
    "forbidden": (Failure("/api/models/", 403), "not allowed; run 'hf auth login'", 403, False),
    "unauthorized": (Failure("/api/models/", 401), "not allowed|no such repository", 401, False),
    "slow down": (Failure("/api/models/", 429), "the Hub asks to slow down", 429, True),
    "broken": (Failure("/api/models/", 500), "the Hub answered 500", 500, True),
    "away": (Failure("/api/models/", 503), "the Hub answered 503", 503, True),
    "strange": (Failure("/api/models/", 418), "the Hub answered 418", 418, False),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_to_do(hub, at, folder, case):
    failure, message, status, is_retryable = REFUSALS[case]
    hub.add(REPO, folder.path)
    hub.failures = [failure]
    with pytest.raises(HubError, match=message) as caught:
        Router.from_pretrained(REPO, revision="v1", **at)
    error = caught.value
    assert (error.repo_id, error.revision, error.status_code) == (REPO, "v1", status)
    assert error.is_retryable is is_retryable
    assert str(error).startswith(f"{REPO}@v1: ")
    assert isinstance(error, OSError)
    assert pickle.loads(pickle.dumps(error)).status_code == status


def test_a_revision_that_does_not_exist_is_named(hub, at, folder):
    hub.add(REPO, folder.path)
    with pytest.raises(HubError, match=f"{REPO}@v9: no such revision"):
        LookaheadPredictor.load(REPO, revision="v9", **at)


def test_a_hub_that_cannot_be_reached_is_said_at_once(tmp_path):
    start = time.perf_counter()
    with pytest.raises(HubError, match="cannot reach the Hub") as caught:
        LookaheadPredictor.load(REPO, endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
    assert caught.value.is_retryable
    assert time.perf_counter() - start < 5


def test_offline_with_a_cold_cache_names_the_switch(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        LookaheadPredictor.load(REPO, cache_dir=tmp_path)


def test_a_cache_that_cannot_be_written_is_named(hub, folder, tmp_path):
    hub.add(REPO, folder.path)
    (tmp_path / "file").touch()
    with pytest.raises(HubError, match=r"cannot use the cache.*set HF_HOME or cache_dir"):
        LookaheadPredictor.load(REPO, endpoint=hub.endpoint, cache_dir=tmp_path / "file" / "cache")


@pytest.mark.parametrize("name", ["org--x/name", "org/name.git", "org/a..b"])
@pytest.mark.parametrize("revision", [None, "0" * 40])
def test_a_name_that_the_hub_does_not_allow_is_refused(at, name, revision):
    with pytest.raises(HubError, match="no valid repository name"):
        LookaheadPredictor.load(name, revision=revision, **at)


def test_a_dataset_that_cannot_be_fetched_is_the_same_error(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match=r"org/data: HF_HUB_OFFLINE is set.* or pass a file"):
        RoutingDataset.from_hub("org/data")


# Files that were damaged in the cache


def in_cache(at, name: str):
    return next(at["cache_dir"].rglob(f"snapshots/*/{name}")).resolve()


@pytest.mark.parametrize("is_pinned", [False, True])
@pytest.mark.parametrize("name", ["config.json", "pool.json", "tokenizer.json", "onnx/model_int8.onnx"])
def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub, at, folder, name, is_pinned):
    commit = hub.add(REPO, folder.path)
    if is_pinned:
        at["revision"] = commit
    expected = LookaheadPredictor.load(REPO, **at).predict(PROMPTS).scores
    blob = in_cache(at, name)
    blob.write_bytes(blob.read_bytes()[:-3])
    n_fetched = len(hub.fetched())
    assert (LookaheadPredictor.load(REPO, **at).predict(PROMPTS).scores == expected).all()
    assert hub.fetched()[n_fetched:] == [name]


@pytest.mark.parametrize("options", [{}, {"local_files_only": True}])
def test_without_the_hub_a_damaged_file_is_named_with_what_to_delete(folder, tmp_path, options):
    with HubServer() as hub:
        at = {"endpoint": hub.endpoint, "cache_dir": tmp_path / "cache"}
        hub.add(REPO, folder.path)
        LookaheadPredictor.load(REPO, **at)
    blob = in_cache(at, "onnx/model_int8.onnx")
    blob.write_bytes(blob.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"onnx/model_int8\.onnx is damaged in the cache.* or delete .*org--toy"):
        # Another address: a connection that was kept open may be answered a moment longer than the server lives.
        LookaheadPredictor.load(REPO, **{**at, "endpoint": "http://127.0.0.1:9"}, **options)


def test_a_repository_without_a_predictor_is_called_by_its_name(hub, at, folder):
    folder.pool.unlink()
    commit = hub.add(REPO, folder.path)
    with pytest.raises(CheckpointError, match=rf"^{REPO}@{commit[:12]}: not a saved predictor: missing pool\.json"):
        LookaheadPredictor.load(REPO, **at)


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/model_int8.onnx", "model.safetensors"])
def test_so_is_one_whose_files_are_none_that_can_be_loaded(hub, at, folder, name):
    (folder.path / name).write_bytes(b"of something else")
    without_record(folder)
    commit = hub.add(REPO, folder.path)
    backend = "torch" if name == "model.safetensors" else "auto"
    with pytest.raises(CheckpointError, match=rf"^{REPO}@{commit[:12]}: ") as caught:
        LookaheadPredictor.load(REPO, backend=backend, **at)
    assert caught.value.location == f"{REPO}@{commit[:12]}"
    assert str(at["cache_dir"]) not in str(caught.value)


# Foreign and damaged files


def without_record(folder: PredictorFolder) -> None:
    """Forgets the hashes, so that what is behind them has to notice."""
    folder.config.write_text(json.dumps({**json.loads(folder.config.read_text()), "files": {}}))


@pytest.mark.parametrize("kind", ["truncated", "pickle", "swapped pool", "foreign config"])
def test_a_damaged_repository_is_refused(hub, at, folder, damage, kind):
    message = damage(folder, kind)
    hub.add(REPO, folder.path)
    with pytest.raises(CheckpointError, match=message):
        LookaheadPredictor.load(REPO, backend="torch", **at)


HEADERS = {
    "pickle": pickle.dumps({"weight": [1.0]}),
    "header of 2 GB": (2 * 2**30).to_bytes(8, "little") + b"{}",
    "header beyond the file": (1000).to_bytes(8, "little") + b"{}",
    "tensor of 2 GB": (
        lambda header: len(header).to_bytes(8, "little") + header
    )(json.dumps({"x": {"dtype": "F32", "shape": [2**29], "data_offsets": [0, 2**31]}}).encode()),
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_weights_that_are_no_safetensors_are_refused_without_a_recorded_hash(folder, content):
    folder.weights.write_bytes(content)
    without_record(folder)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        LookaheadPredictor.load(folder.path, backend="torch")


@pytest.mark.parametrize("name", ["config.json", "pool.json", "onnx/model_int8.onnx", "model.safetensors"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, name):
    path = folder.path / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="a link that leaves the folder"):
        LookaheadPredictor.load(folder.path)


def test_a_link_within_the_folder_is_followed(folder):
    (folder.path / "blobs").mkdir()
    folder.onnx_int8.rename(folder.path / "blobs" / "x")
    folder.onnx_int8.symlink_to(folder.path / "blobs" / "x")
    assert LookaheadPredictor.load(folder.path).backend.name == "onnx-int8"
