import json

import numpy as np
import pytest

from lookahead_router.data.importers import import_dataset
from lookahead_router.errors import DataError, LookaheadRouterWarning, SchemaError, UnknownCandidateError


def record(index, **changes):
    return {
        "index": index,
        "origin_query": f"Frage {index} 🦊",
        "prompt": f"Question: Frage {index} 🦊\nAnswer:",
        "prompt_tokens": 15,
        "completion_tokens": 5,
        "cost": 0.0001,
        "score": 1.0,
        "prediction": "4",
        "ground_truth": "4",
        "raw_output": "It is 4.",
        "extra_fields": {},
        **changes,
    }


FAILED = {"score": None, "completion_tokens": 0, "cost": 0.0, "prediction": "", "raw_output": "Processing failed: 429"}


def write(root, dataset, model, records, *, timestamp="20250901_120000", **changes):
    result = {
        "performance": 0.5,
        "counts": len(records),
        "model_name": model,
        "dataset_name": dataset,
        "split": "test",
        "demo": False,
        "extra_metrics": {},
        "data_fingerprint": "abc",
        "records": records,
        **changes,
    }
    path = root / dataset / "test" / model / f"{dataset}-test-{model}-{timestamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def bench(tmp_path):
    root = tmp_path / "bench"
    write(root, "gsm", "large", [record(1), record(2, score=0.5, cost=0.01)])
    write(root, "gsm", "small", [record(2, score=0.0), record(1, **FAILED)])
    write(root, "aime", "large", [record(1, prompt="Hard")])
    return root


def test_result_files_become_a_dataset(bench):
    dataset = import_dataset("llmrouterbench", bench)
    assert dataset.pool.names == ("large", "small")
    assert dataset.ids.tolist() == ["aime/test/1", "gsm/test/1", "gsm/test/2"]
    assert dataset.sources.tolist() == ["aime", "gsm", "gsm"]
    assert dataset.prompts[1] == "Question: Frage 1 🦊\nAnswer:"
    np.testing.assert_array_equal(dataset.scores, [[1, np.nan], [1, np.nan], [0.5, 0]])
    np.testing.assert_array_equal(dataset.costs_usd, [[1e-4, np.nan], [1e-4, np.nan], [0.01, 1e-4]])
    np.testing.assert_array_equal(dataset.output_tokens, [[5, np.nan], [5, np.nan], [5, 5]])
    assert dataset.responses.tolist() == [["It is 4.", None], ["It is 4.", None], ["It is 4.", "It is 4."]]


def test_the_splits_are_ours(bench):
    assert set(import_dataset("llmrouterbench", bench, fractions=(1, 0, 0)).splits) == {"train"}


def test_candidates_can_be_chosen(bench):
    dataset = import_dataset("llmrouterbench", bench, models=["small", "large"])
    assert dataset.pool.names == ("small", "large")
    assert np.isnan(dataset.scores[0, 0])
    assert len(import_dataset("llmrouterbench", bench, models=["small"])) == 2
    with pytest.raises(UnknownCandidateError, match="'gpt'"):
        import_dataset("llmrouterbench", bench, models=["gpt"])


def test_the_latest_run_that_is_no_demo_counts(bench):
    write(bench, "aime", "large", [record(1, prompt="Hard", score=0.25)], timestamp="20251001_000000")
    write(bench, "aime", "large", [record(1, prompt="Hard", score=0.75)], timestamp="20250801_000000")
    write(bench, "aime", "large", [record(1, prompt="Hard", score=0.0)], timestamp="20251101_000000", demo=True)
    assert import_dataset("llmrouterbench", bench).scores[0, 0] == 0.25


def test_a_failed_record_need_not_repeat_the_prompt(bench):
    write(bench, "gsm", "small", [record(1, **{**FAILED, "prompt": ""}), record(2)])
    assert import_dataset("llmrouterbench", bench, models=["small", "large"]).prompts[1].startswith("Question")


def test_models_with_other_prompts_do_not_belong_together(bench):
    write(bench, "gsm", "small", [record(1, prompt="Something else"), record(2)])
    with pytest.raises(
        SchemaError, match=r"'small' and 'large' have different prompts under 'test/1' of gsm"
    ) as caught:
        import_dataset("llmrouterbench", bench)
    assert "Something" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"score": "good"}, "score", "expected a number"),
        ({"score": 8.0}, "outcomes.score", "scale scores first"),
        ({"completion_tokens": []}, "completion_tokens", "expected a number"),
        ({"cost": -1}, "outcomes.cost_usd", "outside"),
        ({"prompt": {"a": 1}}, "prompt", "expected a string or a list"),
        ({"index": 1}, "index", "stands twice"),
    ],
)
def test_a_malformed_record_is_named(bench, change, column, message):
    write(bench, "aime", "large", [record(1), {**record(2), **change}])
    with pytest.raises(SchemaError, match=message) as caught:
        import_dataset("llmrouterbench", bench)
    assert (caught.value.row, caught.value.column) == (1, column)


@pytest.mark.parametrize("column", ["score", "prompt", "cost", "completion_tokens", "raw_output", "index"])
def test_a_missing_field_is_named(bench, column):
    broken = record(1)
    del broken[column]
    write(bench, "aime", "large", [broken])
    with pytest.raises(SchemaError, match="the field is missing") as caught:
        import_dataset("llmrouterbench", bench)
    assert caught.value.column == column
    assert "aime-test-large" in caught.value.path


@pytest.mark.parametrize(
    "name", ["._gsm-test-large-20250901_120000.json", ".ipynb_checkpoints/a.json", "__MACOSX/a.json"]
)
def test_hidden_files_are_no_results(bench, name):
    expected = import_dataset("llmrouterbench", bench).fingerprint()
    path = bench / "gsm" / "test" / "large" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\0\5\26\7Mac OS X")
    assert import_dataset("llmrouterbench", bench).fingerprint() == expected


def test_a_few_stray_files_and_records_are_left_out_and_named(bench):
    for n in range(20):
        write(bench, f"set{n}", "large", [record(i, score=8.0 if (n, i) == (3, 7) else 1.0) for i in range(20)])
    write(bench, "set4", "small", [record(i, **({"score": "good"} if i == 5 else {})) for i in range(20)])
    (bench / "notes.json").write_text('{"todo": []}')
    with pytest.warns(LookaheadRouterWarning, match="left out 3 of") as caught:
        dataset = import_dataset("llmrouterbench", bench)
    for part in ("notes.json, column 'model_name'", "row 5, column 'score'", "column 'outcomes.score': 8.0 of 'large'"):
        assert part in str(caught[0].message)
    assert len(dataset) == 20 * 20 - 1 + 3
    assert np.isnan(dataset.scores[dataset.sources == "set4", 1]).sum() == 1


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError, match="found none"):
        import_dataset("llmrouterbench", tmp_path)
    with pytest.raises(SchemaError, match="no such file or folder"):
        import_dataset("llmrouterbench", tmp_path / "none")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(SchemaError, match="column 'model_name': the field is missing"):
        import_dataset("llmrouterbench", tmp_path)
