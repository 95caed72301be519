"""Feedback, what it changes, what survives a restart; and the log of decisions."""

import json
import sqlite3

import pytest
from servers.router_server import CANDIDATES, CHEAP, STRONG, ServerProcess

from lookahead_router.errors import ConfigurationError, FileError
from lookahead_router.live.answers import Question
from lookahead_router.server.decisions import DecisionLog

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
TEXT = "Which wine goes with fish?"


def feedback(server, decision_id, score):
    return server.client.post("/v1/feedback", json={"decision_id": decision_id, "score": score})


def chances(server):
    body = {"messages": [{"role": "user", "content": TEXT}]}
    return server.client.post("/v1/route", json=body).json()["probabilities"]


def test_scores_change_the_chances_of_who_answered_and_are_kept_over_a_restart(make_world, tmp_path):
    learnt = tmp_path / "learnt"
    world = make_world("--learnt", str(learnt), "--decisions", str(tmp_path / "decisions.jsonl"))
    before = chances(world.server)
    for _ in range(8):
        response = world.server.chat(TEXT, model=CHEAP)
        told = feedback(world.server, response.headers["x-lookahead-decision-id"], 0.0)
        assert told.json()["candidate"] == CHEAP
    after = chances(world.server)
    assert after[CHEAP] < before[CHEAP] - 0.001
    assert after[STRONG] == pytest.approx(before[STRONG])
    assert world.server.metric("feedback_total", candidate=CHEAP) == 8
    world.server.end()
    logged = [each for each in world.decisions() if each["kind"] == "feedback"]
    assert [(each["candidate"], each["score"]) for each in logged] == [(CHEAP, 0.0)] * 8
    assert TEXT not in (tmp_path / "decisions.jsonl").read_text()
    again = ServerProcess(world.pool, "--learnt", str(learnt))
    try:
        assert chances(again) == pytest.approx(after)
    finally:
        again.end()


def test_feedback_counts_once_and_for_what_was_asked_here(world):
    decision_id = world.server.chat().headers["x-lookahead-decision-id"]
    for score in (-0.1, 2, "good", None, True):
        assert feedback(world.server, decision_id, score).status_code == 400
    assert feedback(world.server, decision_id, 1).status_code == 200
    for name in (decision_id, "dec_0", ""):
        assert feedback(world.server, name, 1).status_code == 404


def test_the_log_holds_the_decision_and_what_it_cost_and_a_hash_of_the_prompt(world):
    response = world.server.chat(TEXT, model="auto:best")
    record = world.decision(response.headers["x-lookahead-decision-id"])
    assert record["candidate"] == response.headers["x-lookahead-candidate"]
    assert record["prompt_id"] == Question(TEXT).prompt_id
    assert record["cost_usd"] == pytest.approx(float(response.headers["x-lookahead-cost"]), rel=1e-3)
    assert set(record["probabilities"]) == set(CANDIDATES)
    assert (record["status"], record["model"], record["kind"]) == (200, "auto:best", "decision")
    assert TEXT not in json.dumps(record)


def records(n, size=100):
    return [{"id": f"dec_{k}", "time": "t", "kind": "decision", "candidate": "a", "x": "y" * size} for k in range(n)]


def test_lines_are_rotated_and_none_is_lost(tmp_path):
    path = tmp_path / "d.jsonl"
    log = DecisionLog(path, max_bytes=20_000, kept=3)
    for record in records(300):
        log.add(record)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files][:2] == ["d.1.jsonl", "d.jsonl"]
    kept = [json.loads(line)["id"] for file in reversed(files[:-1]) for line in file.read_text().splitlines()]
    kept += [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert kept == [f"dec_{k}" for k in range(300)]
    assert path.stat().st_mode & 0o77 == 0


def test_rows_hold_the_same(tmp_path):
    path = tmp_path / "d.sqlite"
    log = DecisionLog(path, max_bytes=10_000_000, kept=1)
    for record in records(5):
        log.add(record)
    log.close()
    with sqlite3.connect(path) as base:
        found = [json.loads(row[0]) for row in base.execute("SELECT record FROM decisions ORDER BY id")]
    assert found == records(5)


def test_a_log_that_cannot_be_is_told_at_once(tmp_path):
    other = tmp_path / "x.sqlite"
    other.write_text("this is no database, and long enough to be sure of it " * 50)
    with pytest.raises(ConfigurationError, match="no log of decisions"):
        DecisionLog(other, max_bytes=10_000, kept=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError):
        DecisionLog(tmp_path / "file" / "d.jsonl", max_bytes=10_000, kept=0)


def test_a_full_disk_loses_records_and_no_request(tmp_path):
    lost = []
    log = DecisionLog(tmp_path / "d.jsonl", max_bytes=10_000, kept=0, lost=lambda: lost.append(1))
    log._file._stream.close()
    log._file.path = tmp_path / "gone" / "d.jsonl"
    (tmp_path / "gone").write_text("")
    log.add(records(1)[0])
    log._file._stream.close()
    log._waiting.put(None)
    log._thread.join(5)
    assert lost == [1]
