import asyncio
import json
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from servers.openai_server import Reply, text_of

from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError, DataError, LookaheadRouterWarning
from lookahead_router.live import Answer, JudgeConfig, ajudge, collect, expected_verdicts, judge, read_answers
from lookahead_router.live.journal import read_records


def answer(prompt, candidate, response, **more):
    return Answer.from_dict({"prompt": prompt, "candidate": candidate, "response": response, **more})


QUALITY = {"poor": 2, "fair": 5, "good": 9}
ANSWERS = [answer(f"Question {n}?", name, f"{name} answer {n}") for n in range(12) for name in QUALITY]
"""Of candidates that are as good as their names."""


def shown(request, part):
    """What stands between the marks of a judge's prompt."""
    text = text_of(request["messages"][-1])
    return re.search(rf"\[{part} ([0-9a-f]{{8}})\]\n(.*?)\n\[end \1\]", text, re.DOTALL)[2]


def by_name(request):
    """A judge who sees the quality in the first word."""
    if "[answer A" in text_of(request["messages"][-1]):
        first, second = (QUALITY[shown(request, f"answer {side}").split()[0]] for side in "AB")
        return Reply("They differ.\nVerdict: " + ("A" if first > second else "B" if first < second else "tie"))
    return Reply(f"As expected.\nRating: {QUALITY[shown(request, 'answer').split()[0]]}")


@pytest.fixture
def judges(server, endpoint):
    server.script = by_name

    def config(*names, **more):
        return JudgeConfig(judges=[endpoint(name) for name in names], **more)

    return config


def mean_scores(judged):
    found = {}
    for each in judged.answers:
        found.setdefault(each.candidate, []).append(each.score)
    return {name: sum(scores) / len(scores) for name, scores in found.items()}


def test_references_score_what_has_one_and_the_rest_is_left_out_and_counted(tmp_path):
    answers = [
        answer("1 + 1?", "a", "It is 2.", reference=2),
        answer("1 + 1?", "b", "It is 3.", reference=2),
        answer("Why?", "a", "So."),
        answer("What?", "a", None, error="content filter", reference=1),
    ]
    judged = judge(answers, "number", output=tmp_path / "scored.jsonl")
    assert [(a.candidate, a.score, a.kind, a.judge) for a in judged.answers] == [
        ("a", 1.0, "correct", "reference:number"),
        ("b", 0.0, "correct", "reference:number"),
    ]
    assert judged.left_out == {"error": 1, "no reference": 1}
    assert read_answers(tmp_path / "scored.jsonl") == list(judged.answers)


def test_scored_answers_are_what_routers_are_fitted_on(tmp_path):
    path = tmp_path / "scored.jsonl"
    judge([answer("1 + 1?", "a", "2", reference=2, source="sums", split="test", cost_usd=0.1)], "number", output=path)
    table = OutcomeTable.from_file(path)
    assert (table.candidates, table.scores.tolist(), table.costs_usd.tolist()) == (("a",), [1.0], [0.1])
    assert (table.sources.tolist(), table.splits.tolist(), table.kinds.tolist()) == (["sums"], ["test"], ["correct"])


def test_scores_of_other_answers_and_other_files_are_not_written_over(tmp_path):
    output = tmp_path / "scored.jsonl"
    first = [answer("2 + 2?", "small", "4", reference="4"), answer("3 + 3?", "small", "6", reference="6")]
    judge(first, "exact", output=output)
    more = [*first, answer("3 + 3?", "large", "6", reference="6")]
    judge(more, "exact", output=output)
    kept = output.read_bytes()
    with pytest.raises(ConfigurationError, match="holds 3 scores of other answers"):
        judge([answer("4 + 4?", "small", "8", reference="8")], "exact", output=output)
    assert output.read_bytes() == kept
    assert len(judge(more, "exact", output=output).answers) == 3
    notes = tmp_path / "notes.txt"
    notes.write_text("not to be lost\n")
    with pytest.raises(ConfigurationError, match="holds something else than scored answers"):
        judge(first, "exact", output=notes)
    assert notes.read_text() == "not to be lost\n"


