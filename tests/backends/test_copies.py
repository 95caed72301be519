"""Copies of graphs whose weights processes share: the same bits, one writer, and nobody else's files."""

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lookahead_router.backends import copies
from lookahead_router.backends.onnx import OnnxDemandBackend
from lookahead_router.errors import CheckpointError
from lookahead_router.predictors.load import OPEN_EMBEDDED

pytestmark = pytest.mark.skipif(not copies._BOOT.exists(), reason="only Linux names its starts")
GRAPH = OPEN_EMBEDDED / "onnx" / "model_int8.onnx"
IDS = np.random.default_rng(0).integers(1000, 20_000, (1, 60))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of the copies, in a temporary folder of its own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(copies._Switch, "is_on", True)
    return tmp_path / f"lookahead-router-{os.getuid()}"


def opened(path=GRAPH):
    return OnnxDemandBackend(path, n_threads=1)


def foreseen(backend):
    return [array.tobytes() for array in backend.foresee(IDS, np.ones_like(IDS))]


@pytest.fixture(scope="module")
def expected():
    return foreseen(opened())


def n_copies(place):
    return len(list(place.glob("*/*.onnx")))


def test_a_copy_gives_the_same_bits_and_is_made_once(place, expected):
    for _ in range(2):
        backend = opened()
        assert backend._session.path.is_relative_to(place)
        assert foreseen(backend) == expected
        assert {file.name for file in place.iterdir()} == {"lock", backend._session.path.parent.name}
        assert place.stat().st_mode & 0o777 == 0o700
        written = {file: file.stat().st_mtime_ns for file in place.glob("*/*")}
        del backend
    assert {file: file.stat().st_mtime_ns for file in place.glob("*/*")} == written


def test_nothing_is_copied_unless_a_process_says_so(place, monkeypatch):
    monkeypatch.setattr(copies._Switch, "is_on", False)
    assert opened()._session.path == GRAPH
    assert not place.exists()


def test_whoever_comes_at_the_same_time_uses_the_same_copy(place):
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: copies._copy_of(GRAPH, is_installed=True), range(4)))
    assert len(set(found)) == n_copies(place) == 1
    assert {file.name for file in place.iterdir()} == {"lock", found[0].parent.name}  # and nothing half written


def test_a_copy_that_lost_a_file_is_made_anew(place, expected):
    copy = copies._copy_of(GRAPH, is_installed=True)
    copy.with_name("weights.bin").unlink()
    backend = opened()
    assert backend._session.path == copy
    assert foreseen(backend) == expected


@pytest.mark.parametrize("whose", ["link", "open to others", "file"])
def test_a_place_that_may_be_anothers_is_not_used(place, tmp_path, expected, whose, caplog):
    if whose == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif whose == "file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        backend = opened()
    assert "not a folder of this user alone" in caplog.text
    assert backend._session.path == GRAPH
    assert foreseen(backend) == expected
    assert not place.is_dir() or not list(place.iterdir())


def test_a_copy_that_says_something_else_is_not_kept(place, monkeypatch):
    answers = iter(([b"a"], [b"b"]))
    monkeypatch.setattr(copies, "_answers", lambda session: next(answers))
    with pytest.raises(CheckpointError, match="gives other bits"):
        copies._make(copies._own_folder(), GRAPH, is_installed=True)
    assert n_copies(place) == 0


def test_a_graph_that_cannot_be_copied_is_opened_as_it_is(place, tmp_path, caplog):
    graph = tmp_path / "model_int8.onnx"
    graph.write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match="not a graph that ONNX Runtime can run"):
        opened(graph)
    assert "not shared" in caplog.text


READ = """
import json, sys
from pathlib import Path
from lookahead_router import Router
from lookahead_router.backends import copies
if sys.argv[1] == "mapped":
    copies.map_weights()
router = Router.from_pretrained(candidates=["gpt-4o-2024-08-06", "llama-3.1-8b-instruct"], n_threads=1)
decision = router.route("Prove that there are infinitely many primes.")
print(json.dumps(decision.probabilities), flush=True)
sys.stdin.readline()
"""


def pss_mb(pid: int) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Pss"].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="pages are counted in /proc")
def test_four_processes_hold_the_weights_once(tmp_path):
    found = {}
    for kind in ("own", "mapped"):
        command = [sys.executable, "-c", READ, kind]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(4)]
        try:
            told = [json.loads(process.stdout.readline()) for process in processes]
            found[kind] = told, sum(pss_mb(process.pid) for process in processes) / 4
        finally:
            for process in processes:
                process.communicate("\n", timeout=30)
    assert found["own"][0] == found["mapped"][0]
    # Of the installed weights all but what the kernels rearrange is shared anyway.
    assert found["mapped"][1] < found["own"][1] - 4
