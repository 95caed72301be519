"""The border to huggingface_hub: access, errors without secrets, files that are mended."""

import os
import subprocess
import sys

import pytest
from servers.hub_server import Failure, HubServer

from lookahead_router.errors import CheckpointError, ConfigurationError, HubError
from lookahead_router.hub import fetch_snapshot, hub_errors

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # of huggingface_hub's own requests
]
REPO = "org/toy"
SECRET = "hf_SECRET"


@pytest.fixture(autouse=True)
def quiet_hub(monkeypatch):
    import huggingface_hub

    for name in ("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setattr(huggingface_hub.constants, name, True)
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)


@pytest.fixture
def hub(tmp_path):
    """A repository of a small and a large file."""
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "small.json").write_text('{"a": 1}')
    (folder / "data" / "large.jsonl").write_text('{"a": 1}\n' * 2000)
    with HubServer() as server:
        server.add(REPO, folder)
        yield server


@pytest.fixture
def at(hub, tmp_path):
    return {"endpoint": hub.endpoint, "cache_dir": tmp_path / "cache"}


def everything_of(error: BaseException | None) -> str:
    """All that an error says and holds, with its chain."""
    seen, text = set(), []
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        request = getattr(getattr(error, "response", None), "request", None)
        text.append(f"{error!r} {error} {vars(error)} {getattr(error, 'object', '')} {getattr(request, 'headers', '')}")
        error = error.__cause__ or error.__context__
    return " ".join(text)


# Access


@pytest.mark.parametrize(
    "token", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}\u2026", f"{SECRET}\x00", f"{SECRET} x", "", 5, SECRET.encode()]
)
def test_a_token_that_no_request_can_carry_is_refused_before_it_is_sent(hub, at, token):
    with pytest.raises(HubError, match="token") as caught:
        fetch_snapshot(REPO, ["*"], {**at, "token": token})
    assert "SECRET" not in everything_of(caught.value)
    assert hub.requests == []


def test_so_is_one_that_is_stored_or_in_the_environment(hub, at, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: f"{SECRET}\u2026")
    with pytest.raises(HubError, match="token") as caught:
        fetch_snapshot(REPO, ["*"], at)
    assert "SECRET" not in everything_of(caught.value)
    fetch_snapshot(REPO, ["*"], {**at, "token": False})


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:9", "http://[::1", "http://", "ftp://host", "http://host:99999999", "nonsense"]
)
def test_an_endpoint_that_is_no_url_is_refused(tmp_path, endpoint):
    with pytest.raises(HubError, match="the endpoint is no URL"):
        fetch_snapshot(REPO, ["*"], {"endpoint": endpoint, "cache_dir": tmp_path})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 429, 500, 503])
def test_no_error_of_the_hub_holds_the_token(hub, at, status):
    hub.failures = [Failure("/api/models/", status)]
    with pytest.raises(HubError) as caught:
        fetch_snapshot(REPO, ["*"], {**at, "token": SECRET})
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert SECRET not in everything_of(caught.value)


@pytest.mark.parametrize("error", [ValueError(SECRET), KeyError(SECRET), AssertionError(SECRET), UnicodeError(SECRET)])
def test_whatever_goes_wrong_at_the_hub_is_a_hub_error(error):
    with pytest.raises(HubError, match=type(error).__name__) as caught, hub_errors(REPO):
        raise error
    assert SECRET not in everything_of(caught.value)


def test_errors_ofwho_asks_pass():
    with pytest.raises(ConfigurationError), hub_errors(REPO):
        raise ConfigurationError("of ours")


# Files


def test_files_are_those_that_were_asked_for_of_one_commit(hub, at):
    snapshot = fetch_snapshot(REPO, ["*.json"], at)
    assert snapshot.names() == ["small.json"]
    assert snapshot.commit == hub.repositories[REPO].refs["main"]


@pytest.mark.parametrize("name", ["small.json", "data/large.jsonl"])
def test_a_damaged_file_is_found_by_the_name_of_its_blob_and_fetched_again(hub, at, name):
    snapshot = fetch_snapshot(REPO, ["*"], at)
    assert snapshot.damaged() == []
    path = snapshot.path / name
    content = path.read_bytes()
    path.resolve().write_bytes(content[:-9])
    assert snapshot.damaged() == [name]
    snapshot.mend([name])
    assert snapshot.damaged() == []
    assert path.read_bytes() == content


def test_a_blob_that_is_called_otherwise_counts_as_whole(hub, at):
    snapshot = fetch_snapshot(REPO, ["small.json"], at)
    path = snapshot.path / "small.json"
    path.unlink()
    (snapshot.root / "blobs" / "some-etag").write_text("{}")
    path.symlink_to(snapshot.root / "blobs" / "some-etag")
    assert snapshot.damaged() == []


def test_what_cannot_be_fetched_again_is_named_with_what_to_delete(hub, at):
    snapshot = fetch_snapshot(REPO, ["*"], at)
    hub.failures = [Failure("/resolve/", 503)]
    with pytest.raises(CheckpointError, match=r"small\.json is damaged .* 503.* or delete .*models--org--toy"):
        snapshot.mend(["small.json"])
    snapshot = fetch_snapshot(REPO, ["*"], {**at, "local_files_only": True})
    with pytest.raises(CheckpointError, match="only the cache was to be used"):
        snapshot.mend(["small.json"])


def test_what_else_is_installed_is_not_told_though_huggingface_hub_was_imported_before(tmp_path):
    code = """
import huggingface_hub
from huggingface_hub.utils import build_hf_headers
from lookahead_router.hub import who_asks

print(build_hf_headers(**who_asks())["user-agent"])
"""
    clean = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name and "OFFLINE" not in name}
    environment = {**clean, "CLAUDECODE": "1", "AI_AGENT": "spy"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "lookahead-router" in said.stdout
    assert "torch" not in said.stdout
    assert "agent/" not in said.stdout
