import json

import pytest

from lookahead_router.data.importers.records import Record, names_in, read_json, read_jsonl
from lookahead_router.errors import SchemaError


@pytest.fixture
def record(tmp_path):
    value = {"a": [{"b": "text"}], "n": 1, "s": "0.5", "t": True, "null": None, "nan": float("nan"), "word": "one"}
    return Record(value, tmp_path / "file.json", 7)


def test_keys_lead_into_objects_and_lists(record):
    assert record.text("a", 0, "b") == "text"
    assert [item.text("b") for item in record.rows("a")] == ["text"]
    assert record.entries()["n"].value == 1
    assert "a" in record
    assert "b" not in record


def test_numbers_in_all_their_spellings(record):
    assert [record.number(key) for key in ("n", "s", "t", "null", "nan")] == [1.0, 0.5, 1.0, None, None]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda record: record.get("a", 1, "b"), "row 7, column 'a.1.b': the field is missing"),
        (lambda record: record.get("word", 0), "column 'word.0': the field is missing"),
        (lambda record: record.text("n"), "column 'n': expected text, got int"),
        (lambda record: record.number("word"), "column 'word': expected a number"),
        (lambda record: record.number("a"), "column 'a': expected a number, got list"),
        (lambda record: record.rows("n"), "column 'n': expected a list, got int"),
        (lambda record: record.entries("a"), "column 'a': expected an object, got list"),
    ],
)
def test_a_complaint_says_where(record, read, message):
    with pytest.raises(SchemaError) as caught:
        read(record)
    assert message in str(caught.value)
    assert caught.value.path == str(record.path)


def test_an_infinite_number_is_none(tmp_path):
    with pytest.raises(SchemaError, match="finite"):
        Record({"x": float("inf")}, tmp_path).number("x")


def test_a_line_ends_at_a_line_feed_only(tmp_path):
    text = "one\u2028two\x85three"
    (tmp_path / "x.jsonl").write_text(json.dumps({"a": text}, ensure_ascii=False) + "\r\n", encoding="utf-8-sig")
    assert [record.text("a") for record in read_jsonl(tmp_path / "x.jsonl")] == [text]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("y.json", b"", "no such file"),
        ("x.json", b"{", "not JSON"),
        ("x.json", b"[" * 100_000, "not JSON"),
        ("x.json", b"\xff", "not readable"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SchemaError, match=message) as caught:
        read_json(tmp_path / "x.json")
    assert caught.value.path == str(tmp_path / "x.json")


def test_names_are_what_a_pattern_leaves_open(tmp_path):
    for name in ("b_single.jsonl", "a.1_single.jsonl", "._b_single.jsonl", "other.jsonl"):
        (tmp_path / name).touch()
    assert names_in(tmp_path, "{}_single.jsonl") == ["a.1", "b"]
