import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.jsonl import example_from_record, record_from_example
from lookahead_router.errors import DataError, PoolMismatchError, SchemaError
from lookahead_router.types import CandidatePool

relaxed = settings(deadline=None, max_examples=60)

GOOD = {
    "id": "i0",
    "source": "math",
    "split": "train",
    "prompt": "hello",
    "outcomes": [
        {"candidate": "a", "response": "A", "score": 1.0, "cost_usd": 0.01, "output_tokens": 10},
        {"candidate": "b", "response": None, "score": None, "cost_usd": None, "output_tokens": None},
    ],
}


def write_lines(path: Path, *records) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "toy.jsonl"


# Reading


def test_a_line_is_an_example(path):
    read = RoutingDataset.from_jsonl(write_lines(path, GOOD))
    assert read.pool.names == ("a", "b")
    outcomes = {"a": Outcome("A", 1.0, 0.01, 10), "b": Outcome()}
    assert list(read) == [RoutingExample("hello", outcomes, "i0", "math", "train")]


def test_only_prompt_and_outcomes_are_needed(path):
    read = RoutingDataset.from_jsonl(write_lines(path, {"prompt": "hello", "outcomes": [{"candidate": "a"}]}))
    assert list(read) == [RoutingExample("hello", {"a": Outcome()}, "0")]


def test_a_candidate_without_outcome_in_a_row_is_missing_there(path):
    other = {"prompt": "hello", "outcomes": [{"candidate": "c", "score": 0.5}]}
    read = RoutingDataset.from_jsonl(write_lines(path, GOOD, other))
    assert read.pool.names == ("a", "b", "c")
    assert read.responses.tolist() == [["A", None, None], [None, None, None]]
    np.testing.assert_array_equal(read.scores, [[1.0, np.nan, np.nan], [np.nan, np.nan, 0.5]])


def test_unknown_fields_are_left_out(path):
    extra = {**GOOD, "note": [1], "outcomes": [{**outcome, "judge": "x"} for outcome in GOOD["outcomes"]]}
    assert RoutingDataset.from_jsonl(write_lines(path, extra))[0].prompt == "hello"


def test_a_prompt_may_be_a_conversation(path):
    record = {**GOOD, "prompt": [{"role": "user", "content": "from a chat"}]}
    assert RoutingDataset.from_jsonl(write_lines(path, record)).prompts.tolist() == ["from a chat"]


def test_nan_and_null_both_mean_not_judged(path):
    path.write_text('{"prompt": "x", "outcomes": [{"candidate": "a", "score": NaN, "output_tokens": NaN}]}')
    assert list(RoutingDataset.from_jsonl(path)) == [RoutingExample("x", {"a": Outcome()}, "0")]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + json.dumps(GOOD),
        "\n  \n" + json.dumps(GOOD) + "\n\n",
        json.dumps(GOOD) + "\r\n",
        json.dumps({**GOOD, "prompt": "hello\n"}),
    ],
    ids=["byte order mark", "blank lines", "windows line ends", "newline in the prompt"],
)
def test_spellings_of_a_file_that_mean_the_same(path, content):
    path.write_bytes(content.encode())
    assert list(RoutingDataset.from_jsonl(path)) == list(RoutingDataset.from_jsonl(write_lines(path, GOOD)))


def test_unicode_line_separators_do_not_end_a_line(path):
    path.write_text(json.dumps({**GOOD, "prompt": "a\u2028b\u2029c\x85d"}, ensure_ascii=False), encoding="utf-8")
    assert RoutingDataset.from_jsonl(path).prompts.tolist() == ["a\u2028b\u2029c\x85d"]


def outcome(**changes) -> dict:
    return {**GOOD, "outcomes": [{**GOOD["outcomes"][0], **changes}]}


