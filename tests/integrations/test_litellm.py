"""The hook for LiteLLM, against its own Router and, where a command is named in LITELLM, its Proxy."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from servers.openai_server import OpenAIServer, Reply

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    # Not by importing it: that asks the network for prices, unless it is told otherwise.
    pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="LiteLLM is not installed"),
]
STRONG, CHEAP = "gpt-4o-2024-08-06", "llama-3.1-8b-instruct"
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
TESTS = Path(__file__).parents[1]

SCRIPT = """
import asyncio, json, sys
import litellm
from lookahead_router import Router
from lookahead_router.errors import ConfigurationError
from lookahead_router.integrations.litellm import LookaheadRouting

url, names, prompts = json.loads(sys.argv[1])
seen = []

class Watched(LookaheadRouting):
    async def async_filter_deployments(self, model, healthy_deployments, messages, request_kwargs=None, *rest, **more):
        given = (model, healthy_deployments, messages, request_kwargs, *rest)
        kept = await super().async_filter_deployments(*given, **more)
        seen.append(((request_kwargs or {}).get("metadata") or {}).get("lookahead_router"))
        return kept

litellm.callbacks = [Watched(names)]
to = {"api_base": url, "api_key": "x"}
group = [{"model_name": "auto", "litellm_params": {"model": f"openai/{name}", **to}} for name in names]
group.append({**group[0], "model_name": "other"})
router = litellm.Router(model_list=group, num_retries=2, retry_after=0)

async def ask(model, text, **more):
    answer = await router.acompletion(model, messages=[{"role": "user", "content": text}], **more)
    return answer.choices[0].message.content

async def main():
    routed = [await ask("auto", prompt) for prompt in prompts]
    other = await ask("other", prompts[0])
    stream = await router.acompletion("auto", messages=[{"role": "user", "content": prompts[0]}], stream=True)
    streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    failing = await ask("auto", "FAIL " + prompts[0])
    hook = litellm.callbacks[0]
    try:
        await hook.async_filter_deployments("auto", [{"litellm_params": {"model": "x/y"}}], [])
    except ConfigurationError as error:
        strange = str(error)
    named = {"litellm_params": {"model": "x/y"}, "model_info": {"candidate": names[1]}}
    assert await hook.async_filter_deployments("auto", [named], []) == [named]
    return {"strange": strange, "routed": routed, "other": other, "streamed": streamed, "failing": failing}

result = asyncio.run(main())
result["expected"] = [each.name for each in Router.from_pretrained(candidates=names).route_batch(prompts)]
result["records"] = [each for each in seen if each]
print(json.dumps(result))
"""


def test_its_router_asks_whom_ours_chooses_and_on_a_retry_the_next():
    prompts = ["hi", "Prove that the square root of 2 is irrational.", "Solve x^2 - 5x + 6 = 0."]

    def reply(request):
        text = request["messages"][-1]["content"]
        fails = (
            text.startswith("FAIL")
            and len([each for each in server.requests if each["messages"] == request["messages"]]) == 1
        )
        return Reply(status=500) if fails else Reply(f"{request['model']}: {text}")

    with OpenAIServer(reply) as server:
        arguments = json.dumps([server.url, [STRONG, CHEAP], prompts])
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, arguments],
            capture_output=True, text=True, timeout=100, check=False, env={**os.environ, **QUIET},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        asked = [each["model"] for each in server.requests if each["messages"][-1]["content"].startswith("FAIL")]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["routed"] == [f"{name}: {text}" for name, text in zip(result["expected"], prompts, strict=True)]
    assert set(result["expected"]) == {STRONG, CHEAP} or len(set(result["expected"])) == 1
    assert result["other"].startswith(STRONG)
    assert result["streamed"].endswith(prompts[0])
    assert sorted(asked) == sorted([STRONG, CHEAP])
    assert result["failing"].startswith(asked[1])
    assert "name it in model_info.candidate" in result["strange"]
    record = result["records"][0]
    assert record["candidate"] == result["expected"][0]
    assert set(record["probabilities"]) == {STRONG, CHEAP}
    assert not any(prompt in json.dumps(result["records"]) for prompt in prompts)


@pytest.mark.slow
@pytest.mark.skipif("LITELLM" not in os.environ, reason="no command of litellm[proxy] in LITELLM")
def test_its_proxy_asks_whom_ours_chooses(tmp_path):
    key = "sk-" + "0123456789abcdef" * 4
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "hook.py").write_text(
        "from lookahead_router.integrations.litellm import LookaheadRouting\n"
        f"routing = LookaheadRouting([{STRONG!r}, {CHEAP!r}])\n"
    )
    with OpenAIServer() as server:
        group = [
            {"model_name": "auto", "litellm_params": {"model": f"openai/{n}", "api_base": server.url, "api_key": "x"}}
            for n in (STRONG, CHEAP)
        ]
        config = {"model_list": group, "litellm_settings": {"callbacks": ["hook.routing"]}}
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        command = [os.environ["LITELLM"], "--config", str(tmp_path / "config.yaml"), "--port", str(port)]
        environment = {**os.environ, **QUIET, "LITELLM_MASTER_KEY": key, "PYTHONPATH": str(TESTS.parent)}
        with (tmp_path / "log").open("w") as log:
            proxy = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 90
            while True:
                assert time.monotonic() < end, (tmp_path / "log").read_text()[-3000:]
                assert proxy.poll() is None, (tmp_path / "log").read_text()[-3000:]
                try:
                    httpx.get(f"{url}/health/liveliness", trust_env=False, timeout=2)
                    break
                except httpx.HTTPError:
                    time.sleep(0.3)
            from lookahead_router import Router

            router = Router.from_pretrained(candidates=[STRONG, CHEAP])
            for text in ("hi", "Prove that the square root of 2 is irrational.", "Solve x^2 - 5x + 6 = 0."):
                body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
                headers = {"authorization": f"Bearer {key}"}
                answer = httpx.post(
                    f"{url}/v1/chat/completions", json=body, headers=headers, trust_env=False, timeout=30
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["choices"][0]["message"]["content"] == f"{router.route(text).name}: {text}"
        finally:
            proxy.terminate()
            proxy.wait(20)
