"""The endpoints, as an ASGI application."""

import asyncio
import contextlib
import logging
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import lookahead_router
from lookahead_router.errors import LookaheadRouterError
from lookahead_router.server.endpoints import router, visit_of
from lookahead_router.server.refusals import Refusal, refusal_of
from lookahead_router.server.service import Service, Visit
from lookahead_router.server.settings import is_loopback
from lookahead_router.server.streams import ClientGone

logger = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[1]
_ASKED = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models")
_DESCRIPTION = "/openapi.json"
_OTHER = "other"
"""What figures call paths that are none."""
_NO_REPORTS = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}
"""FastAPI would tell OpenTelemetry of requests, errors and their words, and send them where the environment says."""


def make_app(service: Service) -> ASGIApp:
    """The application over a service."""
    handlers = dict.fromkeys((Exception, Refusal, LookaheadRouterError, RecursionError), _on_error)
    handlers |= {HTTPException: _on_http_error, ClientDisconnect: _on_gone}
    inner = FastAPI(
        title="lookahead-router",
        version=lookahead_router.__version__,
        description="Sends each request to the candidate that will answer it best for the money.",
        openapi_url=_DESCRIPTION,
        docs_url=None,  # pages that load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=handlers,
        lifespan=_lifespan(service),
        telemetry=_NO_REPORTS,
        routes=list(router.routes),  # a router of its own would be looked through beside the application's
    )
    inner.state.service = service
    return Entrance(service, inner, frozenset({_DESCRIPTION, *(route.path for route in router.routes)}))


class Entrance:
    """What every request passes: whose page it comes from, what it holds, how it ended, and that it ends."""

    def __init__(self, service: Service, inner: ASGIApp, endpoints: frozenset[str]) -> None:
        self._service, self._inner, self._endpoints = service, inner, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._inner(scope, receive, send)
            return
        path = scope["path"]
        endpoint = path if path in self._endpoints else _OTHER
        stack = AsyncExitStack()
        visit = Visit(endpoint, stack)
        scope.setdefault("state", {})["lookahead_visit"] = visit

        head: list[Message] = []

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                visit.first_seconds = time.perf_counter() - visit.started
                head.append(message)  # goes out with what comes first of the body
                return
            try:
                async with asyncio.timeout(self._service.settings.write_seconds):
                    while head:
                        await send(head.pop())
                    await send(message)
            except TimeoutError:
                raise ClientGone from None  # a reader that takes nothing

        try:
            async with stack:
                refusal = self._stranger(scope)
                if refusal is not None:
                    await refusal.response()(scope, receive, noted)
                else:
                    await self._inner(scope, receive, noted)
        except ClientGone:
            visit.status = 499
        except Exception as error:
            if not visit.is_reported:
                report(error)
        finally:
            self._service.finish(visit)

    def _stranger(self, scope: Scope) -> Refusal | None:
        """Why a request of a browser is none of its user's: of a page from elsewhere, or under another host's name."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            return Refusal(403, "requests of other sites' pages are not answered", code="foreign_origin")
        if self._service.keys is None:
            peer = scope.get("client")
            if not is_loopback(_name_of(host)) or (peer is not None and not is_loopback(peer[0])):
                return Refusal(403, "without keys only requests to localhost are answered", code="foreign_host")
        return None


def _name_of(host: str) -> str:
    """The name in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _on_error(request: Request, error: Exception) -> Response:
    refusal = refusal_of(error)
    visit = visit_of(request)
    if refusal is None:
        visit.is_reported = True
        reference = secrets.token_hex(4)
        report(error, reference)
        message = f"an error of the server, noted in its log as {reference}"
        refusal = Refusal(500, message, kind="server_error", code="internal_error")
    headers = {"x-lookahead-decision-id": visit.decision["id"]} if visit.decision else {}
    return refusal.response(headers)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    path = request.url.path
    message = f"{error.detail}: {request.method} {path[:200]}"
    if error.status_code == 404 and f"/v1{path.rstrip('/')}" in _ASKED:
        message += "; the base URL ends in /v1"
    return Refusal(error.status_code, message, code=code).response(dict(error.headers or {}))


async def _on_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def report(error: BaseException, reference: str = "–") -> None:
    """Notes an error that nobody expected: its type and its place. Its words may hold a prompt."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere"
    logger.error("error %s: %s at %s", reference, type(error).__name__, place)


def _lifespan(service: Service) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def run(app: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(service.run_in_background())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await service.close()

    return run