def test_an_error_scores_what_the_settings_say():
    answers = [answer("x", "a", None, error="content filter", reference="x"), answer("x", "b", "x", reference="x")]
    judged = judge(answers, JudgeConfig(reference="exact", error_score=0))
    assert [a.score for a in judged.answers] == [0.0, 1.0]


def test_no_reference_at_all_and_a_wrong_one_are_errors():
    with pytest.raises(DataError, match="no prompt has a reference; name judges"):
        judge([answer("secret", "a", "x")], "exact")
    with pytest.raises(DataError, match=r"prompt [0-9a-f]{16}: expected a number as the reference") as caught:
        judge([answer("secret", "a", "x", reference="secret")], "number")
    assert "secret" not in str(caught.value)
    with pytest.raises(DataError, match="no answers"):
        judge([], "exact")
    with pytest.raises(DataError, match="no answer holds a response"):
        judge([answer("x", "a", None, error="no answer")], "exact")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name a way to grade"),
        ({"reference": "magic"}, "reference"),
        ({"reference": "command"}, "go together"),
        ({"reference": "exact", "command": "x"}, "go together"),
        ({"judges": [{"name": "a"}, {"name": "a"}]}, "repeated: a"),
        ({"judges": [{"name": "a"}], "against": "b"}, "pairwise"),
        ({"judges": [{"name": "a"}], "again": 2}, "again"),
        ({"judges": [{"name": "a"}], "colour": 2}, "colour"),
    ],
)
def test_settings_that_are_wrong_say_where(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        JudgeConfig(**settings)


def test_ratings_become_scores_and_judges_are_averaged(server, judges):
    config = judges("kind", "strict", again=0)
    server.script = lambda r: Reply("Rating: 10") if r["model"] == "kind" else by_name(r)
    with pytest.warns(LookaheadRouterWarning, match="the judge kind gave the same verdict all 36 times"):
        judged = judge(ANSWERS, config)
    expected = {name: (1 + (rating - 1) / 9) / 2 for name, rating in QUALITY.items()}
    assert mean_scores(judged) == pytest.approx(expected)
    assert {(a.kind, a.judge) for a in judged.answers} == {("judge", "rating:kind,strict")}
    assert [j.is_constant for j in judged.judges] == [True, False]


def test_pairs_are_compared_in_both_orders_and_a_judge_who_sees_no_quality_but_place_moves_no_score(server, judges):
    judged = judge(ANSWERS, judges("fair", method="pairwise", again=0))
    assert mean_scores(judged) == {"poor": 0.0, "fair": 0.5, "good": 1.0}
    assert len(server.requests) == 12 * 3 * 2
    (summary,) = judged.judges
    assert (summary.order_agreement, summary.position_bias) == (1.0, 0.0)
    server.script = lambda request: Reply("Verdict: A")
    with pytest.warns(LookaheadRouterWarning, match="same verdict"):
        biased = judge(ANSWERS, judges("first", method="pairwise", again=0))
    assert set(mean_scores(biased).values()) == {0.5}
    assert (biased.judges[0].order_agreement, biased.judges[0].position_bias) == (0.0, 1.0)


def test_against_one_candidate_there_are_fewer_pairs_and_it_is_the_middle(server, judges):
    judged = judge(ANSWERS, judges("j", method="pairwise", against="fair", again=0))
    assert mean_scores(judged) == {"poor": 0.0, "fair": 0.5, "good": 1.0}
    assert len(server.requests) == 12 * 2 * 2
    assert {a.kind for a in judged.answers} == {"pref"}


def test_answers_of_the_same_words_are_judged_once_and_tie(server, judges):
    same = [answer("Why?", name, "good answer") for name in ("a", "b", "c")]
    judged = judge(same, judges("j", again=0))
    assert (len(server.requests), {a.score for a in judged.answers}) == (1, {8 / 9})
    judged = judge(same, judges("j", method="pairwise", again=0))
    assert (len(server.requests), {a.score for a in judged.answers}) == (1, {0.5})


def test_replies_without_a_verdict_are_kept_raw_and_counted_and_score_nothing(server, judges, tmp_path):
    server.script = lambda r: Reply("Well... I like it.") if "poor" in shown(r, "answer") else by_name(r)
    output = tmp_path / "scored.jsonl"
    judged = judge(ANSWERS, judges("j", again=0), output=output)
    assert (judged.judges[0].n_unreadable, judged.judges[0].n_verdicts) == (12, 24)
    assert judged.left_out == {"no verdict": 12}
    assert {a.candidate for a in judged.answers} == {"fair", "good"}
    raw = [r for r in read_records(tmp_path / "scored.jsonl.verdicts") if r["verdict"] is None]
    assert {(r["reply"], tuple(r["candidates"])) for r in raw} == {("Well... I like it.", ("poor",))}


def test_a_pair_with_one_order_unreadable_counts_for_nothing(server, judges):
    server.script = lambda r: Reply("Hm.") if shown(r, "answer A").startswith("good") else by_name(r)
    judged = judge(ANSWERS, judges("j", method="pairwise", again=0))
    assert {a.candidate for a in judged.answers} == {"poor", "fair"}
    assert mean_scores(judged) == {"poor": 0.0, "fair": 1.0}


def test_a_judge_that_is_asked_again_tells_how_far_it_agrees_with_itself(server, judges):
    judged = judge(ANSWERS, judges("j", again=1))
    assert (judged.judges[0].self_agreement, judged.judges[0].n_again) == (1.0, 36)
    asked = Counter()

    def fickle(request):
        asked[shown(request, "answer")] += 1
        return Reply(f"Rating: {asked[shown(request, 'answer')] + 2}")

    server.script = fickle
    judged = judge(ANSWERS, judges("j", again=0.5))
    (summary,) = judged.judges
    assert (summary.self_agreement, summary.n_verdicts) == (0.0, 36)
    assert 8 <= summary.n_again <= 28


def test_scores_of_people_are_compared_with(judges):
    human = {"poor": 0.1, "fair": 0.4, "good": 0.9}
    answers = [answer(a.prompt, a.candidate, a.response, scores_human=human) for a in ANSWERS]
    judged = judge(answers, judges("j", again=0))
    for found in (judged.human, judged.judges[0].human):
        assert (found.n_answers, found.n_pairs, found.same_order) == (36, 36, 1.0)
        assert found.rank_correlation == pytest.approx(1.0)
        assert 0 < found.mean_difference < 0.1
    assert judge(ANSWERS, judges("j", again=0)).human is None


def test_references_decide_where_they_are_and_judges_the_rest(server, judges):
    answers = [answer("1 + 1?", "a", "2", reference=2), *ANSWERS]
    judged = judge(answers, judges("j", reference="number", again=0))
    assert Counter(a.kind for a in judged.answers) == {"correct": 1, "judge": 36}
    assert len(server.requests) == 36


def test_a_reference_is_shown_to_a_judge_where_it_does_not_decide(server, judges):
    judge([answer("1 + 1?", "a", "good 2", reference="two")], judges("j", again=0))
    assert shown(server.requests[0], "reference") == "two"


def test_verdicts_that_are_there_are_not_asked_for_again_and_new_answers_are(server, judges, tmp_path):
    output = tmp_path / "scored.jsonl"
    judge(ANSWERS[:18], judges("j", again=0), output=output)
    judged = judge(ANSWERS, judges("j", again=0), output=output)
    assert (len(server.requests), judged.n_new, len(judged.answers)) == (36, 18, 36)
    assert judged.spent.usd == pytest.approx(
        sum(r["cost_usd"] for r in read_records(tmp_path / "scored.jsonl.verdicts"))
    )


def test_other_settings_do_not_add_to_the_same_output(judges, tmp_path):
    output = tmp_path / "scored.jsonl"
    judge(ANSWERS[:3], judges("j", again=0), output=output)
    with pytest.raises(ConfigurationError, match="choose another output"):
        judge(ANSWERS[:3], judges("j", again=0, rubric="Be kind."), output=output)


def test_the_answers_are_not_written_over(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps(answer("x", "a", "x", reference="x").to_dict()) + "\n")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="holds the answers"):
        judge(path, "exact", output=path)
    assert path.read_bytes() == before


