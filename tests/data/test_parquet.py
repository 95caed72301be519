import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import DataError, MissingDependencyError, PoolMismatchError, SchemaError
from lookahead_router.types import CandidatePool

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

relaxed = settings(deadline=None, max_examples=40)

OUTCOMES = [[{"candidate": "a", "response": "A", "score": 1.0}, {"candidate": "b", "response": None, "score": 0.25}]]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "toy.parquet"


def write_table(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def rows(*changes: dict) -> list[list[dict]]:
    """Outcomes of a sound row, then of a row with one outcome changed by each of `changes`."""
    base = {"candidate": "a", "response": "A", "score": 1.0, "cost_usd": 0.1, "output_tokens": 1}
    return [[base], *([{**base, **change}] for change in changes)]


# Reading


def test_only_prompt_and_outcomes_are_needed(path):
    read = RoutingDataset.from_parquet(write_table(path, prompt=["hello"], outcomes=OUTCOMES))
    outcomes = {"a": Outcome("A", 1.0), "b": Outcome(None, 0.25)}
    assert list(read) == [RoutingExample("hello", outcomes, "0")]


def test_null_and_nan_both_mean_not_known(path):
    nan = float("nan")
    outcomes = rows({"score": nan, "cost_usd": nan, "output_tokens": nan}, {"score": None, "cost_usd": None})
    read = RoutingDataset.from_parquet(write_table(path, prompt=["x", "y", "z"], outcomes=outcomes))
    assert np.isnan(read.scores).tolist() == [[False], [True], [True]]
    assert np.isnan(read.costs_usd).tolist() == [[False], [True], [True]]
    assert np.isnan(read.output_tokens).tolist() == [[False], [True], [False]]
    assert read[1].outcomes["a"] == Outcome("A")


def test_null_labels_are_empty_and_a_null_id_is_the_row(path):
    null = pa.array([None], pa.string())
    table = write_table(path, prompt=["hello"], outcomes=OUTCOMES, id=null, source=null, split=null)
    example = RoutingDataset.from_parquet(table)[0]
    assert (example.id, example.source, example.split) == ("0", "", "")


def test_other_columns_are_left_out(path):
    table = write_table(path, note=[object.__name__], prompt=["hello"], outcomes=OUTCOMES, when=[5])
    assert RoutingDataset.from_parquet(table).prompts.tolist() == ["hello"]


@pytest.mark.parametrize(
    "prompt",
    [
        pa.array(["hello"], pa.large_string()),
        pa.array(["hello"]).dictionary_encode(),
        pa.array([" hello\n"]),
        [[{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]],
    ],
    ids=["large", "dictionary", "padded", "conversation"],
)
def test_spellings_of_a_prompt_that_mean_the_same(path, prompt):
    assert RoutingDataset.from_parquet(write_table(path, prompt=prompt, outcomes=OUTCOMES)).prompts.tolist() == [
        "hello"
    ]


@pytest.mark.parametrize("kind", ["int8", "int64", "float32", "float64"])
def test_scores_may_be_any_kind_of_number(path, kind):
    outcome = pa.struct([("candidate", pa.string()), ("score", kind)])
    outcomes = pa.array([[{"candidate": "a", "score": 1}, {"candidate": "b", "score": 0}]], pa.list_(outcome))
    assert RoutingDataset.from_parquet(write_table(path, prompt=["x"], outcomes=outcomes)).scores.tolist() == [[1, 0]]


@pytest.mark.parametrize("absent", ["prompt", "outcomes"])
def test_a_missing_column_is_named_with_those_that_are_there(path, absent):
    columns = {"prompt": ["hello"], "outcomes": OUTCOMES, "extra": [1]}
    del columns[absent]
    with pytest.raises(SchemaError, match=r"the column is missing; the file has .*extra") as caught:
        RoutingDataset.from_parquet(write_table(path, **columns))
    assert (caught.value.path, caught.value.column) == (str(path), absent)


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": pa.array([b"x", b"y"])}, "prompt"),
        ({"prompt": [{"role": "user"}, {"role": "user"}]}, "prompt"),
        ({"id": [1, 2]}, "id"),
        ({"source": [1.5, 2.5]}, "source"),
        ({"split": [True, False]}, "split"),
        ({"outcomes": ["a", "b"]}, "outcomes"),
        ({"outcomes": [["a"], ["b"]]}, "outcomes"),
        ({"outcomes": [[1.0], [0.5]]}, "outcomes"),
        ({"outcomes": [{"candidate": "a"}, {"candidate": "a"}]}, "outcomes"),
        ({"outcomes": [[{"name": "a"}], [{"name": "a"}]]}, "outcomes.candidate"),
        ({"outcomes": [[{"candidate": 1}], [{"candidate": 2}]]}, "outcomes.candidate"),
        ({"outcomes": [[{"candidate": "a", "response": 5}]] * 2}, "outcomes.response"),
        ({"outcomes": [[{"candidate": "a", "score": "1"}]] * 2}, "outcomes.score"),
        ({"outcomes": [[{"candidate": "a", "score": True}]] * 2}, "outcomes.score"),
        ({"outcomes": [[{"candidate": "a", "cost_usd": "1"}]] * 2}, "outcomes.cost_usd"),
        ({"outcomes": [[{"candidate": "a", "output_tokens": "1"}]] * 2}, "outcomes.output_tokens"),
    ],
)
def test_a_column_of_the_wrong_type_is_reported_at_its_first_row(path, columns, column):
    with pytest.raises(SchemaError) as caught:
        RoutingDataset.from_parquet(write_table(path, **{"prompt": ["x", "y"], "outcomes": rows({}), **columns}))
    assert (caught.value.path, caught.value.row, caught.value.column) == (str(path), 0, column)
    assert str(caught.value).startswith(f"{path}, row 0, column '{column}': ")


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"prompt": ["x", None]}, "prompt"),
        ({"prompt": ["x", ""]}, "prompt"),
        ({"prompt": ["x", " \n"]}, "prompt"),
        ({"outcomes": [*rows(), None]}, "outcomes"),
        ({"outcomes": [*rows(), [None]]}, "outcomes"),
        ({"outcomes": rows({"candidate": None})}, "outcomes.candidate"),
        ({"outcomes": rows({"candidate": ""})}, "outcomes.candidate"),
        ({"outcomes": [*rows(), rows()[0] * 2]}, "outcomes.candidate"),
        ({"outcomes": rows({"score": 1.5})}, "outcomes.score"),
        ({"outcomes": rows({"score": -0.5})}, "outcomes.score"),
        ({"outcomes": rows({"score": float("inf")})}, "outcomes.score"),
        ({"outcomes": rows({"cost_usd": -1.0})}, "outcomes.cost_usd"),
        ({"outcomes": rows({"cost_usd": float("inf")})}, "outcomes.cost_usd"),
        ({"outcomes": rows({"output_tokens": -1})}, "outcomes.output_tokens"),
        ({"outcomes": rows({"output_tokens": 12.5})}, "outcomes.output_tokens"),
    ],
)
def test_a_malformed_row_is_reported_with_file_row_and_column(path, columns, column):
    with pytest.raises(SchemaError) as caught:
        RoutingDataset.from_parquet(write_table(path, **{"prompt": ["x", "y"], "outcomes": rows({}), **columns}))
    assert (caught.value.path, caught.value.row, caught.value.column) == (str(path), 1, column)


