"""The clients that people have, against a server process."""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import openai
import pytest
from pydantic import BaseModel
from servers.openai_server import Reply
from servers.router_server import CANDIDATES, CHEAP

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
QUESTION = [{"role": "user", "content": "hello there"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def script(world, reply):
    for server in world.behind.values():
        server.script = lambda request: reply


@pytest.fixture
def client(world):
    with openai.OpenAI(base_url=f"{world.server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openais_client_gets_answers_and_the_decision(world, client):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=QUESTION)
    name = raw.headers["x-lookahead-candidate"]
    assert raw.parse().choices[0].message.content == f"{name}: hello there"
    assert [each.id for each in client.models.list()][-2:] == list(CANDIDATES)


def test_openais_client_streams_with_usage(world, client):
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=CHEAP, messages=QUESTION, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"{CHEAP}: hello there"
    assert chunks[-1].usage.completion_tokens == 3


def test_openais_client_gets_tool_calls_whole_and_streamed(world, client):
    script(world, Reply(tool_calls=(("weather", {"city": "Rome"}),)))
    answer = client.chat.completions.create(model="auto", messages=QUESTION, tools=[TOOL])
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"city": "Rome"}
    chunks = client.chat.completions.create(model="auto", messages=QUESTION, tools=[TOOL], stream=True)
    names = [call.function.name for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert names == ["weather"]


def test_openais_client_parses_structured_output(world, client):
    class City(BaseModel):
        name: str
        n_people: int

    script(world, Reply('{"name": "Rome", "n_people": 2800000}'))
    answer = client.chat.completions.parse(model="auto", messages=QUESTION, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Rome", n_people=2_800_000)
    sent = [request for server in world.behind.values() for request in server.requests]
    assert sent[0]["response_format"]["json_schema"]["name"] == "City"


def test_openais_client_raises_its_own_errors(world, client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-none", messages=QUESTION)
    assert caught.value.code == "model_not_found"
    script(world, Reply(status=429, retry_after_seconds=1))
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="auto", messages=QUESTION)
    script(world, Reply("a b c", breaks_after=1))
    with pytest.raises(openai.APIError, match="broke off"):
        list(client.chat.completions.create(model=CHEAP, messages=QUESTION, stream=True))


def test_openais_async_client_asks_many_at_once(world):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{world.server.url}/v1", api_key="none", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model="auto", messages=[{"role": "user", "content": f"word{n}"}])
                for n in range(20)
            ]
            whole = await asyncio.gather(*calls)
            stream = await client.chat.completions.create(model="auto", messages=QUESTION, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return whole, "".join(pieces)

    whole, streamed = asyncio.run(ask())
    assert [answer.choices[0].message.content.split()[-1] for answer in whole] == [f"word{n}" for n in range(20)]
    assert streamed.endswith("hello there")


def test_langchain_asks_streams_and_binds_tools(world):
    chat_openai = pytest.importorskip("langchain_openai").ChatOpenAI
    llm = chat_openai(model="auto", base_url=f"{world.server.url}/v1", api_key="none", max_retries=0)
    assert llm.invoke("hello there").content.endswith("hello there")
    assert "".join(chunk.content for chunk in llm.stream("hello there")).endswith("hello there")
    script(world, Reply(tool_calls=(("weather", {}),)))
    assert llm.bind_tools([TOOL]).invoke("Rome?").tool_calls[0]["name"] == "weather"


def test_llama_index_asks_and_streams(world):
    llm_class = pytest.importorskip("llama_index.llms.openai_like").OpenAILike
    llm = llm_class(
        model="auto:0.9", api_base=f"{world.server.url}/v1", api_key="none", is_chat_model=True, max_retries=0
    )
    assert llm.complete("hello there").text.endswith("hello there")
    assert list(llm.stream_complete("hello there"))[-1].text.endswith("hello there")


LITELLM = """
import json, sys, litellm
ask = {"model": "openai/auto", "api_base": sys.argv[1], "api_key": "none", "num_retries": 0}
ask["messages"] = [{"role": "user", "content": "hello there"}]
whole = litellm.completion(**ask).choices[0].message.content
pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ask, stream=True)]
print(json.dumps([whole, "".join(pieces)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed")
def test_litellms_client_asks_and_streams(world):
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    command = [sys.executable, "-c", LITELLM, f"{world.server.url}/v1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(text.endswith("hello there") for text in json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_asks_and_streams(world):
    for stream in (False, True):
        body = json.dumps({"model": "auto", "messages": QUESTION, "stream": stream})
        command = ["curl", "-sSN", "--noproxy", "*", f"{world.server.url}/v1/chat/completions", "-d", body]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout.endswith("data: [DONE]\n\n" if stream else "}")
