"""Pushing to a server that speaks the Hub's protocol."""

import numpy as np
import pytest
from servers.hub_server import Failure

from lookahead_router import LookaheadPredictor
from lookahead_router.errors import CheckpointError, ConfigurationError, HubError
from lookahead_router.saved.card import PLACEHOLDER, write_card
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.saved.push import push_folder

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of huggingface_hub's own requests
]
REPO = "org/toy"
ROUTING_FILES = {"config.json", "pool.json", "tokenizer.json", "onnx/model_int8.onnx"}
PROMPTS = ["sum 1 2 3 ?", "rhyme river stone ?"]


@pytest.fixture
def push(hub, folder):
    """Pushes the folder to the stand-in."""

    def run(**options):
        return push_folder(folder.path, REPO, endpoint=hub.endpoint, token="hf_secret", **options)

    return run


def test_what_was_pushed_is_what_is_pulled(hub, at, folder, push):
    upload = push()
    repository = hub.repositories[REPO]
    assert repository.private
    assert len(repository.commits) == 2  # the empty one, and all files in one
    pushed = repository.commits[upload.commit]
    card = pushed["README.md"].replace(REPO.encode(), PLACEHOLDER.encode())
    assert {**pushed, "README.md": card} == {name: (folder.path / name).read_bytes() for name in upload.files}
    assert {"README.md", "model.safetensors", "onnx/model.onnx", *ROUTING_FILES} <= set(pushed)
    pulled = LookaheadPredictor.load(REPO, revision=upload.commit, **at)
    local = LookaheadPredictor.load(folder.path)
    assert np.array_equal(pulled.predict(PROMPTS).scores, local.predict(PROMPTS).scores)


def test_a_predictor_pushes_the_folder_that_it_was_loaded_from(hub, folder):
    predictor = LookaheadPredictor.load(folder.path)
    upload = predictor.push_to_hub(REPO, endpoint=hub.endpoint, token="hf_secret", tag="v1")
    assert hub.repositories[REPO].refs["v1"] == upload.commit
    whole = LookaheadPredictor(
        pool=predictor.pool, network=predictor.network, tokenizer=predictor.tokenizer, backend=predictor.backend
    )
    with pytest.raises(ConfigurationError, match="not loaded from a folder"):
        whole.push_to_hub(REPO)


def test_a_public_repository_has_to_be_asked_for(hub, push):
    push(private=False)
    assert not hub.repositories[REPO].private


def test_a_repository_that_exists_stays_as_it_is(hub, push):
    push(private=False)
    push(private=True, message="again")
    assert not hub.repositories[REPO].private


def test_nothing_but_the_layout_is_pushed(folder, push):
    (folder.path / "secret.txt").write_text("mine")
    (folder.path / ".env").write_text("TOKEN=1")
    assert not {"secret.txt", ".env"} & set(push().files)


def test_a_file_of_the_layout_that_is_gone_here_goes_there_too_and_others_stay(hub, folder, push):
    push()
    repository = hub.repositories[REPO]
    repository.commit({**repository.commits[repository.refs["main"]], "figure.png": b"theirs"})
    folder.onnx.unlink()
    folder.write(folder.read_config(), folder.read_pool())
    pushed = repository.commits[push().commit]
    assert "onnx/model.onnx" not in pushed
    assert pushed["figure.png"] == b"theirs"


def test_a_dry_run_lists_and_sends_nothing(hub, folder, push):
    upload = push(dry_run=True)
    assert upload.files["model.safetensors"] == folder.weights.stat().st_size
    assert upload.url is None
    assert upload.commit is None
    assert hub.requests == []


def test_tag_branch_and_pull_request(hub, push):
    tagged = push(tag="v1.0")
    repository = hub.repositories[REPO]
    assert repository.refs["v1.0"] == tagged.commit == repository.refs["main"]
    proposed = push(create_pr=True, message="a proposal")
    assert repository.refs["main"] == tagged.commit
    assert proposed.url is not None


def test_a_tag_that_exists_is_refused_before_anything_is_sent(hub, push):
    push(tag="v1.0")
    repository = hub.repositories[REPO]
    before = dict(repository.commits), dict(repository.refs)
    with pytest.raises(HubError, match=r"the tag 'v1\.0' exists already; choose another"):
        push(tag="v1.0", revision="trial", message="again")
    assert (repository.commits, repository.refs) == before


def test_the_card_on_the_hub_names_its_repository(hub, folder, push):
    before = folder.card.read_bytes()
    commit = push().commit
    pushed = hub.repositories[REPO].commits[commit]["README.md"].decode()
    assert f'Router.from_pretrained("{REPO}")' in pushed
    assert PLACEHOLDER not in pushed
    assert folder.card.read_bytes() == before


def test_a_pull_request_takes_neither_tag_nor_branch(hub, push):
    for options in ({"tag": "v1"}, {"revision": "trial"}):
        with pytest.raises(ConfigurationError, match="a pull request is for the main branch"):
            push(create_pr=True, **options)
    assert hub.requests == []


def test_a_pulled_predictor_can_be_pushed_once_it_has_a_card(hub, at, folder, push, tmp_path):
    hub.add("other/toy", folder.path)
    LookaheadPredictor.load("other/toy", **at).save(tmp_path / "copy")
    copied = PredictorFolder(tmp_path / "copy")
    write_card(copied)
    upload = push_folder(copied.path, REPO, endpoint=hub.endpoint, token="hf_secret")
    assert set(upload.files) == {"README.md", *ROUTING_FILES}


def test_a_branch_is_made_if_need_be(hub, push):
    push()
    main = hub.repositories[REPO].refs["main"]
    assert push(revision="trial").commit == hub.repositories[REPO].refs["trial"]
    assert hub.repositories[REPO].refs["main"] == main


def test_after_a_dropped_connection_only_the_rest_is_sent(hub, push):
    hub.dropped_uploads = 100
    with pytest.raises(HubError, match="cannot reach the Hub") as caught:
        push()
    assert caught.value.is_retryable
    assert len(hub.repositories[REPO].commits) == 1  # nothing half visible
    hub.dropped_uploads = 0
    arrived = set(hub.lfs)
    n_requests = len(hub.requests)
    push()
    sent = {request.split("/")[-1] for request in hub.requests[n_requests:] if request.startswith("PUT")}
    assert sent
    assert not sent & arrived


def test_a_refused_push_says_why(hub, push):
    hub.failures = [Failure("POST /api/repos/create", 403)]
    with pytest.raises(HubError, match="run 'hf auth login' with a token that may do this"):
        push()


def test_a_push_is_not_told_to_pass_a_folder(hub, push, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set; unset it once to go on$"):
        push()
    assert hub.requests == []


def test_a_folder_without_a_card_is_not_pushed(hub, folder, push):
    folder.card.unlink()
    with pytest.raises(CheckpointError, match=r"no README\.md"):
        push()
    assert hub.requests == []


@pytest.mark.parametrize("kind", ["truncated", "swapped pool", "foreign config"])
def test_a_damaged_folder_is_not_pushed(hub, folder, damage, push, kind):
    message = damage(folder, kind)
    with pytest.raises(CheckpointError, match=message):
        push()
    assert hub.requests == []


def test_a_recorded_file_that_is_gone_is_not_overlooked(hub, folder, push):
    folder.onnx.unlink()
    with pytest.raises(CheckpointError, match=r"onnx/model\.onnx, which is gone"):
        push()
    assert hub.requests == []
