import json

import pytest
from servers.openai_server import OpenAIServer, Reply, repeat_last_message

from lookahead_router.live import read_answers


@pytest.fixture
def server(socket_enabled):
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def pool(server, tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text(
        "candidates:\n"
        + "".join(
            f"  - {{name: {name}, base_url: '{server.url}', input_price: 1000, output_price: 2000}}\n" for name in "ab"
        )
    )
    return path


def test_answers_are_collected_shown_and_gone_on_with(cli, server, pool, tmp_path):
    (tmp_path / "prompts.txt").write_text("One two\nThree\nThree\n")
    output = tmp_path / "answers.jsonl"
    command = ("collect", tmp_path / "prompts.txt", "--pool", pool, "--output", output)
    code, out, err = cli(*command)
    assert (code, err) == (0, "")
    assert "2 prompts, 1 repeats left out; $0.026 in 4 calls of all runs" in out
    assert f"Next: lookahead-router judge {output} --judge judge.yaml --output scored.jsonl" in out
    assert len(read_answers(output)) == 4
    code, out, _ = cli(*command, "--json")
    record = json.loads(out)
    assert (record["n_new"], record["is_complete"], record["spent"]["n_calls"]) == (0, True, 4)
    assert len(server.requests) == 4


def test_prompts_come_from_standard_input_and_from_jsonl(cli, server, pool, tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "x", "reference": "y"}\n')
    assert cli("collect", "-", "--pool", pool, "--output", tmp_path / "a.jsonl", stdin="x\ny\n")[0] == 0
    assert cli("collect", tmp_path / "prompts.jsonl", "--pool", pool, "--output", tmp_path / "b.jsonl")[0] == 0
    assert len(read_answers(tmp_path / "a.jsonl")) == 4
    assert {answer.reference for answer in read_answers(tmp_path / "b.jsonl")} == {"y"}


@pytest.mark.parametrize(
    ("references", "judge"),
    [
        ([1, "2.5"], "number"), (["A", "(b)"], "choice"), (["Paris", ["Rome", "Roma"]], "normalized"),
        ([{"a": 1}, {}], "json"), (["A", None], "judge.yaml"),
    ],
)  # fmt: skip
def test_the_next_command_grades_by_the_references_that_are_there(cli, server, pool, tmp_path, references, judge):
    rows = [json.dumps({"prompt": f"x {n}", "reference": each}) for n, each in enumerate(references)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))
    code, out, _ = cli("collect", tmp_path / "prompts.jsonl", "--pool", pool, "--output", tmp_path / "a.jsonl")
    assert code == 0
    assert f"--judge {judge} --output" in out
    assert ("Not every prompt has a reference" in out) == (judge == "judge.yaml")


def test_a_dry_run_warns_of_a_key_that_is_not_set(cli, server, pool, tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    pool.write_text(pool.read_text().replace("name: a,", "name: a, api_key_env: NO_SUCH_KEY,"))
    given = ("collect", "-", "--pool", pool, "--output", tmp_path / "a.jsonl", "--dry-run")
    code, _, err = cli(*given, stdin="x\n")
    assert code == 0
    assert "a: the environment variable NO_SUCH_KEY is not set" in " ".join(err.split())
    assert json.loads(cli(*given, "--json", stdin="x\n")[1])["unset_keys"] == {"a": "NO_SUCH_KEY"}


def test_a_dry_run_shows_calls_and_dollars_and_asks_nothing(cli, server, pool, tmp_path):
    output = tmp_path / "a.jsonl"
    code, out, _ = cli("collect", "-", "--pool", pool, "--output", output, "--dry-run", stdin="x\ny\n")
    assert code == 0
    assert "Nothing was asked." in out
    assert (server.requests, output.exists()) == ([], False)


def test_a_candidate_that_is_set_aside_is_a_warning_and_nobody_who_answers_an_error(cli, server, pool, tmp_path):
    server.script = lambda r: Reply("secret", status=401) if r["model"] == "a" else repeat_last_message(r)
    arguments = ("collect", "-", "--pool", pool, "--output", tmp_path / "a.jsonl")
    code, out, err = cli(*arguments, stdin="secret")
    assert code == 0
    assert f"warning: a is set aside: {server.url} refuses its key" in err
    assert "Answers are missing; the same command asks for them again." in out
    server.script = lambda r: Reply("secret", status=401)
    code, _, more = cli(*arguments[:-1], tmp_path / "b.jsonl", stdin="secret")
    assert code == 1
    assert "no candidate answered" in more
    assert "secret" not in err + more


def test_a_budget_that_is_used_up_is_told(cli, server, pool, tmp_path):
    command = ("collect", "-", "--pool", pool, "--output", tmp_path / "a.jsonl", "--budget-calls", 3)
    code, out, _ = cli(*command, stdin="x\ny\n")
    assert code == 0
    assert "The budget does not reach for 1 answers; a higher one goes on from here." in out
    assert len(server.requests) == 3


def test_a_redact_function_of_the_working_directory_is_applied(cli, server, pool, tmp_path, monkeypatch):
    (tmp_path / "my_redaction.py").write_text("def clean(text):\n    return text.replace('Ann', '[name]')\n")
    monkeypatch.chdir(tmp_path)
    command = ("collect", "-", "--pool", pool, "--output", tmp_path / "a.jsonl", "--redact")
    assert cli(*command, "my_redaction:clean", stdin="I am Ann")[0] == 0
    assert {answer.prompt for answer in read_answers(tmp_path / "a.jsonl")} == {"I am [name]"}
    for wrong in ("my_redaction", "my_redaction:nothing", "no_such_module:clean", "1:2"):
        code, _, err = cli(*command, wrong, stdin="I am Ann")
        assert code == 2
        assert err.startswith("error: --redact: ")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_of_prompts_is_said_to_be_empty(cli, pool, tmp_path, content):
    (tmp_path / "p.jsonl").write_text(content)
    code, _, err = cli("collect", tmp_path / "p.jsonl", "--pool", pool, "--output", tmp_path / "a.jsonl")
    assert (code, "no prompts; it is empty" in err) == (4, True)
