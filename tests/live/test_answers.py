import json

import pytest

from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError, DataError, SchemaError
from lookahead_router.live.answers import (
    Answer,
    Question,
    context_variants,
    outcome_table,
    questions_of,
    read_answers,
    read_questions,
)

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def write(tmp_path, lines, name="prompts.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_prompts_are_read_from_jsonl_with_what_is_known_of_them(tmp_path):
    human = {"a": 1, "b": None}
    rows = [
        {"prompt": "1 + 1?", "reference": 2, "id": 7, "source": "sums", "split": "test", "scores_human": human},
        {"messages": CHAT},
        {"prompt": CHAT},
    ]
    first, second, third = read_questions(write(tmp_path, rows))
    assert first == Question("1 + 1?", None, 2, "7", "sums", "test", {"a": 1.0})
    assert (second.prompt, second.messages) == ("Why?", tuple(CHAT))
    assert second == third


def test_prompts_are_read_from_parquet_and_from_lines(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"prompt": ["x", None], "messages": [None, json.dumps(CHAT)], "reference": ["1", "2"]})
    pq.write_table(table, tmp_path / "p.parquet")
    first, second = read_questions(tmp_path / "p.parquet")
    assert (first.prompt, first.reference, second.messages) == ("x", "1", tuple(CHAT))
    (tmp_path / "p.txt").write_text("x\n\ny\n", encoding="utf-8")
    assert [question.prompt for question in read_questions(tmp_path / "p.txt")] == ["x", "y"]


def test_the_same_prompt_has_the_same_id_and_another_conversation_another():
    one, same, chat = questions_of(["Why?", {"prompt": "Why?", "reference": "x"}, CHAT])
    assert one.prompt_id == same.prompt_id != chat.prompt_id
    assert len(one.prompt_id) == 16


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "secret"}], "column 'prompt': the column is missing"),
        ([{"prompt": "x"}, {"reference": "secret"}], "row 1"),
        ([{"prompt": "x"}, {"prompt": "  "}], "row 1, column 'prompt': the prompt is empty"),
        ([{"prompt": 3}], "row 0"),
        ([{"messages": [{"role": "assistant", "content": "secret"}]}], "row 0"),
        ([{"prompt": [{"role": "user"}]}], "row 0"),
        ([{"prompt": "secret", "scores_human": {"a": 7}}], r"scores_human': expected scores in \[0, 1\]"),
        ([{"prompt": "secret", "scores_human": 1}], "expected {candidate: score}"),
        ([], "it is empty"),
    ],
)
def test_malformed_prompts_are_named_by_their_row_and_not_quoted(tmp_path, rows, message):
    with pytest.raises(DataError, match=message) as caught:
        read_questions(write(tmp_path, rows))
    assert "secret" not in str(caught.value)


def test_halves_of_characters_are_replaced_wherever_they_stand(tmp_path):
    half = "x\ud800"
    question, chat = questions_of(
        [{"prompt": half, "reference": half}, [{"role": "user", "content": [{"type": "text", "text": half}]}]]
    )
    texts = (question.prompt, question.reference, chat.prompt, chat.messages[0]["content"][0]["text"])
    assert set(texts) == {"x\ufffd"}


def test_a_missing_number_is_no_reference_and_what_cannot_be_written_an_error():
    assert questions_of([{"prompt": "x", "reference": float("nan")}])[0].reference is None
    for value in ({1, 2}, b"secret", float("inf"), {"x": object()}):
        with pytest.raises(SchemaError, match="row 0, column 'reference': expected plain JSON"):
            questions_of([{"prompt": "x", "reference": value}])
    with pytest.raises(SchemaError, match="row 0, column 'prompt': expected plain JSON"):
        questions_of([[{"role": "user", "content": "x", "data": b"secret"}]])


