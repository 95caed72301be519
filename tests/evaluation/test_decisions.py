"""What a log of decisions says: choices, dollars, what it would have been, drift, and when to collect again."""

import json
import sqlite3

import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Router, RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import DataError, SchemaError
from lookahead_router.evaluation.decisions import read_decisions, review


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    return Router.from_pretrained(write_open_folder(tmp_path_factory.mktemp("open") / "open-toy"))


def prompt(topic: str, row: int) -> str:
    return f"{topic} {topic} {('five', 'six', 'seven')[row % 3]} {('one', 'two')[row // 3 % 2]}" + " eight" * (row % 7)


@pytest.fixture(scope="module")
def scored():
    examples = [
        RoutingExample(prompt("one", row), {"strong": Outcome(score=1.0), "small": Outcome(score=float(row % 2))})
        for row in range(42)
    ]
    return RoutingDataset.from_examples(examples)


def decision(row: int, topic: str = "one", **more) -> dict:
    name = ("strong", "small")[row % 2]
    return {
        "kind": "decision",
        "time": f"2026-11-{row % 28 + 1:02}",
        "candidate": name,
        "reason": "routed",
        "cost_usd": {"strong": 0.01, "small": 0.001}[name],
        "expected_usd": {"strong": 0.01, "small": 0.001},
        "probabilities": {"strong": 0.9, "small": 0.6},
        "prompt": prompt(topic, row),
        **more,
    }


def test_choices_dollars_and_what_one_candidate_would_have_cost(scored, router):
    found = review([decision(row) for row in range(40)], scored, router=router)
    assert (found.n_decisions, found.reasons) == (40, {"routed": 40})
    assert {each.candidate: each.n_chosen for each in found.choices} == {"strong": 20, "small": 20}
    assert found.usd == pytest.approx(20 * 0.011)
    assert found.best_single == "strong"
    assert found.saved == pytest.approx(1 - 0.011 / 0.02)
    strong = next(each for each in found.choices if each.candidate == "strong")
    assert (strong.chance, strong.score) == (pytest.approx(0.9), 1.0)
    assert strong.usd_for_all == pytest.approx(0.4)
    assert (found.first, found.last) == ("2026-11-01", "2026-11-28")


def test_dollars_are_compared_like_with_like(scored, router):
    """Expected beside expected, of what the router decided; what was forced or failed says nothing of it."""
    measured = [decision(row, cost_usd=0.05) for row in range(40)]
    forced = [decision(0, reason="forced", cost_usd=9.0) for _ in range(10)]
    found = review([*measured, *forced], scored, router=router)
    assert found.n_compared == 40
    assert found.saved == pytest.approx(1 - 0.011 / 0.02)
    assert found.usd == pytest.approx(40 * 0.05 + 90)
    assert found.usd_beside_expected == pytest.approx(92 / (20 * 0.011 + 10 * 0.01))


def test_decisions_that_nobody_answered_count_in_no_figure(scored, router):
    failed = [{"candidate": "strong", "error": "APIError", "failure": "overload"}]
    answered = [*failed, {"candidate": "small", "error": None, "failure": None}]
    rows = [decision(row, attempts=answered) for row in range(4)]
    lost = [decision(row, attempts=failed, cost_usd=None) for row in range(6)]
    found = review([*rows, *lost], scored, router=router)
    assert (found.n_decisions, found.n_failed) == (4, 6)
    assert sum(each.n_chosen for each in found.choices) == 4
    assert found.usd == pytest.approx(0.022)
    with pytest.raises(DataError, match="nobody answered any of the 6"):
        review(lost, scored, router=router)


def test_on_prompts_that_are_scored_the_choices_have_scores(scored, router):
    found = review([decision(row) for row in range(40)], scored, router=router)
    assert found.n_known == 40
    assert found.best_single_score == 1.0
    assert found.score <= 1.0


def test_prompts_of_the_same_kind_call_for_nothing(scored, router):
    found = review([decision(row) for row in range(42)], scored, router=router)
    assert found.drift.by == "prompts"
    assert found.drift.outside.value == 0  # they are the scored ones
    assert found.calls_for == ()


