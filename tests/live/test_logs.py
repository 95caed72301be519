"""What was asked is found in logs of all kinds, and nothing else is taken for it."""

import json

import pytest

from lookahead_router.errors import DataError, SchemaError
from lookahead_router.live.logs import log_of, read_logs

SAID = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who wrote Faust?"}]
ANSWERED = [*SAID, {"role": "assistant", "content": "Goethe."}]
LANGCHAIN = {
    "lc": 1,
    "type": "constructor",
    "id": ["langchain", "schema", "messages", "HumanMessage"],
    "kwargs": {"content": "Who wrote Faust?", "type": "human"},
}

RECORDS = {
    "a text": "Who wrote Faust?",
    "fine-tuning": {"messages": ANSWERED},
    "batch": {"custom_id": "1", "url": "/v1/chat/completions", "body": {"model": "m", "messages": SAID}},
    "stored completion": {"object": "chat.completion", "request": {"messages": SAID}, "choices": []},
    "langsmith messages": {"run_type": "llm", "inputs": {"messages": [[LANGCHAIN]]}, "outputs": {"generations": []}},
    "langsmith flat": {"inputs": {"messages": [{"type": "human", "data": {"content": "Who wrote Faust?"}}]}},
    "langsmith chain": {"run_type": "chain", "inputs": {"question": "Who wrote Faust?"}, "outputs": {"x": "Goethe."}},
    "langsmith csv": {"id": "1", "inputs": json.dumps({"input": "Who wrote Faust?"}), "outputs": "Goethe."},
    "langfuse generation": {"type": "GENERATION", "input": SAID, "output": "Goethe."},
    "langfuse trace": {"id": "1", "input": {"messages": ANSWERED}, "output": {"content": "Goethe."}},
    "langfuse text": {"type": "GENERATION", "input": "Who wrote Faust?"},
    "langfuse csv": {"input": json.dumps(SAID), "output": "Goethe."},
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_the_last_question_is_found(name):
    (question,) = log_of([RECORDS[name]]).questions
    assert question.prompt == "Who wrote Faust?"
    if question.messages is not None:
        assert question.messages[-1]["role"] == "user"


def test_a_conversation_is_kept_up_to_its_last_question():
    long = [*ANSWERED, {"role": "user", "content": "And Hamlet?"}, {"role": "assistant", "content": "Shakespeare."}]
    (question,) = log_of([{"messages": long}]).questions
    assert question.prompt == "Who wrote Faust?\n\nAnd Hamlet?"
    assert question.messages == tuple(long[:-1])


def test_what_asks_no_llm_and_what_holds_no_prompt_is_counted():
    records = [
        {"run_type": "tool", "inputs": {"input": "ls"}},
        {"type": "EVENT", "input": "clicked"},
        {"type": "SPAN", "input": "x"},
        {"messages": [{"role": "assistant", "content": "hello"}]},
        {"messages": []},
        {"input": None},
        None,
        7,
        {"messages": [{"role": "user", "content": ""}]},
        {"prompt": "kept"},
    ]
    log = log_of(records)
    assert [question.prompt for question in log.questions] == ["kept"]
    assert (log.n_records, log.n_unreadable) == (10, 9)


def test_a_reference_and_a_source_come_along():
    (question,) = log_of([{"input": "2+2?", "expectedOutput": "4", "source": "sums"}]).questions
    assert (question.reference, question.source) == ("4", "sums")


def test_files_of_every_kind_are_read(tmp_path):
    lines = "\n".join(json.dumps(each) for each in RECORDS.values() if isinstance(each, dict))
    (tmp_path / "a.jsonl").write_text("\ufeff" + lines + '\n{"cut off', encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps([{"input": "one"}, {"input": "two"}]))
    (tmp_path / "c.json").write_text(json.dumps({"data": [{"input": "three"}]}))
    (tmp_path / "d.csv").write_text('id,input\n1,"four, and\nfive"\n')
    (tmp_path / "e.txt").write_text("six\n\nseven\n")
    log = read_logs([tmp_path / name for name in ("a.jsonl", "b.json", "c.json", "d.csv", "e.txt")])
    assert log.n_unreadable == 1
    assert [each.prompt for each in log.questions][-6:] == ["one", "two", "three", "four, and\nfive", "six", "seven"]


def test_parquet_with_a_column_of_text_or_of_messages(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prompt": ["one", None], "messages": [None, SAID]}), tmp_path / "a.parquet")
    assert [each.prompt for each in read_logs([tmp_path / "a.parquet"]).questions] == ["one", "Who wrote Faust?"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, "No such file"),
        ("empty.jsonl", b"", "the log is empty"),
        ("blank.txt", b"\n \n", "the log is empty"),
        ("latin.txt", "caf\xe9".encode("latin-1"), "not UTF-8"),
        ("junk.parquet", b"junk", "not a readable Parquet"),
        ("other.jsonl", b'{"level": "info"}\n', "no prompt in any of 1 records"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, SchemaError), match=message):
        read_logs([tmp_path / name])


def test_errors_hold_no_text_of_the_log(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"secret": "my password is hunter2"}\nalso hunter2\n')
    with pytest.raises(DataError) as caught:
        read_logs([tmp_path / "x.jsonl"])
    assert "hunter2" not in str(caught.value)
