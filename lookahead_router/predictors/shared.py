"""One pass of a network for all that one call asks of the same texts: a decision, and the route that it belongs to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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