def test_text_that_is_not_utf8_is_a_schema_error(path):
    damaged = pa.array([b"caf\xe9"]).view(pa.string())
    with pytest.raises(SchemaError, match=r"toy\.parquet"):
        RoutingDataset.from_parquet(write_table(path, prompt=damaged, outcomes=OUTCOMES))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"not parquet at all", b'{"prompt": "x"}\n' * 50])
def test_a_file_that_is_not_parquet_is_reported_with_its_path(path, content):
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="not a readable Parquet file") as caught:
        RoutingDataset.from_parquet(path)
    assert caught.value.path == str(path)


def test_a_file_cut_anywhere_is_a_schema_error(dataset, path):
    dataset.select(range(5)).to_parquet(path)
    content = path.read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(SchemaError, match="not a readable Parquet file"):
            RoutingDataset.from_parquet(path)


def test_a_file_with_a_damaged_footer_is_a_schema_error(dataset, path):
    dataset.to_parquet(path)
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[: -8 - length] + b"\xff" * length + content[-8:])
    with pytest.raises(SchemaError, match="not a readable Parquet file"):
        RoutingDataset.from_parquet(path)


def test_a_missing_file_is_reported_with_its_path(path, tmp_path):
    for absent in (path, tmp_path):
        with pytest.raises(SchemaError, match="no such file") as caught:
            RoutingDataset.from_parquet(absent)
        assert caught.value.path == str(absent)


