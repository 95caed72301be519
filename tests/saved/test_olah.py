"""The read path against olah, a mirror of the Hub that others wrote: what our own stand-in cannot prove."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from lookahead_router import LookaheadPredictor, Router

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
REPO = "org/toy"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(predictor_folder, tmp_path_factory) -> Path:
    """A git work tree with two commits, the first of them tagged v1."""
    folder = tmp_path_factory.mktemp("mirrors") / "models" / "org" / "toy"
    shutil.copytree(predictor_folder, folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "tag", "v1")
    (folder / "README.md").write_text("# another card\n")
    git(folder, "commit", "--quiet", "-a", "-m", "second")
    return folder


@pytest.fixture(scope="module")
def endpoint(repository, tmp_path_factory):
    olah = Path(sys.executable).with_name("olah-cli")
    if not olah.exists():
        pytest.skip("olah is not installed")
    home = tmp_path_factory.mktemp("olah")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "config.toml").write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{home}/repos"\n'
        f'mirrors-path = ["{repository.parents[2]}"]\n[accessibility]\noffline = true\n'
    )
    command = [olah, "-c", home / "config.toml", "--log-path", home / "logs"]
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=home, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/models/{REPO}/revision/main", process, home / "output")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(url: str, process: subprocess.Popen, output: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                json.load(answer)
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"olah did not come up: {output.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def at(endpoint, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    return {"endpoint": endpoint, "cache_dir": tmp_path / "cache"}


def test_a_mirrored_repository_routes_as_its_folder_does(at, repository, predictor_folder):
    pulled, local = Router.from_pretrained(REPO, **at), Router.from_pretrained(predictor_folder)
    prompts = ["sum 1 2 3 ?", "rhyme river stone ?"]
    assert np.array_equal(pulled.predictor.predict(prompts).scores, local.predictor.predict(prompts).scores)
    assert pulled.route(prompts[0]).revision == git(repository, "rev-parse", "main")


def test_a_tag_and_a_commit_are_resolved(at, repository):
    first = git(repository, "rev-parse", "v1")
    assert LookaheadPredictor.load(REPO, revision="v1", **at).revision == first
    assert LookaheadPredictor.load(REPO, revision=first, **at).revision == first


def test_only_what_routing_reads_is_in_the_cache(at):
    LookaheadPredictor.load(REPO, **at)
    (snapshot,) = (at["cache_dir"] / "models--org--toy" / "snapshots").iterdir()
    names = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()}
    assert names == {"config.json", "pool.json", "tokenizer.json", "onnx/model_int8.onnx"}