def test_a_judge_keeps_its_budget(server, judges, tmp_path):
    judged = judge(ANSWERS, judges("j", again=0), budget_calls=10)
    assert (len(server.requests), judged.n_short, judged.left_out) == (10, 26, {"no verdict": 26})
    before = len(server.answered)
    cheap = {"name": "j", "base_url": server.url, "input_price": 1, "output_price": 2, "parameters": {"max_tokens": 20}}
    judged = judge(ANSWERS, JudgeConfig(judges=[cheap], again=0), budget_usd=0.005)
    billed = sum(r["_usage"]["prompt_tokens"] + 2 * r["_usage"]["completion_tokens"] for r in server.answered[before:])
    assert billed / 1e6 == pytest.approx(judged.spent.usd)
    assert judged.spent.usd <= 0.005
    assert judged.n_short > 0


def test_a_judge_that_fails_is_set_aside_and_the_others_judge(server, judges):
    config = judges("bad", "j", again=0)
    server.script = lambda r: Reply(status=401) if r["model"] == "bad" else by_name(r)
    judged = judge(ANSWERS, config)
    assert "refuses its key" in judged.judges[0].aside
    assert (judged.judges[0].n_missing, judged.judges[1].n_missing) == (36, 0)
    assert len(judged.answers) == 36


