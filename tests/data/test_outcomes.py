import dataclasses
import json

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError, DataError, SchemaError

ANSWERS = [
    {"prompt": "2 + 2?", "candidate": "b", "score": 1.0, "source": "sums", "split": "train", "output_tokens": 3},
    {"prompt": "hello", "candidate": "a", "score": 0.25, "kind": "judge", "source": "chat", "response": "Hi!"},
    {"prompt": "2 + 2?", "candidate": "a", "score": 0, "source": "sums", "split": "train", "cost_usd": 0.01},
]


def write_jsonl(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def write_parquet(path, records):
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(records), path)
    return path


def as_rows(table):
    return [
        {
            "prompt": table.prompts[table.prompt_index[i]],
            "split": str(table.splits[table.prompt_index[i]]),
            "candidate": table.candidates[table.candidate_index[i]],
            "score": float(table.scores[i]),
            "kind": str(table.kinds[i]),
            "source": str(table.sources[i]),
            "tokens": float(np.nan_to_num(table.output_tokens[i], nan=-1)),
            "cost": float(np.nan_to_num(table.costs_usd[i], nan=-1)),
            "response": table.responses[i],
        }
        for i in range(len(table))
    ]


@pytest.mark.parametrize(("write", "suffix"), [(write_jsonl, "jsonl"), (write_parquet, "parquet")])
def test_both_formats_give_the_same_table(tmp_path, write, suffix):
    every_field = {key: None for record in ANSWERS for key in record}
    table = OutcomeTable.from_file(write(tmp_path / f"a.{suffix}", [{**every_field, **a} for a in ANSWERS]))
    assert table.candidates == ("a", "b")
    assert table.prompts.tolist() == ["2 + 2?", "hello"]
    assert [row["kind"] for row in as_rows(table)] == ["correct", "judge", "correct"]
    assert [row["tokens"] for row in as_rows(table)] == [3, -1, -1]
    assert [row["cost"] for row in as_rows(table)] == [-1, -1, 0.01]
    assert [row["response"] for row in as_rows(table)] == [None, "Hi!", None]
    assert table.in_split("train").tolist() == [True, False, True]


def test_a_file_of_prompts_says_what_the_answers_leave_out(tmp_path):
    prompts = [{"prompt_id": "p", "prompt": "hello", "split": "test", "kind": "judge", "source": "chat"}]
    answers = [
        {"prompt_id": "p", "model": "a", "score": 1},
        {"prompt_id": "p", "model": "b", "score": 0, "source": "x"},
    ]
    table = OutcomeTable.from_file(
        write_jsonl(tmp_path / "answers.jsonl", answers), prompts=write_jsonl(tmp_path / "prompts.jsonl", prompts)
    )
    rows = as_rows(table)
    assert [(r["prompt"], r["split"], r["kind"], r["source"]) for r in rows] == [
        ("hello", "test", "judge", "chat"),
        ("hello", "test", "judge", "x"),
    ]


def test_a_dataset_and_its_long_form_hold_the_same_judged_answers():
    dataset = RoutingDataset.from_examples(
        [
            RoutingExample("x", {"b": Outcome("B", 1.0, 0.5, 7), "a": Outcome("A", None)}, source="s", split="test"),
            RoutingExample("y", {"b": Outcome(None, 0.5), "a": Outcome("A", 0.25)}, source="s", split="train"),
        ]
    )
    rows = as_rows(OutcomeTable.from_dataset(dataset, kind="pref"))
    assert {(r["prompt"], r["candidate"], r["score"], r["split"], r["kind"]) for r in rows} == {
        ("x", "b", 1.0, "test", "pref"),
        ("y", "b", 0.5, "train", "pref"),
        ("y", "a", 0.25, "train", "pref"),
    }


def test_a_prompt_of_several_tables_stands_once_and_in_the_last_split(tmp_path):
    first = OutcomeTable.from_file(write_jsonl(tmp_path / "1.jsonl", ANSWERS))
    second = OutcomeTable.from_file(
        write_jsonl(tmp_path / "2.jsonl", [{"prompt": "2 + 2?", "candidate": "c", "score": 1, "split": "test"}])
    )
    both = OutcomeTable.concatenate([first, second])
    assert both.prompts.tolist() == ["2 + 2?", "hello"]
    assert both.splits.tolist() == ["test", ""]
    assert both.candidates == ("a", "b", "c")
    assert as_rows(both)[:3] == [
        {**row, "split": "test" if row["prompt"] == "2 + 2?" else ""} for row in as_rows(first)
    ]


def test_selecting_keeps_rows_and_names(tmp_path):
    table = OutcomeTable.from_file(write_jsonl(tmp_path / "a.jsonl", ANSWERS))
    kept = table.select(table.kinds == "judge")
    assert as_rows(kept) == as_rows(table)[1:2]
    assert kept.candidates == table.candidates


