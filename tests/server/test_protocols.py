"""The protocols beside chat, and what a candidate's settings add to a request."""

import asyncio
import importlib
import json
from contextlib import ExitStack
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from servers.raw_server import Raw, RawServer, as_events, as_json
from servers.router_server import CANDIDATES, CHEAP, STRONG, ServerProcess

from lookahead_router.live.pool import CandidateConfig
from lookahead_router.server.app import make_app
from lookahead_router.server.endpoints import router
from lookahead_router.server.protocols import Chat, Completions, Responses
from lookahead_router.server.settings import Settings

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def respond(path, body):
    """Both of OpenAI's newer and older protocol."""
    if path == "/completions":
        choice = {"index": 0, "text": f"{body['prompt']} and so on", "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        return as_json({"id": "cmpl", "object": "text_completion", "choices": [choice], "usage": usage})
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}
    response = {
        "id": f"resp_{body['model']}",
        "object": "response",
        "status": "completed",
        "model": body["model"],
        "output": [item],
        "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
    }
    if not body.get("stream"):
        return as_json(response)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    return as_events(
        f"event: response.created\ndata: {json.dumps({'type': 'response.created', 'response': begun})}\n\n",
        {"type": "response.output_text.delta", "delta": "hello"},
        {"type": "response.completed", "response": response},
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server whose second candidate alone offers `/responses`, and the servers behind it."""
    with ExitStack() as stack:
        behind = {name: stack.enter_context(RawServer(respond)) for name in CANDIDATES}
        entries = [
            {"name": STRONG, "base_url": behind[STRONG].url, "capabilities": ["tools"]},
            {"name": CHEAP, "base_url": behind[CHEAP].url, "capabilities": ["responses"]},
        ]
        pool = tmp_path_factory.mktemp("protocols") / "pool.json"
        pool.write_text(json.dumps({"candidates": entries}))
        server = ServerProcess(pool)
        stack.callback(server.end)
        yield server, behind


def test_responses_go_to_a_candidate_that_offers_them_and_later_ones_to_the_same(served):
    server, behind = served
    body = {"model": "auto:best", "input": "Prove that there are infinitely many primes.", "store": True}
    answer = server.client.post("/v1/responses", json=body)
    assert answer.headers["x-lookahead-candidate"] == CHEAP
    assert answer.json()["output"][0]["content"][0]["text"] == "hello"
    assert float(answer.headers["x-lookahead-cost"]) > 0
    path, asked, _ = behind[CHEAP].requests[-1]
    assert path == "/responses"
    assert asked == {**body, "model": CHEAP}
    follow = {"model": "auto", "input": "And then?", "previous_response_id": answer.json()["id"]}
    assert server.client.post("/v1/responses", json=follow).headers["x-lookahead-reason"] == "sticky"


def test_a_protocol_that_nobody_offers_is_told(tmp_path):
    with RawServer(respond) as behind:
        pool = tmp_path / "pool.json"
        pool.write_text(json.dumps({"candidates": [{"name": CHEAP, "base_url": behind.url}]}))
        server = ServerProcess(pool)
        try:
            answer = server.client.post("/v1/responses", json={"model": "auto", "input": "hi"})
        finally:
            server.end()
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_offered"


def test_a_stream_of_responses_is_passed_on_as_it_came_and_ends_by_its_own_last_event(served):
    server, behind = served
    body = {"model": CHEAP, "input": "hi", "stream": True}
    answer = server.client.post("/v1/responses", json=body)
    assert answer.content == b"".join(respond("/responses", body).chunks)
    cut = as_events({"type": "response.output_text.delta", "delta": "hel"})
    behind[CHEAP].script = lambda path, asked: cut
    try:
        broken = server.client.post("/v1/responses", json=body)
    finally:
        behind[CHEAP].script = respond
    assert json.loads(broken.text.split("data: ")[-1])["type"] == "error"


def test_a_text_is_continued_and_tokens_go_to_the_first_candidate(served):
    server, _ = served
    body = {"model": "auto", "prompt": "Once upon a time", "max_tokens": 5}
    answer = server.client.post("/v1/completions", json=body)
    assert answer.json()["choices"][0]["text"] == "Once upon a time and so on"
    tokens = server.client.post("/v1/completions", json={"model": "auto", "prompt": [1, 2, 3]})
    assert tokens.headers["x-lookahead-reason"] == "default"
    assert tokens.headers["x-lookahead-candidate"] == STRONG


@pytest.mark.parametrize(
    ("path", "body"), [("/completions", {"prompt": "hi"}), ("/responses", {"input": "hi", "model": CHEAP})]
)
def test_who_does_not_offer_a_protocol_is_none_the_worse_for_chats(served, path, body):
    server, behind = served
    for each in behind.values():
        each.script = lambda path, body: Raw([b'{"detail":"Not Found"}'], status=404)
    try:
        assert server.client.post(f"/v1{path}", json=body).status_code == 400
    finally:
        for each in behind.values():
            each.script = respond
    told = server.client.post("/v1/route", json={"prompt": "hi"}).json()
    assert "cooling" not in told


def test_a_base_url_without_v1_is_told_so(served):
    server, _ = served
    for path in ("/chat/completions", "/models", "/responses/"):
        assert "the base URL ends in /v1" in server.client.post(path, json={}).json()["error"]["message"]
    assert "base URL" not in server.client.post("/v1/embeddings", json={}).json()["error"]["message"]


def test_a_body_that_is_too_deep_for_a_candidate_is_the_clients_mistake(served):
    server, _ = served
    deep = b'{"model":"' + CHEAP.encode() + b'","input":"x","a":' + b"[" * 900 + b"]" * 900 + b"}"
    assert server.client.post("/v1/responses", content=deep).status_code in (200, 400)


def test_events_arrive_whole_however_they_are_cut_on_the_way(served):
    server, behind = served
    shown = b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\n: note\n\n'
    whole = shown + b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    for size in (1, 2, 3, 7):
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        behind[CHEAP].script = lambda path, body, chunks=chunks: Raw(chunks, content_type="text/event-stream")
        try:
            body = {"model": CHEAP, "stream": True, "messages": [{"role": "user", "content": "x"}]}
            assert server.client.post("/v1/chat/completions", json=body).content == whole
        finally:
            behind[CHEAP].script = respond


SETTINGS = {
    "name": "mine",
    "model": "org/mine-7b",
    "base_url": "http://localhost:1/v1",
    "parameters": {"temperature": 0.5, "max_tokens": 99, "extra_body": {"top_k": 3}},
    "system_prompt": "Be brief.",
}


def test_a_candidates_parameters_are_defaults():
    candidate = CandidateConfig(**SETTINGS)
    messages = [{"role": "user", "content": "x"}]
    asked = Chat().body_for({"model": "auto", "messages": messages, "temperature": 0}, candidate)
    assert asked == {
        "model": "org/mine-7b",
        "messages": [{"role": "system", "content": "Be brief."}, *messages],
        "temperature": 0,
        "max_tokens": 99,
        "top_k": 3,
    }
    limited = Chat().body_for({"messages": messages, "max_completion_tokens": 5}, candidate)
    assert "max_tokens" not in limited
    with_system = [{"role": "developer", "content": "y"}, *messages]
    assert Chat().body_for({"messages": with_system}, candidate)["messages"] == with_system
    responses = Responses().body_for({"input": "x"}, candidate)
    assert (responses["max_output_tokens"], responses["instructions"]) == (99, "Be brief.")
    assert "max_tokens" not in responses
    assert "messages" not in Completions().body_for({"prompt": "x"}, candidate)


def test_what_a_request_needs_is_read_off_it():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}],
        "tools": [{"type": "function"}],
        "response_format": {"type": "json_schema"},
    }
    request = Chat().read(body)
    assert request.needs == {"images", "tools", "structured output"}
    assert request.text == "what is it?"
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}]},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
    ]
    request = Responses().read({"input": items, "text": {"format": {"type": "json_schema"}}})
    assert request.text == "look"
    assert request.needs == {"structured output"}


def test_the_description_names_every_endpoint_and_no_other_and_is_openapi(served):
    jsonschema, models = pytest.importorskip("jsonschema"), pytest.importorskip("fastapi.openapi.models")
    server, _ = served
    told = server.client.get("/openapi.json").json()
    models.OpenAPI.model_validate(told)
    assert set(told["paths"]) == {route.path_format for route in router.routes}
    assert set(told["components"]["securitySchemes"]) == {"key"}
    for path, methods in told["paths"].items():
        for method in methods:
            url = path.replace("{name}", CHEAP)
            answer = server.client.request(method, url, content=b"{}")
            assert answer.status_code not in (404, 405), path
            told_statuses = methods[method]["responses"].keys()
            assert {str(answer.status_code), f"{answer.status_code // 100}XX"} & told_statuses, path
    answer = server.client.post("/v1/route", json={"prompt": "hi", "curve": True}).json()
    schema = told["paths"]["/v1/route"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": told["components"]})
    known = told["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]
    assert set(known) - {"excluded", "cascade"} <= set(answer)
    assert all(step.keys() == {"from", "to", "candidate"} for step in answer["curve"])


def test_nothing_but_the_description_describes_the_server(served):
    server, _ = served
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):  # they would load scripts from another host
        assert server.client.get(path).status_code == 404


def test_whoever_asks_with_head_is_told_the_same_without_a_body(served):
    server, _ = served
    for path in ("/", "/health", "/ready", "/metrics", "/v1/models", f"/v1/models/{CHEAP}", "/openapi.json"):
        head = server.client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
    wrong = server.client.delete("/health")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.json()["error"]["code"] == "method_not_allowed"


def test_requests_are_reported_to_nobody_even_where_a_process_keeps_traces(monkeypatch):
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = export.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(importlib.import_module("opentelemetry.sdk.trace.export").SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    service = SimpleNamespace(keys=None, settings=Settings(), finish=lambda visit: None)

    async def ask(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/health")

    assert asyncio.run(ask(make_app(service))).json() == {"status": "ok"}
    assert exporter.get_finished_spans() == ()
    loud = FastAPI()
    loud.include_router(router)
    asyncio.run(ask(loud))
    assert exporter.get_finished_spans()
