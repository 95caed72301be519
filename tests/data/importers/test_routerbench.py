import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.data.importers import import_dataset
from lookahead_router.data.importers.records import Record
from lookahead_router.data.importers.routerbench import _text
from lookahead_router.errors import DataError, SchemaError, UnknownCandidateError

ROWS = [
    {
        "sample_id": "mbpp.dev.1",
        "prompt": "['Füge zwei Zahlen hinzu 🦊.\\nIn Python.']",
        "eval_name": "mbpp",
        "org/small": 0.0,
        "large": 1.0,
        "org/small|model_response": '["I can\'t."]',
        "large|model_response": "['def f(a, b):\\n    return a + b']",
        "org/small|total_cost": 0.00001,
        "large|total_cost": 0.002,
        "oracle_model_to_route_to": "large",
    },
    {
        "sample_id": "mtbench-val.3",
        "prompt": "['Write a poem.', 'Now a longer one.']",
        "eval_name": "mtbench",
        "org/small": 0.9,
        "large": None,
        "org/small|model_response": "['One.', 'Two.']",
        "large|model_response": None,
        "org/small|total_cost": 0.00002,
        "large|total_cost": None,
        "oracle_model_to_route_to": "org/small",
    },
]


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_table_becomes_a_dataset_whatever_its_file(tmp_path, suffix):
    dataset = import_dataset("routerbench", write(tmp_path / f"bench.{suffix}", ROWS))
    assert dataset.pool.names == ("org/small", "large")
    assert dataset.ids.tolist() == ["mbpp.dev.1", "mtbench-val.3"]
    assert dataset.sources.tolist() == ["mbpp", "mtbench"]
    assert dataset.prompts.tolist() == [
        "Füge zwei Zahlen hinzu 🦊.\nIn Python.",
        "Write a poem.\n\nNow a longer one.",
    ]
    assert dataset.responses.tolist() == [["I can't.", "def f(a, b):\n    return a + b"], ["One.\n\nTwo.", None]]
    np.testing.assert_array_equal(dataset.scores, [[0.0, 1.0], [0.9, np.nan]])
    np.testing.assert_array_equal(dataset.costs_usd, [[0.00001, 0.002], [0.00002, np.nan]])
    assert np.isnan(dataset.output_tokens).all()
    assert set(dataset.splits) <= {"train", "validation", "test"}


def test_candidates_can_be_chosen_and_ordered(tmp_path):
    path = write(tmp_path / "bench.jsonl", ROWS)
    assert import_dataset("routerbench", path, models=["large"]).scores.shape == (2, 1)
    assert import_dataset("routerbench", path, models=["large", "org/small"]).pool.names == ("large", "org/small")
    with pytest.raises(UnknownCandidateError, match=r"'larg'.*Did you mean 'large'"):
        import_dataset("routerbench", path, models=["larg"])


def test_responses_and_costs_may_be_left_out_of_the_file(tmp_path):
    rows = [{name: value for name, value in row.items() if not name.endswith("response")} for row in ROWS]
    dataset = import_dataset("routerbench", write(tmp_path / "bench.csv", rows))
    assert dataset.responses.tolist() == [[None, None], [None, None]]
    assert dataset.scores[0].tolist() == [0.0, 1.0]


def test_a_response_may_be_longer_than_csv_fields_usually_are(tmp_path):
    limit = csv.field_size_limit()
    row = {**ROWS[0], "large|model_response": "x" * 200_000}
    assert len(import_dataset("routerbench", write(tmp_path / "bench.csv", [row])).responses[0, 1]) == 200_000
    assert csv.field_size_limit() == limit


def test_a_pickle_is_refused_with_the_line_that_converts_it(tmp_path):
    (tmp_path / "bench.pkl").touch()
    with pytest.raises(SchemaError) as caught:
        import_dataset("routerbench", tmp_path / "bench.pkl")
    assert "pandas.read_pickle('bench.pkl').to_parquet('bench.parquet')" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"large": "good"}, "large", "expected a number"),
        ({"large|total_cost": "cheap"}, "large|total_cost", "expected a number"),
        ({"large": 1.5}, "outcomes.score", "'large' lies outside"),
        ({"large|total_cost": -1.0}, "outcomes.cost_usd", "'large' lies outside"),
        ({"large": float("inf")}, "large", "finite"),
        ({"prompt": "['']"}, "prompt", "empty"),
        ({"prompt": 3}, "prompt", "expected text or a list of texts, got int"),
        ({"eval_name": None}, "eval_name", "expected text, got NoneType"),
        ({"large": ...}, "large", "missing"),
        ({"prompt": ...}, "prompt", "missing"),
        ({"sample_id": ...}, "sample_id", "missing"),
    ],
)
def test_a_malformed_row_is_named_and_not_quoted(tmp_path, change, column, message):
    row = {name: value for name, value in {**ROWS[1], **change}.items() if value is not ...}
    with pytest.raises(SchemaError, match=message) as caught:
        import_dataset("routerbench", write(tmp_path / "bench.jsonl", [ROWS[0], row]))
    assert (caught.value.row, caught.value.column) == (1, column)
    assert "poem" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bench.xlsx", b"", "expected a .parquet, .csv or .jsonl file"),
        ("bench.parquet", b"PAR1", "not a readable Parquet file"),
        ("bench.csv", b'a,b\n"x" y,1', "not a readable CSV file"),
        ("bench.csv", b"a\n\xff", "not a readable CSV file"),
        ("bench.csv", b"prompt,score\nhello,1\n", "expected columns that end with"),
        ("bench.jsonl", b"[1]", "expected an object, got list"),
        ("bench.jsonl", b"", "expected columns that end with"),
    ],
)
def test_another_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        import_dataset("routerbench", tmp_path / name)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_list_is_read_as_python_wrote_it(texts):
    assert _text(Record({"x": str(texts)}, None), "x") == "\n\n".join(texts)


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1).filter(lambda text: not text.startswith("[")))
def test_a_text_that_is_no_list_stays_as_it_is(text):
    assert _text(Record({"x": text}, None), "x") == text


@pytest.mark.parametrize("text", ["[INST] Hi [/INST]", "[1, 2]", r"[\d]", "[" * 5000 + "]" * 5000, "['a', 'b']]"])
def test_brackets_alone_make_no_list(text):
    assert _text(Record({"x": text}, None), "x") == text


def test_a_csv_row_with_more_cells_than_columns_is_named(tmp_path):
    (tmp_path / "wide.csv").write_text("sample_id,prompt,eval_name,m\n1,['p'],e,1.0,extra\n")
    with pytest.raises(SchemaError, match="row 0: more cells"):
        import_dataset("routerbench", tmp_path / "wide.csv")