def test_a_file_without_rows_is_an_error(path):
    outcome = pa.list_(pa.struct([("candidate", pa.string())]))
    table = write_table(path, prompt=pa.array([], pa.string()), outcomes=pa.array([], outcome))
    with pytest.raises(DataError, match="no rows to read"):
        RoutingDataset.from_parquet(table)


def test_another_pool_than_the_files_is_a_mismatch(path):
    with pytest.raises(PoolMismatchError) as caught:
        RoutingDataset.from_parquet(write_table(path, prompt=["x"], outcomes=OUTCOMES), pool=CandidatePool(["b", "c"]))
    assert (caught.value.missing, caught.value.unexpected) == (("c",), ("a",))
    assert str(path) in str(caught.value)


def test_a_given_pool_decides_the_order(path):
    table = write_table(path, prompt=["x"], outcomes=OUTCOMES)
    read = RoutingDataset.from_parquet(table, pool=CandidatePool(["b", "a"]))
    assert read.scores.tolist() == [[0.25, 1.0]]


def test_without_pyarrow_the_pip_line_is_given(path, dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for use in (RoutingDataset.from_parquet, dataset.to_parquet):
        with pytest.raises(MissingDependencyError, match=r"pip install 'lookahead-router\[eval\]'"):
            use(path)


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


@relaxed
@given(st.lists(st.tuples(texts.filter(str.strip), labels, labels, outcomes, outcomes), min_size=1, max_size=4))
def test_what_is_written_is_read_again(tmp_path_factory, fields):
    dataset = RoutingDataset.from_examples(
        RoutingExample(prompt, {"a": first, "b": second}, id, source) for prompt, id, source, first, second in fields
    )
    path = tmp_path_factory.mktemp("parquet") / "toy.parquet"
    dataset.to_parquet(path)
    again = RoutingDataset.from_parquet(path)
    assert again.fingerprint() == dataset.fingerprint()
    assert list(again) == list(dataset)


def test_the_toy_world_survives_both_formats(dataset, tmp_path):
    dataset.to_parquet(tmp_path / "a.parquet")
    read = RoutingDataset.from_parquet(tmp_path / "a.parquet")
    read.to_jsonl(tmp_path / "b.jsonl")
    again = RoutingDataset.from_jsonl(tmp_path / "b.jsonl", pool=dataset.pool)
    assert read.fingerprint() == again.fingerprint() == dataset.fingerprint()


def test_the_written_schema_is_the_documented_one(dataset, path):
    dataset.to_parquet(path)
    schema = pq.read_schema(path)
    assert schema.names == ["id", "source", "split", "prompt", "outcomes"]
    assert {str(schema.field(name).type) for name in schema.names[:4]} == {"string"}
    outcome = schema.field("outcomes").type.value_type
    assert [(field.name, str(field.type)) for field in outcome] == [
        ("candidate", "string"),
        ("response", "string"),
        ("score", "double"),
        ("cost_usd", "double"),
        ("output_tokens", "int64"),
    ]


def test_an_unknown_number_is_written_as_null_not_nan(path):
    RoutingDataset.from_examples([RoutingExample("x", {"a": Outcome()})]).to_parquet(path)
    assert pq.read_table(path).to_pylist()[0]["outcomes"] == [
        {"candidate": "a", "response": None, "score": None, "cost_usd": None, "output_tokens": None}
    ]


def test_a_response_with_surrogates_can_be_written(path):
    built = RoutingDataset.from_examples([RoutingExample("x", {"a": Outcome("lone \ud800")})])
    built.to_parquet(path)
    assert RoutingDataset.from_parquet(path).fingerprint() == built.fingerprint()


def test_a_full_disk_leaves_the_old_file_whole(dataset, path, tmp_path, monkeypatch):
    dataset.to_parquet(path)
    before = path.read_bytes()

    def write_half(table, where):
        Path(where).write_bytes(before[:100])
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", write_half)
    with pytest.raises(OSError, match="no space left"):
        dataset.to_parquet(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_data_that_cannot_be_written_leaves_the_old_file_whole(dataset, path, tmp_path):
    dataset.to_parquet(path)
    before = path.read_bytes()
    responses = dataset.responses.copy()
    responses[1, 0] = object()
    with pytest.raises((TypeError, pa.ArrowException)):
        dataclasses.replace(dataset, responses=responses).to_parquet(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
