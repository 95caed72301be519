"""Graphs whose weights stay in their file."""

import sys
from pathlib import Path

import numpy as np
import pytest

from lookahead_router.backends.mapped import without_weights
from lookahead_router.backends.runtime import Session
from lookahead_router.errors import CheckpointError
from lookahead_router.saved.find import EMBEDDED, OPEN_EMBEDDED

GRAPHS = [path / "onnx" / "model_int8.onnx" for path in (EMBEDDED, OPEN_EMBEDDED)]


def outputs(session: Session) -> list[np.ndarray]:
    feed = {"prompt_ids": np.arange(1000, 1040)[None], "prompt_mask": np.ones((1, 40), dtype=np.int64)}
    return session.run(list(session.outputs), feed)


@pytest.mark.parametrize("path", GRAPHS, ids=["five", "any pool"])
def test_mapped_weights_give_the_same_bits_as_weights_that_are_copied(path):
    copied, mapped = (Session(path, n_threads=1, is_installed=is_installed) for is_installed in (False, True))
    for one, other in zip(outputs(copied), outputs(mapped), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("path", GRAPHS, ids=["five", "any pool"])
def test_next_to_nothing_of_the_weights_is_held_beside_the_file(path):
    assert len(without_weights(path)) < path.stat().st_size / 50


@pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is read from /proc")
def test_an_installed_graph_is_mapped_and_any_other_may_be_written_over(tmp_path):
    session = Session(GRAPHS[1], n_threads=1, is_installed=True)
    assert str(GRAPHS[1]) in Path("/proc/self/maps").read_text()
    copy = tmp_path / "model.onnx"
    copy.write_bytes(GRAPHS[1].read_bytes())
    other = Session(copy, n_threads=1)
    assert str(copy) not in Path("/proc/self/maps").read_text()
    del session, other


@pytest.mark.parametrize("content", [b"", b"\x3a\xff", b"\x3a\x05\x2a", b"\x07", b"not a graph", b"\xff" * 40])
def test_a_file_that_is_no_graph_is_said_to_be_none(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a graph"):
        Session(path, is_installed=True)