def without(name: str) -> dict:
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("record", "column"),
    [
        (without("prompt"), "prompt"),
        (without("outcomes"), "outcomes"),
        ({**GOOD, "prompt": None}, "prompt"),
        ({**GOOD, "prompt": 5}, "prompt"),
        ({**GOOD, "prompt": True}, "prompt"),
        ({**GOOD, "prompt": {"role": "user", "content": "x"}}, "prompt"),
        ({**GOOD, "prompt": ""}, "prompt"),
        ({**GOOD, "prompt": " \n"}, "prompt"),
        ({**GOOD, "prompt": []}, "prompt"),
        ({**GOOD, "prompt": ["x"]}, "prompt"),
        ({**GOOD, "id": 5}, "id"),
        ({**GOOD, "source": ["math"]}, "source"),
        ({**GOOD, "split": True}, "split"),
        ({**GOOD, "outcomes": None}, "outcomes"),
        ({**GOOD, "outcomes": {"a": {"score": 1}}}, "outcomes"),
        ({**GOOD, "outcomes": ["a"]}, "outcomes"),
        ({**GOOD, "outcomes": [None]}, "outcomes"),
        ({**GOOD, "outcomes": [[]]}, "outcomes"),
        ({**GOOD, "outcomes": [{"score": 1.0}]}, "outcomes.candidate"),
        (outcome(candidate=None), "outcomes.candidate"),
        (outcome(candidate=5), "outcomes.candidate"),
        (outcome(candidate=""), "outcomes.candidate"),
        (outcome(candidate=" padded"), "outcomes.candidate"),
        ({**GOOD, "outcomes": [{"candidate": "a"}, {"candidate": "b"}, {"candidate": "a"}]}, "outcomes.candidate"),
        (outcome(response=5), "outcomes.response"),
        (outcome(response=["A"]), "outcomes.response"),
        (outcome(score="1.0"), "outcomes.score"),
        (outcome(score=True), "outcomes.score"),
        (outcome(score=[1.0]), "outcomes.score"),
        (outcome(score=1.5), "outcomes.score"),
        (outcome(score=-0.5), "outcomes.score"),
        (outcome(score=float("inf")), "outcomes.score"),
        (outcome(score=10**400), "outcomes.score"),
        (outcome(cost_usd="1"), "outcomes.cost_usd"),
        (outcome(cost_usd=-1), "outcomes.cost_usd"),
        (outcome(cost_usd=float("-inf")), "outcomes.cost_usd"),
        (outcome(output_tokens="10"), "outcomes.output_tokens"),
        (outcome(output_tokens=-1), "outcomes.output_tokens"),
        (outcome(output_tokens=False), "outcomes.output_tokens"),
        (outcome(output_tokens=12.5), "outcomes.output_tokens"),
    ],
)
def test_a_malformed_row_is_reported_with_file_row_and_column(path, record, column):
    write_lines(path, GOOD, record)
    with pytest.raises(SchemaError) as caught:
        RoutingDataset.from_jsonl(path)
    assert (caught.value.path, caught.value.row, caught.value.column) == (str(path), 1, column)
    assert str(caught.value).startswith(f"{path}, row 1, column '{column}': ")


@pytest.mark.parametrize("line", ["[1]", "null", '"text"', "5", "true"])
def test_a_line_that_is_no_object_is_reported_with_file_and_row(path, line):
    path.write_text(json.dumps(GOOD) + "\n" + line)
    with pytest.raises(SchemaError, match="expected an object with prompt and outcomes") as caught:
        RoutingDataset.from_jsonl(path)
    assert (caught.value.path, caught.value.row) == (str(path), 1)


@pytest.mark.parametrize(
    "line",
    [
        b"{'prompt': 1}",
        b'{"prompt": "x", "outcomes": [',
        b"prompt,outcomes",
        b"\xff\xfe\x00",
        b"PAR1\x15\x04",
        b"{}{}",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"outcomes":' * 100_000,
    ],
    ids=["python", "cut", "csv", "utf-16", "parquet", "two", "huge number", "nested lists", "nested objects"],
)
def test_a_line_that_is_not_json_is_reported_with_file_and_row(path, line):
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + b"\n")
    with pytest.raises(SchemaError, match="row 1") as caught:
        RoutingDataset.from_jsonl(path)
    assert (caught.value.path, caught.value.row) == (str(path), 1)


def test_blank_lines_do_not_count_as_rows(path):
    path.write_text("\n\n" + json.dumps(GOOD) + "\n\n{}\n")
    with pytest.raises(SchemaError, match="row 1"):
        RoutingDataset.from_jsonl(path)


@pytest.mark.parametrize("content", ["", "\n", "\n \n\t\n", "\ufeff"])
def test_an_empty_file_is_an_error(path, content):
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="no rows to read") as caught:
        RoutingDataset.from_jsonl(path)
    assert str(path) in str(caught.value)


