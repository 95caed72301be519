"""Answers on their way to a client, who may go away or take his time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class ClientGone(BaseException):
    """The client ended its connection before it had its answer. No `Exception`: nothing on the way may answer it."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the work, which is cancelled as soon as the client is gone.

    Raises:
        ClientGone: it is.
    """
    task, is_gone = asyncio.current_task(), False

    async def watch() -> None:
        nonlocal is_gone
        with contextlib.suppress(Exception):  # a connection that cannot be listened to is gone as well
            while (await receive())["type"] != "http.disconnect":
                pass
        is_gone = True
        task.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if is_gone and task.uncancel() == 0:  # else somebody ends the request besides, and waits for that
            raise ClientGone from None
        raise
    finally:
        watching.cancel()


class Stream(Response):
    """A body in pieces, each sent when the one before has been taken."""

    def __init__(self, chunks: AsyncIterator[bytes], headers: dict[str, str]) -> None:
        self._chunks = chunks
        self.status_code = 200
        self.background = None
        self.init_headers(
            {**headers, "content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it all, unless the client goes away."""
        await unless_gone(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with contextlib.aclosing(self._chunks):
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