def test_no_prompts_and_a_single_one_are_errors():
    with pytest.raises(DataError, match="no prompts"):
        questions_of([])
    with pytest.raises(DataError, match="wrap a single one in a list"):
        questions_of("secret")


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("no.jsonl", "no.txt"):
        with pytest.raises(SchemaError, match="no such file"):
            read_questions(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        read_answers(tmp_path / "no.jsonl")


def test_redaction_reaches_every_text_that_would_be_asked_or_written():
    parts = [{"type": "text", "text": "I am Ann"}, {"type": "image_url", "image_url": {"url": "Ann.png"}}]
    question = questions_of([{"messages": [{"role": "user", "content": parts}], "reference": "Ann"}])[0]
    redacted = question.redacted(lambda text: text.replace("Ann", "[name]"))
    assert (redacted.prompt, redacted.reference) == ("I am [name]", "[name]")
    assert redacted.messages[0]["content"][0]["text"] == "I am [name]"
    assert redacted.messages[0]["content"][1] == parts[1]
    assert redacted.prompt_id != question.prompt_id


@pytest.mark.parametrize("redact", [lambda text: None, lambda text: "", lambda text: 3])
def test_a_redact_function_that_leaves_nothing_is_an_error(redact):
    with pytest.raises(DataError, match="redact function left"):
        Question("secret").redacted(redact)


def test_answers_survive_the_file_and_unknown_columns_are_left_out(tmp_path):
    answer = Answer(
        "0" * 16, "Why?", "a", "So.", 3, 4, 0.001, 0.5, "stop", messages=tuple(CHAT), reference={"x": [1]}, score=0.5,
        kind="judge", judge="j", scores_human={"a": 0.25},
    )  # fmt: skip
    failed = Answer("1" * 16, "What?", "b", None, error="content filter")
    worst = Answer("1" * 16, "What?", "b", "0", cost_usd=0.0, reference=0, score=0.0, kind="correct")
    path = write(tmp_path, [{**answer.to_dict(), "more": 1}, failed.to_dict(), worst.to_dict()], "answers.jsonl")
    assert read_answers(path) == [answer, failed, worst]
    assert read_answers(path)[2].score == 0.0
    assert (answer.score_human, failed.score_human) == (0.25, None)


def test_an_answer_file_of_ones_own_needs_prompt_and_candidate_alone(tmp_path):
    (answer,) = read_answers(write(tmp_path, [{"prompt": "Why?", "candidate": "a", "response": "So."}]))
    assert answer.prompt_id == Question("Why?").prompt_id
    for record in ({"prompt": "secret"}, {"candidate": "a"}, {"prompt": "secret", "candidate": 3}):
        with pytest.raises(SchemaError, match="row 0") as caught:
            read_answers(write(tmp_path, [record]))
        assert "secret" not in str(caught.value)


def test_scored_answers_are_a_table_of_outcomes_and_the_others_are_left_out(tmp_path):
    scored = Answer("0" * 16, "Why?", "a", "So.", 3, 4, 0.001, source="s", split="test", score=0.5, kind="judge")
    unscored = Answer("0" * 16, "Why?", "b", None, error="no answer")
    table = outcome_table([scored, unscored])
    assert (table.candidates, table.scores.tolist(), table.costs_usd.tolist()) == (("a",), [0.5], [0.001])
    with pytest.raises(DataError, match="no answer is scored"):
        outcome_table([unscored])


def test_prompts_with_passages_are_asked_with_them_without_or_both_ways():
    asked = questions_of([{"prompt": "Who built it?", "context": ["Ada Storm did."]}, "Name a river."])
    with_passages, plain = asked
    assert with_passages.context == ("Ada Storm did.",)
    assert with_passages.prompt_id != questions_of(["Who built it?"])[0].prompt_id
    both = context_variants(asked, "both")
    assert [(each.prompt, each.context) for each in both] == [
        ("Who built it?", ()),
        ("Who built it?", ("Ada Storm did.",)),
        ("Name a river.", ()),
    ]
    assert context_variants(asked, "yes") == asked
    assert not any(each.context for each in context_variants(asked, "no"))
    with pytest.raises(ConfigurationError, match="yes, no or both"):
        context_variants(asked, "maybe")
    with pytest.raises(DataError, match="column context"):
        context_variants([plain], "both")
    with pytest.raises(SchemaError, match="context"):
        questions_of([{"prompt": "Who built it?", "context": [5]}])


def test_scored_answers_with_and_without_passages_are_two_rows(tmp_path):
    path = tmp_path / "scored.jsonl"
    rows = [
        {"prompt": "Who built it?", "candidate": "a", "response": "x", "score": score, **context}
        for score, context in ((0.0, {}), (1.0, {"context": ["Ada Storm did."]}))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = read_answers(path)
    assert [Answer.from_dict(answer.to_dict()) for answer in answers] == answers
    dataset = outcome_table(answers).to_dataset()
    assert dataset.scores.tolist() == [[0.0], [1.0]]
    assert list(dataset.contexts) == [(), ("Ada Storm did.",)]
    assert list(OutcomeTable.concatenate([OutcomeTable.from_dataset(dataset)]).to_dataset().contexts) == list(
        dataset.contexts
    )
