"""Batches of prompts on their way through a backend."""

import threading

import numpy as np
import pytest

from lookahead_router import LookaheadPredictor, OpenPoolPredictor
from lookahead_router.predictors.passes import passes

ROWS = [np.arange(1, length + 1) for length in (5, 2, 9, 3, 3, 7, 1, 4)]


class Backend:
    name = "made up"

    def __init__(self, *, n_threads: int, max_batch_size: int = 1) -> None:
        self.n_threads, self.max_batch_size = n_threads, max_batch_size
        self.shapes: list[tuple[int, int]] = []
        self.together = threading.Barrier(n_threads)
        self.beside = self

    def run(self, backend: "Backend", ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        self.together.wait(timeout=20)  # only ends if so many calls are under way
        self.shapes.append(ids.shape)
        return (ids * mask).sum(axis=1)


@pytest.mark.parametrize(("n_threads", "size"), [(1, 1), (1, 3), (2, 1), (4, 1), (2, 2), (4, 2)])
def test_every_prompt_has_its_own_outputs_and_so_many_passes_run_beside_each_other(n_threads, size):
    backend, found = Backend(n_threads=n_threads, max_batch_size=size), {}
    for batch, outputs in passes(backend, ROWS, 0, backend.run):
        found |= dict(zip(batch, outputs, strict=True))
    assert [found[row] for row in range(len(ROWS))] == [row.sum() for row in ROWS]
    assert max(shape[0] for shape in backend.shapes) == size


def test_a_pass_that_fails_is_told_and_the_rest_are_not_run():
    backend, begun = Backend(n_threads=2), []

    def run(backend: Backend, ids: np.ndarray, mask: np.ndarray) -> None:
        begun.append(ids)
        raise OverflowError

    with pytest.raises(OverflowError):
        list(passes(backend, [np.ones(1, dtype=int)] * 2000, 0, run))
    assert len(begun) < 2000


def test_a_lone_prompt_starts_no_thread():
    before = threading.active_count()
    backend = Backend(n_threads=1)
    backend.n_threads = 4
    seen = [threading.active_count() for _ in passes(backend, ROWS[:1], 0, lambda backend, ids, mask: ids)]
    assert seen == [before]


def test_passes_beside_each_other_have_one_thread_each_once_there_are_enough_of_them():
    backend, seen = Backend(n_threads=3), []
    backend.beside = Backend(n_threads=1)
    for n_rows in (1, 2, 3, 8):
        used = {run_on for _, run_on in passes(backend, ROWS[:n_rows], 0, lambda backend, ids, mask: backend)}
        seen.append(used)
    assert seen == [{backend}, {backend}, {backend.beside}, {backend.beside}]


PROMPTS = ["Prove that the square root of 2 is irrational.", "Hello!", "x " * 150, "¿Qué hora es?", "a", "b " * 40]


@pytest.mark.parametrize("kind", [LookaheadPredictor, OpenPoolPredictor])
def test_a_prompt_has_the_same_bits_alone_and_among_others_however_many_threads_there_are(kind):
    single, several = kind.load(n_threads=1), kind.load(n_threads=3)
    together = several.predict(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        np.testing.assert_array_equal(single.predict([prompt]).scores[0], together.scores[row])