def test_models_of_this_process_judge(judges):
    config = JudgeConfig(judges=[{"name": "mine"}], again=0)
    judged = judge(ANSWERS[:2], config, models={"mine": lambda prompt: "Rating: 7"})
    assert {a.score for a in judged.answers} == {6 / 9}
    with pytest.raises(ConfigurationError, match="models of 'other'"):
        judge(ANSWERS[:2], config, models={"other": lambda prompt: "Rating: 7"})


def test_a_function_of_ones_own_judges(server, endpoint, tmp_path):
    collected = collect(["one", "two"], {"a": lambda prompt: prompt * 3})

    def length(each):
        return None if each.prompt == "two" else len(each.response) / 10

    async def slow(each):
        await asyncio.sleep(0)
        return 1

    judged = judge(collected, length, output=tmp_path / "scored.jsonl")
    assert [(a.prompt, a.score, a.judge) for a in judged.answers] == [("one", 0.9, "function:length")]
    assert judged.left_out == {"no score by the function": 1}
    assert [a.score for a in judge(collected, slow).answers] == [1.0, 1.0]
    for wrong in (2, "x", float("nan"), [1]):
        with pytest.raises(DataError, match=r"gives a score in \[0, 1\] or None"):
            judge(collected, lambda each, wrong=wrong: wrong)


def test_it_runs_as_a_coroutine(judges):
    judged = asyncio.run(ajudge(ANSWERS[:3], judges("j", again=0)))
    assert len(judged.answers) == 3


