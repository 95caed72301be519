import json

import numpy as np
import pytest

from lookahead_router.data.importers import import_dataset
from lookahead_router.data.importers.alpaca_eval import DEFAULT_ANNOTATOR
from lookahead_router.errors import DataError, LookaheadRouterWarning, SchemaError, UnknownCandidateError

INSTRUCTIONS = ["Wie heißt der Fuchs? 🦊", "Name a fruit.", "Count to three.\n"]


def annotation(instruction, preference, output="judged"):
    return {
        "instruction": instruction,
        "output_1": "baseline",
        "generator_1": "gpt4_1106_preview",
        "dataset": "helpful_base",
        "output_2": output,
        "generator_2": "example",
        "annotator": DEFAULT_ANNOTATOR,
        "preference": preference,
        "price_per_example": 0.01,
        "time_per_example": 0.2,
        "raw_completion": {"text": "m"},
    }


def write(root, model, annotations, *, annotator=DEFAULT_ANNOTATOR, instructions=INSTRUCTIONS):
    folder = root / model / annotator
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [
        {"dataset": "koala", "instruction": text, "output": f"{model} {n}", "generator": model}
        for n, text in enumerate(instructions)
    ]
    (root / model / "model_outputs.json").write_text(json.dumps(outputs), encoding="utf-8")
    (folder / "annotations.json").write_text(json.dumps(annotations, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def results(tmp_path):
    write(tmp_path, "small", [annotation(text, 1.25, f"small {n}") for n, text in enumerate(INSTRUCTIONS)])
    write(tmp_path, "large", [annotation(INSTRUCTIONS[2], 2), annotation(INSTRUCTIONS[0], None, "large 0")])
    (tmp_path / "leaderboard.csv").touch()
    return tmp_path


def test_annotations_are_joined_by_instruction(results):
    dataset = import_dataset("alpaca-eval", results)
    assert dataset.pool.names == ("large", "small")
    assert dataset.prompts.tolist() == [text.strip() for text in INSTRUCTIONS]
    assert dataset.ids.tolist() == ["AlpacaEval/0", "AlpacaEval/1", "AlpacaEval/2"]
    assert set(dataset.sources) == {"AlpacaEval"}
    np.testing.assert_array_equal(dataset.scores, [[np.nan, 0.25], [np.nan, 0.25], [1, 0.25]])
    assert dataset.responses.tolist() == [["large 0", "small 0"], ["large 1", "small 1"], ["judged", "small 2"]]
    assert np.isnan(dataset.costs_usd).all()


def test_the_order_of_annotations_does_not_matter(results):
    before = import_dataset("alpaca-eval", results, models=["small", "large"])
    path = results / "small" / DEFAULT_ANNOTATOR / "annotations.json"
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))
    assert import_dataset("alpaca-eval", results, models=["small", "large"]).fingerprint() == before.fingerprint()


def test_an_instruction_that_stands_twice_stays_two_rows(tmp_path):
    twice = [INSTRUCTIONS[1]] * 2
    write(tmp_path, "small", [annotation(text, 1 + n, f"{n}") for n, text in enumerate(twice)], instructions=twice)
    dataset = import_dataset("alpaca-eval", tmp_path)
    assert dataset.responses.tolist() == [["0"], ["1"]]
    assert dataset.scores.tolist() == [[0.0], [1.0]]


def test_a_stray_annotation_is_left_out_and_said(tmp_path):
    asked = [f"Question {n}" for n in range(20)]
    write(tmp_path, "whole", [annotation(text, 2) for text in asked], instructions=asked)
    write(tmp_path, "short", [annotation(text, 1) for text in asked], instructions=asked[:-1])
    with pytest.warns(LookaheadRouterWarning, match=r"left out 1 of 99 rows and files: .*short.* row 19, column"):
        dataset = import_dataset("alpaca-eval", tmp_path)
    assert len(dataset) == 20
    assert np.isnan(dataset.scores[:, dataset.pool.index("short")]).tolist() == [False] * 19 + [True]


def test_candidates_can_be_chosen(results):
    write(results, "unjudged", [])
    (results / "unjudged" / DEFAULT_ANNOTATOR / "annotations.json").unlink()
    assert import_dataset("alpaca-eval", results).pool.names == ("large", "small")
    assert import_dataset("alpaca-eval", results, models=["small"]).pool.names == ("small",)
    with pytest.raises(UnknownCandidateError, match="'smal'"):
        import_dataset("alpaca-eval", results, models=["smal"])
    with pytest.raises(SchemaError, match="no such file") as caught:
        import_dataset("alpaca-eval", results, models=["unjudged", "small"])
    assert "unjudged" in caught.value.path


def test_a_model_that_answered_fewer_instructions_has_gaps(results):
    write(results, "small", [annotation(INSTRUCTIONS[1], 1.5)], instructions=INSTRUCTIONS[1:2])
    dataset = import_dataset("alpaca-eval", results)
    assert dataset.responses[:, 1].tolist() == [None, "judged", None]


def test_one_annotator_judges_all(results, tmp_path_factory):
    write(results, "large", [annotation(INSTRUCTIONS[0], 2)], annotator="alpaca_eval_gpt4")
    assert np.isnan(import_dataset("alpaca-eval", results).scores[0, 0])
    other = tmp_path_factory.mktemp("other")
    write(other, "large", [annotation(INSTRUCTIONS[0], 0)], annotator="alpaca_eval_gpt4")
    assert import_dataset("alpaca-eval", other).scores[0, 0] == 0.5
    write(other, "large", [annotation(INSTRUCTIONS[0], 2)], annotator="claude")
    with pytest.raises(DataError, match="got alpaca_eval_gpt4, claude"):
        import_dataset("alpaca-eval", other)


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"preference": 2.5}, "preference", r"expected a preference from 1 to 2, got 2\.5"),
        ({"preference": -1}, "preference", "expected a preference"),
        ({"preference": "both"}, "preference", "expected a number"),
        ({"preference": ...}, "preference", "missing"),
        ({"output_2": ...}, "output_2", "missing"),
        ({"instruction": None}, "instruction", "expected text"),
    ],
)
def test_a_malformed_annotation_is_named(results, change, column, message):
    broken = {k: v for k, v in {**annotation(INSTRUCTIONS[1], 1), **change}.items() if v is not ...}
    write(results, "small", [annotation(INSTRUCTIONS[0], 1), broken])
    with pytest.raises(SchemaError, match=message) as caught:
        import_dataset("alpaca-eval", results)
    assert (caught.value.row, caught.value.column) == (1, column)


def test_annotations_of_other_instructions_are_refused(results):
    write(results, "small", [annotation(INSTRUCTIONS[0], 1), annotation("Secret instruction", 1)])
    with pytest.raises(SchemaError, match="an instruction that was not answered") as caught:
        import_dataset("alpaca-eval", results)
    assert "Secret" not in str(caught.value)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected MODEL/model_outputs\.json, found none"):
        import_dataset("alpaca-eval", tmp_path)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "model_outputs.json").write_text("[]")
    with pytest.raises(DataError, match=r"expected MODEL/weighted_alpaca_eval_gpt4_turbo/annotations\.json"):
        import_dataset("alpaca-eval", tmp_path)