@pytest.mark.parametrize(
    ("change", "column", "row"),
    [
        ({"score": 1.5}, "score", 1),
        ({"score": None}, "score", 1),
        ({"score": float("nan")}, "score", 1),
        ({"score": "good"}, "score", 1),
        ({"score": True}, "score", 1),
        ({"candidate": " "}, "candidate", 1),
        ({"candidate": 7}, "candidate", 1),
        ({"prompt": ""}, "prompt", 1),
        ({"kind": "guess"}, "kind", 1),
        ({"output_tokens": -1}, "output_tokens", 1),
        ({"cost_usd": -0.1}, "cost_usd", 1),
    ],
)
def test_a_malformed_answer_is_named_by_place(tmp_path, change, column, row):
    records = [ANSWERS[0], {**ANSWERS[1], **change}]
    with pytest.raises(SchemaError) as caught:
        OutcomeTable.from_file(write_jsonl(tmp_path / "a.jsonl", records))
    assert (caught.value.column, caught.value.row, caught.value.path) == (column, row, str(tmp_path / "a.jsonl"))
    assert "hello" not in str(caught.value)


@pytest.mark.parametrize("column", ["prompt", "candidate", "score"])
def test_a_missing_column_is_named(tmp_path, column):
    records = [{key: value for key, value in answer.items() if key != column} for answer in ANSWERS]
    with pytest.raises(SchemaError) as caught:
        OutcomeTable.from_file(write_jsonl(tmp_path / "a.jsonl", records))
    assert caught.value.column == column


def test_a_file_without_answers_or_of_another_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="no answers"):
        OutcomeTable.from_file(write_jsonl(tmp_path / "a.jsonl", []))
    with pytest.raises(SchemaError, match="no such file"):
        OutcomeTable.from_file(tmp_path / "b.jsonl")
    (tmp_path / "c.csv").write_text("prompt,score")
    with pytest.raises(SchemaError, match=r"expected a \.parquet or \.jsonl file"):
        OutcomeTable.from_file(tmp_path / "c.csv")
    (tmp_path / "d.jsonl").write_text("[1]")
    with pytest.raises(SchemaError, match="expected an object"):
        OutcomeTable.from_file(tmp_path / "d.jsonl")
    (tmp_path / "e.parquet").write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match="not a readable Parquet"):
        OutcomeTable.from_file(tmp_path / "e.parquet")


def test_ids_of_prompts_are_checked(tmp_path):
    answers = write_jsonl(tmp_path / "a.jsonl", [{"prompt_id": "p", "candidate": "a", "score": 1}])
    for prompts, place in [
        ([{"prompt_id": "q", "prompt": "x"}], ("prompt_id", 0, "a.jsonl")),
        ([{"prompt_id": "p", "prompt": "x"}, {"prompt_id": "p", "prompt": "y"}], ("prompt_id", 1, "b.jsonl")),
        ([{"prompt_id": "p"}], ("prompt", None, "b.jsonl")),
    ]:
        with pytest.raises(SchemaError) as caught:
            OutcomeTable.from_file(answers, prompts=write_jsonl(tmp_path / "b.jsonl", prompts))
        column, row, name = place
        assert (caught.value.column, caught.value.row) == (column, row)
        assert caught.value.path.endswith(name)


def test_a_table_of_another_kind_of_score_or_of_nothing_is_refused():
    dataset = RoutingDataset.from_examples([RoutingExample("x", {"a": Outcome("A")})])
    with pytest.raises(ConfigurationError, match="kind must be one of"):
        OutcomeTable.from_dataset(dataset, kind="vote")
    with pytest.raises(DataError, match="no answers"):
        OutcomeTable.from_dataset(dataset)
    with pytest.raises(DataError, match="no table"):
        OutcomeTable.concatenate([])


def test_a_table_is_not_changed_in_place(tmp_path):
    table = OutcomeTable.from_file(write_jsonl(tmp_path / "a.jsonl", ANSWERS))
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.scores = np.zeros(3)


def test_renamed_candidates_keep_their_answers_and_names_are_joined(tmp_path):
    table = OutcomeTable.from_file(write_jsonl(tmp_path / "answers.jsonl", ANSWERS))
    renamed = table.rename({"b": "a-2", "nobody": "x"})
    assert renamed.candidates == ("a", "a-2")
    assert [row["candidate"] for row in as_rows(renamed)] == ["a-2", "a", "a"]
    assert table.rename({"b": "a"}).candidates == ("a",)


def test_one_long_source_or_split_does_not_widen_all_others():
    answers = [{"prompt": f"p{row}", "candidate": "a", "score": 1.0, "source": "s", "split": "t"} for row in range(500)]
    answers[0] |= {"source": "s" * 100_000, "split": "t" * 100_000}
    table = OutcomeTable.from_columns({name: [answer[name] for answer in answers] for name in answers[0]})
    assert table.sources.nbytes + table.splits.nbytes < 1e6
    assert (table.sources[0], table.splits[0]) == (answers[0]["source"], answers[0]["split"])
