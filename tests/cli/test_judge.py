import json

import pytest
from servers.openai_server import OpenAIServer, Reply

from lookahead_router.live import read_answers


@pytest.fixture
def server(socket_enabled):
    with OpenAIServer(lambda request: Reply(f"Hm.\nRating: {3 if 'poor' in str(request) else 9}")) as server:
        yield server


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [
        {"prompt": f"Question {n}?", "candidate": name, "response": f"{name} {n}", "scores_human": {name: score}}
        for n in range(6)
        for name, score in (("poor", 0.1), ("good", 0.9))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_judge(tmp_path, server, **settings):
    path = tmp_path / "judge.json"
    judge = {"name": "j", "base_url": server.url, "input_price": 1, "output_price": 2}
    path.write_text(json.dumps({"judges": [judge], "again": 1, **settings}))
    return path


def test_answers_are_scored_shown_and_gone_on_with(cli, server, answers, tmp_path):
    output = tmp_path / "scored.jsonl"
    command = ("judge", answers, "--judge", write_judge(tmp_path, server), "--output", output)
    code, out, err = cli(*command)
    assert (code, err) == (0, "")
    assert "12 of 12 answers have a score" in out
    assert "the scores beside people's: rank correlation 1.00, mean difference 0.07, the same order in 100% of 6" in out
    assert f"Next: lookahead-router fit {output} --output my-router" in out
    assert {a.candidate: round(a.score, 3) for a in read_answers(output)} == {"poor": 0.222, "good": 0.889}
    before = output.read_bytes()
    code, out, _ = cli(*command, "--json")
    record = json.loads(out)
    assert (record["n_new"], record["judges"][0]["self_agreement"], len(server.requests)) == (0, 1.0, 24)
    assert record["candidates"]["good"] == {"n_scores": 6, "mean_score": pytest.approx(8 / 9)}
    assert output.read_bytes() == before


def test_a_reference_that_does_not_suit_is_told_what_does(cli, tmp_path):
    rows = [{"prompt": f"{n}?", "candidate": "a", "response": "4", "reference": n} for n in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = cli("judge", tmp_path / "a.jsonl", "--judge", "choice", "--output", tmp_path / "s.jsonl")
    assert (code, "expected a letter as the reference; all references suit `number`" in err) == (4, True)


def test_pairs_show_orders_and_bias(cli, server, answers, tmp_path):
    server.script = lambda request: Reply("Verdict: A")
    judge = write_judge(tmp_path, server, method="pairwise")
    code, out, err = cli("judge", answers, "--judge", judge, "--output", tmp_path / "scored.jsonl")
    assert code == 0
    assert "bias to first" in out
    assert "+1.00" in out
    assert "warning: the judge j gave the same verdict all 12 times" in err


def test_a_method_by_its_name_needs_no_file(cli, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "candidate": "a", "response": "It is 4.", "reference": 4}\n')
    code, out, _ = cli("judge", tmp_path / "a.jsonl", "--judge", "number", "--output", tmp_path / "s.jsonl")
    assert code == 0
    assert "1 of 1 answers have a score" in out
    code, _, err = cli("judge", tmp_path / "a.jsonl", "--judge", "nmber", "--output", tmp_path / "s.jsonl")
    assert code == 2
    assert "neither a judge's file nor a way to grade by reference, which are exact, normalized, number" in err


def test_a_dry_run_asks_nothing(cli, server, answers, tmp_path):
    output = tmp_path / "scored.jsonl"
    code, out, _ = cli(
        "judge", answers, "--judge", write_judge(tmp_path, server), "--output", output, "--dry-run", "--json"
    )
    assert code == 0
    assert json.loads(out)["calls"] == {"j": 24}
    assert (server.requests, output.exists()) == ([], False)


def test_a_command_needs_to_be_allowed(cli, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "candidate": "a", "response": "y"}\n')
    (tmp_path / "judge.json").write_text('{"reference": "command", "command": "true"}')
    command = ("judge", tmp_path / "a.jsonl", "--judge", tmp_path / "judge.json", "--output", tmp_path / "s.jsonl")
    code, _, err = cli(*command)
    assert code == 2
    assert "--allow-commands" in err
    assert cli(*command, "--allow-commands")[0] == 0


def test_nothing_that_could_be_scored_is_an_error(cli, server, answers, tmp_path):
    server.script = lambda request: Reply("secret")
    command = ("judge", answers, "--judge", write_judge(tmp_path, server), "--output", tmp_path / "s.jsonl")
    code, out, err = cli(*command)
    assert code == 1
    assert "12 without: no verdict" in out
    assert "no answer could be scored" in err
    assert "secret" not in out + err
