"""docs/tutorials/serve.md, typed as it stands, in front of a server on loopback."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from servers.openai_server import OpenAIServer
from servers.router_server import ServerProcess

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "serve.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_tutorial_can_be_followed_to_its_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    pool, elsewhere = blocks("yaml")
    with OpenAIServer() as behind:
        path = tmp_path / "pool.yaml"
        entries = pool.replace("quality:", f"{elsewhere}quality:")
        here = f"base_url: {behind.url}"
        entries = re.sub(r"base_url: \S+", here, re.sub(r"(  - name: gpt\S+\n)", rf"\1    {here}\n", entries))
        path.write_text(entries)
        server = ServerProcess(path)
        with closing(server.client):
            (code,) = blocks("python")
            exec(compile(code.replace("http://localhost:8400", server.url), "serve.md", "exec"), {})
            answered = [line.split() for line in capsys.readouterr().out.splitlines()[::2]]
            called = {"gpt-4o": "gpt-4o", "gpt-4o-mini": "gpt-4o-mini", "llama-3.1-8b-instruct": "llama3.1:8b"}
            assert [called[candidate] for candidate, _, _ in answered] == behind.models_called()
            route, feedback = (re.search(r"(/v1/\w+) -d '(.*)'", text) for text in blocks("console")[2:])
            decided = server.client.post(route[1], content=route[2]).json()
            assert {"probabilities", "expected_usd", "ranking"} <= decided.keys()
            told = json.loads(feedback[2]) | {"decision_id": answered[0][2]}
            assert server.client.post(feedback[1], json=told).json()["score"] == 0
            assert "<html" in server.client.get("/").text
            server.end()


def test_it_says_how_many_models_the_server_names(tmp_path, monkeypatch):
    from lookahead_router.server.serving import Memory, Serving

    monkeypatch.setenv("OPENAI_API_KEY", "test")
    (tmp_path / "pool.yaml").write_text(blocks("yaml")[0])
    assert f"serving {len(Serving.load(tmp_path / 'pool.yaml', Memory()).models())} models" in PAGE
