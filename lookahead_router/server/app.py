"""The endpoints, as an ASGI application.

Bodies go on to candidates as they came, so nothing here would gain by being read into a model first.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookahead_router.errors import LookaheadRouterError
from lookahead_router.server.calls import Call, decision_headers, parse_body
from lookahead_router.server.metrics import Metrics
from lookahead_router.server.openapi import description
from lookahead_router.server.playground import page_response
from lookahead_router.server.protocols import Chat, Completions, Protocol, Responses
from lookahead_router.server.refusals import Refusal, refusal_of
from lookahead_router.server.service import Service, Visit
from lookahead_router.server.settings import is_loopback

logger = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[1]
_VISIT = "lookahead_visit"
_ASKED = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models")
_OTHER = "other"
"""What figures call paths that are none."""

Endpoint = Callable[[Service, Request, Visit], Coroutine[Any, Any, Response]]


def make_app(service: Service) -> ASGIApp:
    """The application over a service."""
    routes = [
        Route(path, _endpoint(service, function, **options), methods=[method])
        for method, path, function, options in (
            ("POST", "/v1/chat/completions", _asking(Chat()), {"is_work": True}),
            ("POST", "/v1/completions", _asking(Completions()), {"is_work": True}),
            ("POST", "/v1/responses", _asking(Responses()), {"is_work": True}),
            ("POST", "/v1/route", _route, {"is_work": True}),
            ("POST", "/v1/feedback", _feedback, {"is_work": True}),
            ("GET", "/v1/models", _models, {}),
            ("GET", "/v1/models/{name:path}", _model, {}),
            ("GET", "/metrics", _metrics, {}),
            ("GET", "/health", _health, {"is_open": True}),
            ("GET", "/ready", _ready, {"is_open": True}),
            ("GET", "/", _playground, {"is_open": True}),
            ("GET", "/openapi.json", _openapi, {"is_open": True}),
        )
    ]
    handlers = dict.fromkeys((Exception, Refusal, LookaheadRouterError, RecursionError), _on_error)
    handlers |= {HTTPException: _on_http_error, ClientDisconnect: _on_gone}
    inner = Starlette(routes=routes, exception_handlers=handlers, lifespan=_lifespan(service))
    inner.router.redirect_slashes = False
    return Entrance(service, inner, frozenset(route.path for route in routes))


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
        scope.setdefault("state", {})[_VISIT] = visit

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                visit.first_seconds = time.perf_counter() - visit.started
            try:
                async with asyncio.timeout(self._service.settings.write_seconds):
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
                _report(error)
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


class ClientGone(BaseException):
    """The client ended its connection before it had its answer. No `Exception`: nothing on the way may answer it."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of the work, which is cancelled as soon as the client is gone.

    Raises:
        ClientGone: it is.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return await task
    finally:
        for each in (task, gone):
            if not each.done():
                each.cancel()
                with contextlib.suppress(BaseException):
                    await each


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


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


def _endpoint(
    service: Service, function: Endpoint, *, is_open: bool = False, is_work: bool = False
) -> Callable[[Request], Awaitable[Response]]:
    """The function behind the checks: the key, the rate, and a place at the gate."""

    async def answer(request: Request) -> Response:
        visit: Visit = request.scope["state"][_VISIT]
        if service.keys is not None and not is_open:
            visit.key = service.keys.admit(request.headers.get("authorization"))
        if is_work:
            if service.is_draining:
                raise Refusal(503, "the server is ending", kind="server_error", code="draining", retry_after=1.0)
            if visit.key is not None:
                await service.commons.check_rate(visit.key)
            await visit.stack.enter_async_context(service.gate.enter())
        return await function(service, request, visit)

    return answer


def _asking(protocol: Protocol) -> Endpoint:
    """The endpoint of a protocol, which asks a candidate."""

    async def ask(service: Service, request: Request, visit: Visit) -> Response:
        content = await _body(service, request)
        call = Call(service, visit, protocol, content, request.headers.get("x-lookahead-thread"))
        del content

        async def work() -> Response:
            await call.plan()
            answer = await call.ask()
            if answer.content is None:
                return Stream(answer.chunks(), answer.headers())
            return Response(answer.content, headers=answer.headers(), media_type="application/json")

        return await unless_gone(request.receive, work())

    return ask


