"""The endpoints: who is let in, and what each of them does.

They read bodies by themselves: within limits of size and time, whatever the content type says, and those of OpenAI's
protocols go on to candidates as they came.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from pydantic import ValidationError

from lookahead_router.dispatch.cascade import Hops
from lookahead_router.errors import describe
from lookahead_router.server.calls import Call, decision_headers, parse_body
from lookahead_router.server.metrics import Metrics
from lookahead_router.server.playground import page_response
from lookahead_router.server.protocols import Chat, Completions, Protocol, Responses
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.schemas import (
    ERRORS,
    HEADERS,
    ChatAsked,
    CompletionAsked,
    Decision,
    ErrorBody,
    FeedbackGiven,
    FeedbackTaken,
    Health,
    Model,
    Models,
    Readiness,
    ResponseAsked,
    takes,
)
from lookahead_router.server.service import Service, Visit
from lookahead_router.server.streams import Stream, unless_gone

router = APIRouter()


def visit_of(request: Request) -> Visit:
    """What the entrance knows of a request."""
    return request.state.lookahead_visit


def _service_of(request: Request) -> Service:
    return request.app.state.service


class _Door(HTTPBearer):
    """Lets in whoever has a key, or everybody where there are no keys. One dependency a request: each takes time."""

    async def __call__(self, request: Request) -> Visit:
        visit, keys = visit_of(request), _service_of(request).keys
        if keys is not None:
            given = await super().__call__(request)
            visit.key = keys.admit(None if given is None else given.credentials)
        return visit


class _Gate(_Door):
    """Lets in what computes: as often as its key may, and when there is a place at the gate."""

    async def __call__(self, request: Request) -> Visit:
        visit, service = await super().__call__(request), _service_of(request)
        if service.is_draining:
            raise Refusal(503, "the server is ending", kind="server_error", code="draining", retry_after=1.0)
        if visit.key is not None:
            await service.commons.check_rate(visit.key)
        await visit.stack.enter_async_context(service.gate.enter())
        return visit


_KEY = {"scheme_name": "key", "description": "One of the server's own keys, where it has any.", "auto_error": False}
Admitted = Annotated[Visit, Security(_Door(**_KEY))]
AtWork = Annotated[Visit, Security(_Gate(**_KEY))]


def _get(path: str, **about: Any) -> Callable[[Callable], Callable]:
    """An endpoint for GET, and for those who ask with HEAD whether it is there."""

    def add(function: Callable) -> Callable:
        router.add_api_route(path, function, methods=["GET"], **about)
        router.add_api_route(path, function, methods=["HEAD"], include_in_schema=False, **about)
        return function

    return add


def _asking(protocol: Protocol) -> Callable[[Request, Visit], Awaitable[Response]]:
    """The endpoint of a protocol, which asks a candidate."""

    async def ask(request: Request, visit: AtWork) -> Response:
        service = _service_of(request)
        content = await _body(service, request)
        call = Call(service, visit, protocol, content, request.headers.get("x-lookahead-thread"))
        del content

        async def work() -> Response:
            await call.plan()
            answer = await call.ask()
            if answer.content is None:
                return Stream(answer.chunks(), call.headers(answer))
            return Response(answer.content, headers=call.headers(answer), media_type="application/json")

        return await unless_gone(request.receive, work())

    return ask


_ANSWERED = {
    "description": "The candidate's answer, as it came.",
    "headers": HEADERS,
    "content": {
        "application/json": {"schema": {"type": "object"}},
        "text/event-stream": {"schema": {"type": "string"}},
    },
}
for _protocol, _model, _summary in (
    (Chat(), ChatAsked, "An answer to a conversation."),
    (Completions(), CompletionAsked, "How a text goes on."),
    (Responses(), ResponseAsked, "An answer, by the newer protocol."),
):
    router.add_api_route(
        f"/v1{_protocol.path}",
        _asking(_protocol),
        methods=["POST"],
        name=_protocol.path.strip("/").replace("/", "_"),
        summary=_summary,
        response_model=None,
        responses={200: _ANSWERED, **ERRORS},
        openapi_extra=takes(_model),
    )


@router.post(
    "/v1/route",
    summary="The decision alone; nobody is asked.",
    response_model=Decision,
    response_model_exclude_unset=True,
    responses={200: {"headers": HEADERS}, **ERRORS},
    openapi_extra=takes(ChatAsked, CompletionAsked, ResponseAsked, curve={"type": "boolean", "default": False}),
)
async def route(request: Request, response: Response, visit: AtWork) -> dict[str, Any]:
    """A dry run, whose record has the keys of every routing record."""
    service = _service_of(request)
    content = await _body(service, request)
    body = parse_body(content)
    names = [name for name in ("messages", "input", "prompt") if name in body]
    if len(names) != 1:
        raise Refusal(400, "give one of messages, input and prompt")
    protocol: Protocol = {"messages": Chat, "input": Responses, "prompt": Completions}[names[0]]()
    protocol.is_offered_by_all = True  # whom to ask is the question, and not by which protocol
    call = Call(service, visit, protocol, content, request.headers.get("x-lookahead-thread"))
    await call.plan()
    record = {"decision_id": call.id, **call.attempts.record}
    del record["attempts"]
    visit.decision["kind"] = "dry run"
    visit.decision["attempts"] = []
    record["seconds"] = {name: round(seconds, 3) for name, seconds in service.call_seconds.items()}
    if isinstance(hops := call.attempts, Hops):
        record["cascade"] = await service.compute(lambda: hops.plan)
    elif call.serving.dispatcher.cascade is not None:
        record["cascade"] = None
    record |= {"needs": sorted(call.request.needs), "n_tokens": call.request.n_tokens}
    if body.get("curve") and call.request.text:
        record["curve"] = await service.compute(call.serving.curve, call.request.text)
    usd = record.get("expected_usd", {}).get(record["candidate"])
    response.headers.update(decision_headers(call.id, record, record["candidate"], usd))
    return record


@router.post(
    "/v1/feedback",
    summary="How good an answer was; the router learns.",
    response_model=FeedbackTaken,
    responses=ERRORS,
    openapi_extra=takes(FeedbackGiven),
)
async def feedback(request: Request, visit: AtWork) -> FeedbackTaken:
    """Feedback counts once, and for the latest decisions."""
    service = _service_of(request)
    body = parse_body(await _body(service, request))
    try:
        given = FeedbackGiven.model_validate(body)
    except ValidationError as error:
        raise Refusal(400, describe(error), param=str(error.errors()[0]["loc"][0])) from None
    if not service.serving.is_open:
        raise Refusal(409, "this router's pool is fixed by its training: it does not learn", code="fixed_pool")
    whose = "" if visit.key is None else visit.key.name
    candidate = await service.commons.feedback(given.decision_id, whose, given.score)
    service.metrics.feedback.labels(candidate).inc()
    if service.log is not None:
        named = {"id": given.decision_id, "kind": "feedback", "candidate": candidate, "score": given.score}
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        service.log.add({**named, "time": now, "key": visit.key and visit.key.name})
    return FeedbackTaken(decision_id=given.decision_id, score=given.score, candidate=candidate)


@_get("/v1/models", summary="The candidates, and the ways to choose.")
async def models(request: Request, visit: Admitted) -> Models:
    """The models, as OpenAI lists them."""
    return Models(data=[Model(id=name) for name in _service_of(request).serving.models()])


@_get(
    "/v1/models/{name:path}",
    summary="One candidate, or way to choose.",
    responses={"4XX": {"description": "No such model.", "model": ErrorBody}},
)
async def model(name: str, request: Request, visit: Admitted) -> Model:
    """Any that a request may name."""
    _service_of(request).serving.choice(name)  # raises for what is none
    return Model(id=name)


@_get("/metrics", summary="Figures for Prometheus.", response_class=PlainTextResponse)
async def metrics(request: Request, visit: Admitted) -> Response:
    """Figures of all processes of this server."""
    service = _service_of(request)
    return Response(await service.commons.figures(service.metrics), media_type=Metrics.content_type)


@_get("/health", summary="Whether the process is up.")
async def health() -> Health:
    """It is, where this is read."""
    return Health()


@_get(
    "/ready",
    summary="Whether requests are taken.",
    response_model_exclude_unset=True,
    responses={503: {"description": "It is ending.", "model": Readiness}},
)
async def ready(request: Request, response: Response) -> Readiness:
    """They are until the server is told to end."""
    service = _service_of(request)
    if service.is_draining:
        response.status_code = 503
        return Readiness(status="draining")
    return Readiness(status="ready", candidates=list(service.serving.dispatcher.candidates))


@_get("/", summary="A page to try it on.", response_class=HTMLResponse)
async def playground() -> Response:
    """It loads nothing, from nowhere."""
    return page_response()


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
