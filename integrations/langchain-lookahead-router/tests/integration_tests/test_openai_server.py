"""`ChatOpenAI` candidates over HTTP: failures as providers send them, streams, tools, keys."""

import asyncio
import copy
import json

import httpx
import pytest
from fakes import NAMES, rule_reply, rule_router
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_openai import ChatOpenAI
from lookahead_router.errors import ConfigurationError
from pydantic import BaseModel
from servers.openai_server import OpenAIServer, Reply

from langchain_lookahead_router import ChatLookaheadRouter

KEY = "sk-very-secret-key"


class Sum(BaseModel):
    """A sum."""

    value: int


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@pytest.fixture
def server():
    with OpenAIServer(rule_reply) as server:
        yield server


def candidates(server, **options):
    settings = {"base_url": server.url, "api_key": KEY, "stream_usage": True, "max_retries": 0, **options}
    return {name: ChatOpenAI(model=name, **settings) for name in NAMES}


def make(server, fallbacks="next-best", candidate_options=None, **options):
    models = candidates(server, **(candidate_options or {}))
    return ChatLookaheadRouter(candidates=models, router=rule_router(), fallbacks=fallbacks, **options)


def failing(reply, name="digits"):
    return lambda request: reply if request["model"] == name else rule_reply(request)


def attempts(message):
    return [a["candidate"] for a in message.response_metadata["lookahead_router"]["attempts"]]


@pytest.mark.parametrize("status", [429, 500, 503, 401, 404])
async def test_failures_of_a_candidate_go_to_the_next_best(server, status):
    server.script = failing(Reply("scripted", status=status))
    assert attempts(make(server).invoke("7")) == ["digits", "lazy"]
    assert attempts(await make(server).ainvoke("7")) == ["digits", "lazy"]
    assert [c.text for c in make(server).stream("7") if c.text] == ["lazy:", " 7"]
    assert server.models_called() == ["digits", "lazy"] * 3


BODIES = {
    "a page": "<html>Sign in</html>",
    "null": "null",
    "a word": '"busy"',
    "a list": "[1]",
    "an object of nothing": "{}",
    "an error of vLLM": '{"object": "error", "message": "x", "type": "InternalServerError", "code": 500}',
    "an error of Anthropic": '{"type": "error", "error": {"type": "overloaded_error", "message": "x"}}',
    "no choices": '{"id": "1", "choices": []}',
    "choices that are none": '{"id": "1", "choices": {}}',
    "a choice that is none": '{"id": "1", "choices": ["x"]}',
    "no message": '{"id": "1", "choices": [{"index": 0}]}',
    "a filtered answer": '{"id": "1", "choices": [{"finish_reason": "content_filter", "message": {"content": null}}]}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_of_status_200_that_is_no_answer_goes_to_the_next_best(server, body):
    server.script = failing(Reply(body=body))
    assert attempts(make(server).invoke("7")) == ["digits", "lazy"]
    assert attempts(await make(server).ainvoke("7")) == ["digits", "lazy"]


EVENTS = {
    "an error in words": {"error": "The model is overloaded"},
    "an error of other words": {"error": "x"},
    "an error of OpenRouter": {"error": {"code": 502, "message": "x"}, "choices": [{"index": 0, "delta": {}}]},
    "an error of vLLM": {"object": "error", "message": "x", "type": "InternalServerError", "code": 500},
    "null": None,
    "a list": [1],
    "choices that are null": {"choices": None},
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
async def test_an_event_in_a_stream_that_is_no_answer_goes_to_the_next_best(server, event):
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}

    def reply(request):
        content = "".join(f"data: {json.dumps(each)}\n\n" for each in (role, event))
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=content)

    transport, models = httpx.MockTransport(reply), candidates(server)
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    models["digits"] = ChatOpenAI(model="digits", base_url=server.url, api_key=KEY, max_retries=0, **clients)
    llm = ChatLookaheadRouter(candidates=models, router=rule_router(), fallbacks="next-best")
    assert "".join(chunk.text for chunk in llm.stream("7")) == "lazy: 7"
    assert "".join([chunk.text async for chunk in llm.astream("7")]) == "lazy: 7"