async def _route(service: Service, request: Request, visit: Visit) -> Response:
    """A decision, and nobody asked."""
    content = await _body(service, request)
    body = parse_body(content)
    names = [name for name in ("messages", "input", "prompt") if name in body]
    if len(names) != 1:
        raise Refusal(400, "give one of messages, input and prompt")
    protocol: Protocol = {"messages": Chat, "input": Responses, "prompt": Completions}[names[0]]()
    protocol.is_offered_by_all = True  # whom to ask is the question, and not by which protocol
    call = Call(service, visit, protocol, content, request.headers.get("x-lookahead-thread"))
    await call.plan()
    serving, text = call.serving, call.request.text
    record = {"decision_id": call.id, **call.attempts.record}
    del record["attempts"]
    visit.decision["kind"] = "dry run"
    visit.decision["attempts"] = []
    record["seconds"] = {name: round(seconds, 3) for name, seconds in service.call_seconds.items()}
    record |= {"needs": sorted(call.request.needs), "n_tokens": call.request.n_tokens}
    if body.get("curve") and text:
        record["curve"] = await service.compute(serving.curve, text)
    usd = record.get("expected_usd", {}).get(record["candidate"])
    return _json(record, headers=decision_headers(call.id, record, record["candidate"], usd))


async def _feedback(service: Service, request: Request, visit: Visit) -> Response:
    """How good an answer was: the router learns from it."""
    body = parse_body(await _body(service, request))
    decision_id, score = body.get("decision_id"), body.get("score")
    if not isinstance(decision_id, str):
        raise Refusal(400, "decision_id is the text of the header x-lookahead-decision-id", param="decision_id")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise Refusal(400, "score is a number in [0, 1]", param="score")
    if not service.serving.is_open:
        raise Refusal(409, "this router's pool is fixed by its training: it does not learn", code="fixed_pool")
    whose = "" if visit.key is None else visit.key.name
    candidate = await service.commons.feedback(decision_id, whose, float(score))
    service.metrics.feedback.labels(candidate).inc()
    if service.log is not None:
        named = {"id": decision_id, "kind": "feedback", "candidate": candidate, "score": float(score)}
        service.log.add({**named, "time": _now(), "key": visit.key and visit.key.name})
    return _json({"decision_id": decision_id, "candidate": candidate, "score": float(score)})


async def _models(service: Service, request: Request, visit: Visit) -> Response:
    return _json({"object": "list", "data": [_model_record(name) for name in service.serving.models()]})


async def _model(service: Service, request: Request, visit: Visit) -> Response:
    name = request.path_params["name"]
    service.serving.choice(name)  # raises for what is none
    return _json(_model_record(name))


async def _metrics(service: Service, request: Request, visit: Visit) -> Response:
    return Response(service.metrics.text(), media_type=Metrics.content_type)


async def _health(service: Service, request: Request, visit: Visit) -> Response:
    return _json({"status": "ok"})


async def _ready(service: Service, request: Request, visit: Visit) -> Response:
    if service.is_draining:
        return _json({"status": "draining"}, 503)
    return _json({"status": "ready", "candidates": list(service.serving.dispatcher.candidates)})


async def _playground(service: Service, request: Request, visit: Visit) -> Response:
    return page_response()


async def _openapi(service: Service, request: Request, visit: Visit) -> Response:
    return Response(description(), media_type="application/json")


async def _body(service: Service, request: Request) -> bytes:
    """What the client sent.

    Raises:
        Refusal: 413, more than is taken; 408, it did not come in time.
    """
    most = service.settings.max_body_bytes
    length = request.headers.get("content-length", "0")
    too_long = Refusal(413, f"a body has {most} bytes at most", code="request_too_large")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "a body is not to be compressed", code="unsupported_encoding")
    if not length.isdigit() or int(length[:20]) > most:
        raise too_long
    chunks, size = [], 0
    try:
        async with asyncio.timeout(service.settings.body_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise too_long
                chunks.append(chunk)
    except TimeoutError:
        raise Refusal(408, "the body did not come in time", code="request_timeout") from None
    return b"".join(chunks)


async def _on_error(request: Request, error: Exception) -> Response:
    refusal = refusal_of(error)
    visit: Visit = request.scope["state"][_VISIT]
    if refusal is None:
        visit.is_reported = True
        reference = secrets.token_hex(4)
        _report(error, reference)
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


def _report(error: BaseException, reference: str = "–") -> None:
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


def _json(record: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(record), status, headers, media_type="application/json")


def _model_record(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "lookahead-router"}


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="milliseconds")
