"""How many requests are at work, how many wait, and who is sent away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lookahead_router.server.refusals import Refusal


async def acquire(places: asyncio.Semaphore, seconds: float) -> None:
    """Takes a place, at once where one is free: a clock that nobody needs costs as much as a small answer's parsing.

    Raises:
        TimeoutError: none became free in time.
    """
    if not places.locked():
        await places.acquire()
        return
    async with asyncio.timeout(seconds):
        await places.acquire()


class Gate:
    """Lets so many requests in at a time; so many others wait, in their order, for so long."""

    def __init__(self, max_inside: int, max_waiting: int, wait_seconds: float) -> None:
        self._free = asyncio.Semaphore(max_inside)
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self.inside = 0
        self.waiting = 0

    @asynccontextmanager
    async def enter(self) -> AsyncIterator[None]:
        """A place inside, for the length of the block.

        Raises:
            Refusal: 429, where too many wait already, or it took too long.
        """
        if self._free.locked() and self.waiting >= self._max_waiting:
            raise self._full("too many requests wait already")
        self.waiting += 1
        try:
            await acquire(self._free, self._wait_seconds)
        except TimeoutError:
            raise self._full(f"no place for {self._wait_seconds:g} seconds") from None
        finally:
            self.waiting -= 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._free.release()

    def _full(self, why: str) -> Refusal:
        return Refusal(
            429, f"the server is at its limit: {why}", kind="rate_limit_error", code="server_busy", retry_after=1.0
        )
