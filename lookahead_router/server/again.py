"""For the proxies of Ray Serve: a request whose replica is lost is given to another one.

RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=lookahead_router.server.again:middlewares ray start …
"""

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRIES = 5
"""Tries of a request whose replicas are lost."""
MAX_KEPT_BYTES = 20_000_000
"""Size of a body that is kept for another try, at most."""


def middlewares() -> list[Middleware]:
    """What Serve's proxies put before every application."""
    return [Middleware(AskAgain)]


class AskAgain:
    """Gives a request whose replica is lost before its answer has begun to another one.

    A stream that has begun ends with an event that says so.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, as often as need be."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(receive, send)
        for _ in range(TRIES):
            await self._app(dict(scope), request.again(), request.send)
            if request.has_begun or not request.can_be_repeated:
                break
        await request.end()


class _Request:
    """What was read of a request, and what of its answer was sent."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._read: list[Message] = []
        self._n_bytes = 0
        self.has_begun = self._is_over = self._is_stream = False
        self.can_be_repeated = True

    def again(self) -> Receive:
        """Gives what was read before, and then what comes."""
        before = iter(list(self._read))

        async def receive() -> Message:
            message = next(before, None)
            if message is None:
                message = await self._receive()
                self._n_bytes += len(message.get("body", b""))
                self.can_be_repeated &= message["type"] == "http.request" and self._n_bytes <= MAX_KEPT_BYTES
                if self.can_be_repeated:
                    self._read.append(message)
            return message

        return receive

    async def send(self, message: Message) -> None:
        """Sends a part of the answer."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._is_stream = dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream")
        self._is_over |= message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Ends a stream that broke off."""
        if self.has_begun and self._is_stream and not self._is_over:
            error = b'{"error": {"message": "the replica was lost", "type": "server_error", "param": null, "code": '
            event = b"data: " + error + b'"stream_interrupted"}}\n\n'
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