def test_prompts_of_another_kind_are_outside_and_call_for_answers(scored, router):
    found = review([decision(row, "four") for row in range(42)], scored, router=router)
    assert found.drift.outside.value > 0.8
    assert found.drift.nearness < found.drift.nearness_scored
    assert "farther from the scored ones" in found.calls_for[0]
    assert found.to_dict()["collect_again"] is True


def test_without_prompts_drift_is_read_off_the_chances(scored, router):
    wanted = router.with_candidates(["gpt-5", "claude-sonnet-4"])
    answers = scored.rename({"strong": "gpt-5", "small": "claude-sonnet-4"})
    chances = [each.probabilities for each in wanted.route_batch(answers.prompts)]

    def log(shift: float) -> list[dict]:
        return [
            {"candidate": "gpt-5", "probabilities": {name: min(p + shift, 1.0) for name, p in each.items()}}
            for each in chances
        ]

    same = review(log(0.0), answers, router=wanted)
    assert (same.drift.by, same.calls_for) == ("chances", ())
    assert abs(same.drift.outside.value) < 1e-6
    assert "easier" in review(log(0.4), answers, router=wanted).calls_for[0]
    assert review(log(0.0), answers).drift is None


def test_feedback_below_the_scores_calls_for_answers(scored, router):
    told = [{"kind": "feedback", "candidate": "strong", "score": float(row % 2)} for row in range(60)]
    found = review([*(decision(row) for row in range(40)), *told], scored, router=router)
    strong = next(each for each in found.choices if each.candidate == "strong")
    assert (strong.n_feedback, strong.feedback.value) == (60, 0.5)
    assert any("users score strong 0.50" in each for each in found.calls_for)


def test_too_few_decisions_say_nothing_of_drift(scored, router):
    assert review([decision(0)], scored, router=router).drift is None


def test_records_of_an_adapter_do(scored):
    found = review([{"candidate": "strong"}, {"candidate": "elsewhere"}], scored)
    assert (found.usd, found.saved, found.first) == (None, None, None)
    assert {each.candidate for each in found.choices} == {"strong", "small", "elsewhere"}


def test_what_holds_no_decision_is_refused(scored):
    with pytest.raises(DataError, match="no decision"):
        review([{"kind": "feedback", "score": 1}], scored)
    with pytest.raises(DataError, match="own candidates"):
        review([{"candidate": "elsewhere"}], scored)


def test_logs_are_read_as_lines_and_as_a_database(tmp_path):
    records = [decision(row) for row in range(3)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "d.jsonl").write_text(lines + '{"cut off')
    assert read_decisions(tmp_path / "d.jsonl") == records
    base = sqlite3.connect(tmp_path / "d.sqlite")
    base.execute("CREATE TABLE decisions (id TEXT, time TEXT, record TEXT)")
    for record in records:
        base.execute("INSERT INTO decisions VALUES (?, ?, ?)", ("", record["time"], json.dumps(record)))
    base.commit()
    base.close()
    assert read_decisions(tmp_path / "d.sqlite") == records


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, "no such file"),
        ("empty.jsonl", "", "no decision in it yet"),
        ("torn.jsonl", '{"a\n{"candidate": "x"}\n', "not JSON"),
        ("list.jsonl", "[1]\n", "expected an object"),
        ("other.jsonl", '{"level": "info"}\n', "names a candidate"),
        ("d.sqlite", "junk", "no log of decisions"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises((SchemaError, DataError), match=message):
        read_decisions(tmp_path / name)


def test_the_server_writes_what_is_read(tmp_path, scored):
    from lookahead_router.server.decisions import DecisionLog

    for name in ("d.jsonl", "d.sqlite"):
        log = DecisionLog(tmp_path / name, max_bytes=10**6, kept=1)
        for row in range(3):
            log.add({"id": str(row), **decision(row)})
        log.close()
        assert review(read_decisions(tmp_path / name), scored).n_decisions == 3
    assert np.isfinite(scored.scores).all()
