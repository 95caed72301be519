"""Prompts through a backend: batches by length, as many at one time as it has threads, and no text twice in a call."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lookahead_router.predictors.tokenization import left_pad

if TYPE_CHECKING:
    from lookahead_router.backends.base import Backend, DemandBackend

T = TypeVar("T")


def passes(
    backend: "Backend | DemandBackend",
    rows: Sequence[np.ndarray],
    pad_token_id: int,
    run: "Callable[[Backend | DemandBackend, np.ndarray, np.ndarray], T]",
) -> Iterable[tuple[list[int], T]]:
    """What a backend gives for prompts, a batch at a time: the numbers of its rows, and its outputs.

    Passes beside each other use cores better than threads within a pass do, and change no number of it. Where there are
    enough of them each has one thread, which takes a sixth less of the processor than a share of several.

    Args:
        backend: says how many prompts a pass takes, and how many passes run beside each other.
        rows: framed token ids of each prompt.
        pad_token_id: what fills shorter rows.
        run: from a backend, `(B, T)` ids and mask to the outputs of a pass.
    """
    if len(rows) == 1:  # no generator, whose end costs as much as some products
        return [([0], run(backend, *left_pad(rows, pad_token_id)))]
    return _batches(backend, rows, pad_token_id, run)


def _batches(
    backend: "Backend | DemandBackend",
    rows: Sequence[np.ndarray],
    pad_token_id: int,
    run: "Callable[[Backend | DemandBackend, np.ndarray, np.ndarray], T]",
) -> Iterator[tuple[list[int], T]]:
    by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    size = backend.max_batch_size
    batches = [by_length[start : start + size] for start in range(0, len(rows), size)]

    def one(batch: list[int]) -> tuple[list[int], T]:
        return batch, run(backend, *left_pad([rows[row] for row in batch], pad_token_id))

    n_threads = getattr(backend, "n_threads", 1)
    if 1 < n_threads <= len(batches):
        backend = backend.beside
    n_beside = min(n_threads, len(batches))
    if n_beside < 2:
        yield from map(one, batches)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(n_beside)
    try:
        yield from pool.map(one, batches)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error nobody waits for the rest


_PASSES: ContextVar[dict[tuple[int, tuple[str, ...]], Any] | None] = ContextVar("_PASSES", default=None)


@contextmanager
def one_pass() -> Iterator[None]:
    """Within it, and in this thread or task alone, a network reads the same texts once; nothing is kept beyond it."""
    token = _PASSES.set({} if _PASSES.get() is None else _PASSES.get())
    try:
        yield
    finally:
        _PASSES.reset(token)


def shared(owner: object, texts: Sequence[str], read: Callable[[Sequence[str]], Any]) -> Any:
    """What `read` gives of these texts; where the same owner read them within this `one_pass`, what it gave then."""
    passes = _PASSES.get()
    if passes is None:
        return read(texts)
    key = id(owner), tuple(texts)
    if key not in passes:
        passes[key] = read(texts)
    return passes[key]
