"""docs/own-pool.md, run from top to bottom against a server on loopback."""

import json
import re
import shlex
import sys
import warnings
from pathlib import Path

import pytest
from servers.openai_server import Reply, text_of

from lookahead_router import Router
from lookahead_router.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "own-pool.md").read_text(encoding="utf-8")
N_PROMPTS = 48


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ lookahead-router")]


def sums(request: dict) -> Reply:
    """`strong` can add; `small` can where the numbers are small."""
    question = text_of(request["messages"][-1])
    a, b = map(int, re.findall(r"\d+", question)[:2])
    is_right = request["model"] == "gpt-4o" or "billion" not in question
    return Reply(f"{question.split()[0]} ... it is {a + b if is_right else a - b}", usage=None)


@pytest.fixture
def place(tmp_path, monkeypatch, server):
    """A directory with the page's files, whose endpoints are the server's."""
    server.script = sums
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    example = json.loads(blocks("json")[0])
    with open("traffic.jsonl", "w") as lines:
        for row in range(N_PROMPTS):
            unit = "" if row % 2 else " billion stars in a cluster, by the survey of the galaxy"
            example["messages"][0]["content"] = f"What is {row} + {7 * row + 1}{unit}? ({row * row})"
            example["reference"] = str(8 * row + 1)
            lines.write(json.dumps(example) + "\n")
    settings = re.sub(r"https?://\S+", server.url, blocks("yaml")[0])
    Path("pool.yaml").write_text(settings)
    newcomer = {"name": "newcomer", "base_url": server.url, "input_price": 0.2, "output_price": 0.4}
    Path("newcomer.yaml").write_text(json.dumps({"candidates": [newcomer]}))
    return tmp_path


def run(arguments: list[str], monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as done:
        main()
    captured = capsys.readouterr()
    assert not done.value.code, f"{shlex.join(arguments)}\n{captured.err}"
    return captured.out


def test_the_page_runs_as_written(place, monkeypatch, capsys, server):
    steps = commands()
    assert [step[1] for step in steps] == [
        "sample", "collect", "collect", "judge", "fit", "fit", "route", "collect", "judge", "onboard", "report",
    ]  # fmt: skip
    for step in steps:
        if step[1] == "report":
            decision = {"kind": "decision", "candidate": "small", "expected_usd": {"small": 0.1, "strong": 1.0}}
            Path("decisions.jsonl").write_text((json.dumps(decision) + "\n") * 40)
        printed = run(step, monkeypatch, capsys)
        if step[1] == "fit":
            assert "Next: lookahead-router route --router my-router" in printed
            assert Path("my-router-report/report.html").is_file()
    assert len(server.requests) == 3 * N_PROMPTS  # each candidate was asked each prompt once
    router = Router.from_pretrained("my-router", quality=0.95)
    assert router.route("What is 3 + 4?").name == "small"
    assert router.route("What is 8 + 9 billion stars in a cluster, by the survey of the galaxy?").name == "strong"
    assert "newcomer" in Router.from_pretrained("my-router-2").pool.names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for code in blocks("python"):
            exec(compile(code, "own-pool.md", "exec"), {"__name__": "__docs__"})
    assert "Routing" in capsys.readouterr().out
    assert Router.from_pretrained("my-router-3").pool.names == ("strong", "small")