CHECK = """
import os, pathlib, sys
here = pathlib.Path.cwd()
assert sorted(p.name for p in here.iterdir() if not p.name.startswith(".")) == [
    "code.txt", "prompt.txt", "reference.txt", "response.txt"
]
assert "A_KEY" not in os.environ
scope = {}
exec((here / "code.txt").read_text(), scope)
wanted = int((here / "reference.txt").read_text())
if scope["f"](2) == wanted - 1:
    print("nearly\\n0.5")
else:
    sys.exit(scope["f"](2) != wanted)
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    (tmp_path / "check.py").write_text(CHECK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_KEY", "secret")
    return JudgeConfig(reference="command", command=(sys.executable, "check.py"), command_timeout=20)


def code(body, candidate="a"):
    return answer("f(2)?", candidate, f"Here:\n```python\ndef f(x):\n    {body}\n```\nDone.", reference=4)


def test_a_command_grades_code_in_a_directory_of_its_own(check, tmp_path):
    answers = [code("return 2 * x", "a"), code("return 7", "b"), code("return 3", "c"), code("syntax error", "d")]
    judged = judge(answers, check, allow_commands=True, output=tmp_path / "scored.jsonl")
    assert {a.candidate: a.score for a in judged.answers} == {"a": 1.0, "b": 0.0, "c": 0.5, "d": 0.0}
    assert {(a.kind, a.judge) for a in judged.answers} == {("correct", "command")}
    (tmp_path / "check.py").unlink()  # what was graded is not graded again
    again = judge(answers, check, allow_commands=True, output=tmp_path / "scored.jsonl")
    assert again.answers == judged.answers


def test_no_command_runs_unless_that_was_allowed(check, tmp_path):
    with pytest.raises(ConfigurationError, match="on what models wrote; allow it with --allow-commands"):
        judge([code("return 4")], check)
    assert not list(tmp_path.glob("*.verdicts"))


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(check, tmp_path):
    late = tmp_path / "late"
    child = f"import subprocess, sys, time; subprocess.Popen(['sh', '-c', 'sleep 1.5; touch {late}']); time.sleep(60)"
    config = JudgeConfig(reference="command", command=(sys.executable, "-c", child), command_timeout=0.5)
    start = time.monotonic()
    (scored,) = judge([code("return 4")], config, allow_commands=True).answers
    assert scored.score == 0.0
    assert time.monotonic() - start < 20
    time.sleep(1.5)
    assert not late.exists()


@pytest.mark.parametrize("command", ["no-such-command-here x", "sh -c 'exit 127'"])
def test_a_command_that_cannot_run_is_an_error_and_no_score(check, command):
    config = JudgeConfig(reference="command", command=command)
    with pytest.raises(ConfigurationError, match="command"):
        judge([code("return 4")], config, allow_commands=True)


def test_two_runs_on_one_output_are_refused(server, judges, tmp_path):
    config, started = judges("j", again=0), threading.Event()

    def script(request):
        started.set()
        return Reply("Rating: 3", delay_seconds=0.3)

    server.script = script
    run = threading.Thread(target=judge, args=(ANSWERS[:1], config), kwargs={"output": tmp_path / "scored.jsonl"})
    run.start()
    started.wait()
    with pytest.raises(ConfigurationError, match="another run is writing"):
        judge(ANSWERS[:1], config, output=tmp_path / "scored.jsonl")
    run.join()


def test_a_dry_run_says_calls_and_dollars(server, judges, tmp_path):
    output = tmp_path / "scored.jsonl"
    config = judges("j", "k", again=0)
    expected = expected_verdicts(ANSWERS, config, output=output)
    assert expected.calls == {"j": 36, "k": 36}
    assert 0 < expected.usd["j"] < expected.most_usd["j"]
    judge(ANSWERS[:9], config, output=output)
    expected = expected_verdicts(ANSWERS, config, output=output)
    assert (expected.calls, expected.n_there) == ({"j": 27, "k": 27}, 18)
    assert len(server.requests) == 18
    assert expected_verdicts(ANSWERS, JudgeConfig(reference="exact")).calls == {}


def test_settings_are_read_from_a_file(tmp_path):
    path = Path(tmp_path, "judge.yaml")
    path.write_text("reference: number\ntolerance: 0.01\n")
    (scored,) = judge([answer("x", "a", "3.14", reference=3.1416)], path).answers
    assert scored.score == 1.0
    with pytest.raises(ConfigurationError, match="cannot read"):
        judge([answer("x", "a", "3")], "no.yaml")