@pytest.mark.parametrize("method", ["function_calling", "json_mode", "json_schema"])
@pytest.mark.parametrize("content", ['{"value": "none"}', "no object"])
def test_an_object_of_another_form_goes_to_the_next_best(server, method, content):
    good = '{"value": 7}'

    def script(request):
        said = content if request["model"] == "digits" else good
        is_object = said.startswith("{")
        if method == "function_calling" and is_object:
            return Reply(tool_calls=(("Sum", json.loads(said)),))
        return Reply(said)

    server.script = script
    llm = make(server).with_structured_output(Sum, method=method)
    assert llm.invoke("7") == Sum(value=7)
    assert server.models_called() == ["digits", "lazy"]


@pytest.mark.parametrize("status", [400, 422])
def test_a_rejected_request_is_raised(server, status):
    server.script = failing(Reply("scripted", status=status))
    with pytest.raises(Exception, match="scripted"):
        make(server).invoke("7")
    assert server.models_called() == ["digits"]


def test_a_timeout_goes_to_the_next_best(server):
    server.script = failing(Reply("slow", delay_seconds=1.5))
    assert attempts(make(server, candidate_options={"timeout": 0.5}).invoke("7")) == ["digits", "lazy"]


def test_a_refused_connection_goes_to_the_next_best(server):
    models = candidates(server)
    models["digits"] = ChatOpenAI(model="digits", base_url="http://127.0.0.1:9/v1", api_key=KEY, max_retries=0)
    llm = ChatLookaheadRouter(candidates=models, router=rule_router(), fallbacks="next-best")
    assert attempts(llm.invoke("7")) == ["digits", "lazy"]


def test_a_stream_that_is_cut_off_is_raised_and_not_begun_again(server):
    server.script = failing(Reply("one two three four", breaks_after=2))
    seen = []
    with pytest.raises(Exception, match=r"[Cc]onnection|incomplete"):
        seen.extend(chunk.text for chunk in noting(make(server).stream("7"), seen))
    assert "".join(seen) == "one two"
    assert server.models_called() == ["digits"]


def noting(chunks, seen):
    """Nothing; notes the texts on the way, so that they are known when the stream breaks."""
    for chunk in chunks:
        seen.append(chunk.text)
    yield from ()


def test_usage_over_http_is_counted_once(server):
    direct, routed = UsageMetadataCallbackHandler(), UsageMetadataCallbackHandler()
    model, llm = candidates(server)["digits"], make(server)
    for call in ("invoke", "stream"):
        list(getattr(model, call)("7 dwarfs", {"callbacks": [direct]}))
        list(getattr(llm, call)("7 dwarfs", {"callbacks": [routed]}))
    assert routed.usage_metadata == direct.usage_metadata
    assert routed.usage_metadata["digits"]["input_tokens"] == 4


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_by_either_method(server, method):
    assert make(server).with_structured_output(Sum, method=method).invoke("41") == Sum(value=41)
    request = server.requests[-1]
    assert ("response_format" in request) == (method == "json_schema")


def test_tools_are_sent_in_the_providers_format(server):
    make(server).bind_tools([add], tool_choice="add", strict=True).invoke("3")
    request = server.requests[-1]
    assert request["tool_choice"] == {"type": "function", "function": {"name": "add"}}
    assert request["tools"][0]["function"]["strict"] is True
    assert not [key for key in request if key.startswith("lookahead")]


async def test_many_requests_at_once(server):
    server.script = lambda request: Reply(f"{rule_reply(request).content}", delay_seconds=0.2)
    llm = make(server)
    answers = await asyncio.gather(*(llm.ainvoke(f"{i}") for i in range(20)))
    assert [answer.text for answer in answers] == [f"digits: {i}" for i in range(20)]


def test_keys_reach_the_provider_and_nothing_else(server):
    llm = make(server)
    llm.invoke("7")
    assert server.requests[-1]["_authorization"] == f"Bearer {KEY}"
    for text in (repr(llm), str(llm.model_dump()), repr(llm._serialized)):
        assert KEY not in text


def test_clients_that_cannot_be_copied_are_shared(server):
    llm = make(server)
    again = copy.deepcopy(llm)
    assert again.candidates["digits"] is llm.candidates["digits"]
    assert again.invoke("7").text == "digits: 7"


def test_model_strings_are_made_into_models(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    llm = ChatLookaheadRouter(
        candidates={name: f"openai:{name}" for name in NAMES}, router=rule_router(), aliases={"lazy": "lazy"}
    )
    assert llm.invoke("7").text == "digits: 7"
    with pytest.raises(ConfigurationError, match="not int"):
        ChatLookaheadRouter(candidates={"lazy": 7}, router=rule_router())
