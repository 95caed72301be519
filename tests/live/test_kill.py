"""Killed at random moments, the commands end with the same answers, ask nothing twice that was answered, and keep the
budget."""

import json
import signal
import time
import zlib
from collections import Counter

import pytest
from live.killing import kill_at_random, run
from servers.openai_server import Reply, text_of

from lookahead_router.live import JudgeConfig, PoolConfig, collect, judge, read_answers
from lookahead_router.live.journal import read_records

PROMPTS = [f"Question {n} of the test?" for n in range(100)]


def script(request):
    """An answer that depends on the request alone, after 20 to 60 ms."""
    lot = zlib.crc32(f"{request['model']}{text_of(request['messages'][-1])}".encode())
    return Reply("word " * (1 + lot % 30), delay_seconds=0.02 + lot % 5 / 100)


def told(n_kills, n_calls, n_repeated, measured, billed, spent, budget):
    """Figures for docs/results/own-pool.md; see them with -s."""
    print(
        f"\n{n_kills} kills: {n_calls} calls answered, {n_repeated} made again of those under way; measured "
        f"${measured:.6f}, whole answers sent ${billed:.6f}, counted ${spent.usd:.6f} of a budget of ${budget}"
    )


@pytest.mark.parametrize(("n_kills", "n_prompts"), [(2, 30), pytest.param(20, 100, marks=pytest.mark.slow)])
def test_collect_survives_kills(server, endpoint, tmp_path, n_kills, n_prompts):
    server.script = script
    candidates = [endpoint(name, max_concurrency=3, parameters={"max_tokens": 40}) for name in "ab"]
    (tmp_path / "pool.json").write_text(json.dumps({"candidates": candidates}))
    prompts = PROMPTS[:n_prompts]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    output = tmp_path / "answers.jsonl"
    budget = 0.08
    command = ("collect", tmp_path / "prompts.txt", "--pool", tmp_path / "pool.json", "--output", output)
    killed = kill_at_random(server, (*command, "--budget-usd", budget), n_kills, seed=n_kills)
    assert killed == n_kills

    undisturbed = collect(prompts, PoolConfig(candidates=candidates))
    there = read_answers(output)
    said = {(a.prompt, a.candidate): (a.response, a.cost_usd) for a in there}
    assert said == {(a.prompt, a.candidate): (a.response, a.cost_usd) for a in undisturbed.answers}
    assert len(there) == len(said)  # no answer stands there twice

    requests = server.requests[: -len(prompts) * 2]
    asked = Counter((r["model"], text_of(r["messages"][-1])) for r in requests)
    repeated = sum(asked.values()) - len(asked)
    assert repeated <= 6 * killed  # those under way at a kill: three calls at one time for each of two candidates
    # An endpoint that honours the key of a call answers and bills it once.
    assert len({r["_idempotency_key"] for r in requests}) == len(asked) == len(said)

    collected = collect(prompts, PoolConfig(candidates=candidates), output=output)
    assert (collected.n_new, collected.spent.n_unfinished >= repeated) == (0, True)
    measured = sum(answer.cost_usd for answer in there)
    assert collected.spent.usd == pytest.approx(measured + collected.spent.uncertain_usd, abs=1e-12)
    billed = sum(r["_usage"]["prompt_tokens"] + 2 * r["_usage"]["completion_tokens"] for r in server.answered)
    billed = billed / 1e6 - sum(answer.cost_usd for answer in undisturbed.answers)
    assert billed <= collected.spent.usd <= budget
    told(killed, len(said), repeated, measured, billed, collected.spent, budget)


def test_an_interrupt_waits_for_what_is_paid_and_tells_how_to_go_on(server, endpoint, tmp_path):
    server.script = lambda request: Reply("x", delay_seconds=0.5)
    (tmp_path / "pool.json").write_text(json.dumps({"candidates": [endpoint("a", max_concurrency=3)]}))
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    output = tmp_path / "answers.jsonl"
    command = ("collect", tmp_path / "prompts.txt", "--pool", tmp_path / "pool.json", "--output", output)
    with run(*command) as process:
        while server.n_active < 3:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ending: waiting for 3 calls under way, which are paid; Ctrl-C leaves them" in err
    assert f"interrupted; all answers so far are in {output}, and the same command goes on" in err
    assert len(read_answers(output)) == len(server.requests) == 3


def verdict(request):
    """A rating that depends on the request alone, after 20 to 60 ms."""
    lot = zlib.crc32(f"{request['model']}{text_of(request['messages'][-1])}".encode())
    return Reply(f"So it is.\nRating: {1 + lot % 10}", delay_seconds=0.02 + lot % 5 / 100)


@pytest.mark.parametrize(("n_kills", "n_prompts"), [(2, 30), pytest.param(20, 100, marks=pytest.mark.slow)])
def test_judge_survives_kills(server, endpoint, tmp_path, n_kills, n_prompts):
    server.script = verdict
    judges = [endpoint(name, max_concurrency=3, parameters={"max_tokens": 40}) for name in "ab"]
    settings, prompts = {"judges": judges, "again": 0.2}, PROMPTS[:n_prompts]
    (tmp_path / "judge.json").write_text(json.dumps(settings))
    (tmp_path / "answers.jsonl").write_text(
        "".join(json.dumps({"prompt": prompt, "candidate": "c", "response": f"{prompt}!"}) + "\n" for prompt in prompts)
    )
    output = tmp_path / "scored.jsonl"
    budget = 2.0
    command = ("judge", tmp_path / "answers.jsonl", "--judge", tmp_path / "judge.json", "--output", output)
    killed = kill_at_random(server, (*command, "--budget-usd", budget), n_kills, seed=n_kills)
    assert killed == n_kills

    requests, answered = list(server.requests), list(server.answered)
    undisturbed = judge(tmp_path / "answers.jsonl", JudgeConfig(**settings))
    assert read_answers(output) == list(undisturbed.answers)
    verdicts = read_records(tmp_path / "scored.jsonl.verdicts")
    tasks = Counter((record["task"], record["judge"]) for record in verdicts)
    assert set(tasks.values()) == {1}

    repeated = len(requests) - len(tasks)
    assert repeated <= 6 * killed
    assert len({r["_idempotency_key"] for r in requests}) == len(tasks)
    judged = judge(tmp_path / "answers.jsonl", JudgeConfig(**settings), output=output)
    assert (judged.n_new, judged.spent.n_unfinished >= repeated) == (0, True)
    measured = sum(record["cost_usd"] for record in verdicts)
    assert judged.spent.usd == pytest.approx(measured + judged.spent.uncertain_usd, abs=1e-12)
    billed = sum(r["_usage"]["prompt_tokens"] + 2 * r["_usage"]["completion_tokens"] for r in answered) / 1e6
    assert billed <= judged.spent.usd <= budget
    told(killed, len(tasks), repeated, measured, billed, judged.spent, budget)