def test_a_file_without_any_outcome_is_an_error(path):
    with pytest.raises(DataError, match="no outcomes to read"):
        RoutingDataset.from_jsonl(write_lines(path, {"prompt": "x", "outcomes": []}))


def test_a_missing_file_is_reported_with_its_path(path, tmp_path):
    for absent in (path, tmp_path):
        with pytest.raises(SchemaError, match="no such file") as caught:
            RoutingDataset.from_jsonl(absent)
        assert caught.value.path == str(absent)


def test_another_pool_than_the_files_is_a_mismatch(path):
    with pytest.raises(PoolMismatchError) as caught:
        RoutingDataset.from_jsonl(write_lines(path, GOOD), pool=CandidatePool(["a", "c"]))
    assert (caught.value.missing, caught.value.unexpected) == (("c",), ("b",))
    assert str(path) in str(caught.value)


def test_errors_hold_no_prompt_and_no_response(path):
    for record in (outcome(response="SECRET", score=5), {**GOOD, "prompt": "SECRET", "id": 5}):
        with pytest.raises(SchemaError) as caught:
            RoutingDataset.from_jsonl(write_lines(path, record))
        assert "SECRET" not in str(caught.value)


# Writing

texts = st.text(max_size=6)
labels = st.text(st.characters(exclude_categories=["C"]), max_size=6)  # numpy drops trailing NULs of fixed-width text
outcomes = st.builds(
    Outcome,
    response=st.none() | texts,
    score=st.none() | st.floats(0, 1),
    cost_usd=st.none() | st.floats(0, allow_infinity=False),
    output_tokens=st.none() | st.integers(0, 2**53),
)


@st.composite
def datasets(draw):
    names = draw(st.lists(labels.map(str.strip).filter(bool), min_size=1, max_size=3, unique=True))
    examples = [
        RoutingExample(
            prompt=draw(texts.filter(str.strip)),
            outcomes={name: draw(outcomes) for name in names},
            id=draw(labels),
            source=draw(labels),
            split=draw(labels),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    return RoutingDataset.from_examples(examples)


@relaxed
@given(datasets())
def test_what_is_written_is_read_again(tmp_path_factory, dataset):
    path = tmp_path_factory.mktemp("jsonl") / "toy.jsonl"
    dataset.to_jsonl(path)
    again = RoutingDataset.from_jsonl(path)
    assert again.fingerprint() == dataset.fingerprint()
    assert list(again) == list(dataset)


@relaxed
@given(datasets())
def test_a_record_gives_its_example_back(dataset):
    for row, example in enumerate(dataset):
        record = json.loads(json.dumps(record_from_example(example)))
        assert example_from_record(record, path=None, row=row) == example


def test_the_toy_world_survives_writing(dataset, path):
    dataset.to_jsonl(path)
    assert RoutingDataset.from_jsonl(path).fingerprint() == dataset.fingerprint()
    assert RoutingDataset.from_jsonl(path, pool=dataset.pool).fingerprint() == dataset.fingerprint()


def test_written_lines_are_standard_json(path):
    RoutingDataset.from_jsonl(write_lines(path, GOOD)).to_jsonl(path)

    def refuse(constant: str):
        raise AssertionError(constant)

    assert [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()] == [GOOD]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00"])
def test_a_response_with_surrogates_can_be_read_and_written_again(path, text):
    read = RoutingDataset.from_jsonl(write_lines(path, outcome(response=text)))
    read.to_jsonl(path)
    assert RoutingDataset.from_jsonl(path).fingerprint() == read.fingerprint()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_text_that_is_not_utf8_is_reported_with_its_row(path, encoding):
    good = json.dumps(GOOD).encode()
    path.write_bytes(good + b"\n" + json.dumps(outcome(response="café"), ensure_ascii=False).encode(encoding))
    with pytest.raises(SchemaError, match="row 1: not UTF-8; write the file again in this encoding"):
        RoutingDataset.from_jsonl(path)


def test_a_failed_write_leaves_the_old_file_whole(path, tmp_path):
    good = RoutingDataset.from_jsonl(write_lines(path, GOOD, GOOD))
    before = path.read_bytes()
    responses = good.responses.copy()
    responses[1, 0] = object()
    with pytest.raises(TypeError, match="not JSON serializable"):
        dataclasses.replace(good, responses=responses).to_jsonl(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
