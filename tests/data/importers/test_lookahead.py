import gzip
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.data.importers import import_dataset
from lookahead_router.data.importers.lookahead import _scaled
from lookahead_router.errors import DataError, SchemaError, UnknownCandidateError

MODELS = ("Yi", "Phi-3.5")
SETS = ["AlpacaEval", "ArenaHard", "GSM8k", "HumanEval", "MT-Bench"]


def write(path, value):
    """JSON, or JSONL from a list of records; compressed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_lines = ".jsonl" in path.name
    text = "".join(json.dumps(item) + "\n" for item in value) if is_lines else json.dumps(value)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_training_set(root, scores, *, name="UltraFeedback", results="Skywork", ids=True, zipped=".gz"):
    folder = root / "train" / name
    instructions = [{"prompt_id": f"p{n}", "prompt": f" Frage {n} 🦊\n", "tags": []} for n in range(3)]
    write(folder / f"instructions.jsonl{zipped}", instructions)
    write(folder / f"eval_ids.json{zipped}", ["p1"])
    for model, values in scores.items():
        rows = [{"prompt_id": f"p{n}", "response": f"{model} {n}", "score": value} for n, value in enumerate(values)]
        rows = rows[::-1] if ids else [{k: v for k, v in row.items() if k != "prompt_id"} for row in rows]
        write(folder / results / f"{model}.jsonl{zipped}", rows)
    return folder


def write_benchmarks(root):
    """Two prompts of each kind of benchmark; `Phi-3.5` is the better candidate."""
    for rank, model in enumerate(MODELS):
        annotations = [
            {"instruction": f"Q{n}", "output_2": f"{model} {n}", "preference": 1.25 + rank / 2} for n in (1, 0)
        ]
        write(root / f"AlpacaEval/{model}/weighted_alpaca_eval_gpt4_turbo/annotations.json", annotations)
        answers = [
            {"question_id": f"q{n}", "choices": [{"turns": [{"content": f"{model} {n}", "token_len": 7}]}]}
            for n in range(2)
        ]
        games = [[{"score": "B>A"}, {"score": "A>>B"}], [{"score": "A>B"}, {"score": None}]]
        judgments = [{"question_id": f"q{n}", "games": games[n]} for n in range(2)]
        write(root / f"ArenaHard/model_answer/{model}.jsonl", answers[: rank + 1])
        write(root / f"ArenaHard/model_judgment/{model}.jsonl", judgments)
        ratings = [
            {
                "question_id": 81 + n,
                "turn": turn,
                "judge": ["gpt-4-0125-preview", "single-v1"],
                "score": (-1 if (n, turn, rank) == (0, 2, 0) else 4 + 2 * turn + rank),
                "user_prompt": "[Instruction]\nJudge.\n\n[Question]\nQ\n\n[The Start of Reference Answer]\nR\n"
                "[The End of Reference Answer]\n\n[The Start of Assistant's Answer]\n"
                f"{model}\n{n}\n[The End of Assistant's Answer]",
            }
            for n in range(2)
            for turn in (2, 1)
        ]
        write(root / f"MT-Bench/judgments/gpt-4-0125-preview_judge_{model}_single.jsonl.gz", ratings)
        details = {
            str(n): {"prompt": [{"role": "HUMAN", "prompt": f"Sum {n}"}], "origin_prediction": "4", "correct": rank > n}
            for n in range(2)
        }
        write(root / f"GSM8k/{model}.json.gz", {"accuracy": 50.0, "details": details})
        predictions = {str(n): {"origin_prompt": [{"prompt": f"Code {n}"}], "prediction": "pass"} for n in range(2)}
        write(root / f"HumanEval/predictions/{model}.json", predictions)
        results = {str(n): {"is_correct": rank > n} for n in range(2)}
        write(root / f"HumanEval/results/{model}.json", {"humaneval_pass@1": 50.0, "details": results})
    write(root / "AlpacaEval/instructions.jsonl", [{"instruction": f"Q{n}", "reference": "R"} for n in range(2)])
    write(
        root / "ArenaHard/question.jsonl", [{"question_id": f"q{n}", "turns": [{"content": f"H{n}"}]} for n in (0, 1)]
    )
    write(root / "MT-Bench/question.jsonl.gz", [{"question_id": 81 + n, "turns": [f"T{n}", "more"]} for n in (0, 1)])


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "compressed_data"
    write_training_set(root, {"Yi": [-10.0, 0.0, 10.0], "Phi-3.5": [30.0, None, 10.0]})
    write_benchmarks(root / "test")
    return root


def test_training_sets_are_scaled_and_split_by_the_authors(data):
    rows = import_dataset("lookahead", data, models=MODELS).filter(source="UltraFeedback")
    assert rows.ids.tolist() == ["UltraFeedback/p0", "UltraFeedback/p1", "UltraFeedback/p2"]
    assert rows.prompts.tolist() == ["Frage 0 🦊", "Frage 1 🦊", "Frage 2 🦊"]
    assert rows.splits.tolist() == ["train", "validation", "train"]
    assert rows.responses.tolist() == [[f"Yi {n}", f"Phi-3.5 {n}"] for n in range(3)]
    np.testing.assert_allclose(rows.scores, [[0, 1], [0.25, np.nan], [0.5, 0.5]])


def test_benchmarks_are_test(data):
    dataset = import_dataset("lookahead", data, models=MODELS)
    assert set(dataset.filter(split="test").sources) == set(SETS)
    expected = {
        "AlpacaEval": [[0.25, 0.75], [0.25, 0.75]],
        "ArenaHard": [[10 / 12, 10 / 12], [np.nan, 0]],
        "GSM8k": [[0, 1], [0, 0]],
        "HumanEval": [[0, 1], [0, 0]],
        "MT-Bench": [[np.nan, 0.8], [0.7, 0.8]],
    }
    for source, scores in expected.items():
        np.testing.assert_allclose(dataset.filter(source=source).scores, scores, err_msg=source)
    assert dataset.filter(source="AlpacaEval").responses.tolist() == [["Yi 0", "Phi-3.5 0"], ["Yi 1", "Phi-3.5 1"]]
    assert dataset.filter(source="MT-Bench").prompts.tolist() == ["T0", "T1"]
    assert dataset.filter(source="MT-Bench").responses[1].tolist() == ["Yi\n1", "Phi-3.5\n1"]
    np.testing.assert_array_equal(dataset.filter(source="ArenaHard").output_tokens, [[7, 7], [np.nan, 7]])


def test_scores_in_the_unit_interval_stay_as_they_are(tmp_path):
    write_training_set(tmp_path, {"Yi": [0.2, 0.4, 0.6]}, zipped="")
    np.testing.assert_allclose(import_dataset("lookahead", tmp_path).scores[:, 0], [0.2, 0.4, 0.6])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1))
def test_scaled_scores_lie_in_the_unit_interval_and_keep_their_order(values):
    scaled = _scaled({"a": {str(n): value for n, value in enumerate(values)}})["a"]
    pairs = [(value, scaled[str(n)]) for n, value in enumerate(values) if value is not None]
    assert all(0 <= score <= 1 for _, score in pairs)
    assert [score for _, score in sorted(pairs)] == sorted(score for _, score in pairs)
    assert [score is None for score in scaled.values()] == [value is None for value in values]


def test_rows_without_ids_are_joined_by_line(tmp_path):
    folder = write_training_set(tmp_path, {"Yi": [1, 2, 3]}, ids=False)
    assert import_dataset("lookahead", tmp_path).responses[:, 0].tolist() == ["Yi 0", "Yi 1", "Yi 2"]
    write(folder / "Skywork" / "Yi.jsonl.gz", [{"response": "Yi", "score": 1}])
    with pytest.raises(SchemaError, match="expected 3 rows, one an instruction, got 1"):
        import_dataset("lookahead", tmp_path)


def test_a_folder_of_responses_alone_is_passed_over(data):
    write(data / "train/UltraFeedback/responses/Yi.jsonl", [{"prompt_id": "p0", "response": "no score"}])
    assert import_dataset("lookahead", data).filter(source="UltraFeedback").responses[0, 0] != "no score"
    write_training_set(data, {"Yi": [1, 2, 3]}, results="Another")
    with pytest.raises(DataError, match=r"UltraFeedback: expected one folder.*found Another, Skywork"):
        import_dataset("lookahead", data)


def test_without_a_choice_candidates_are_those_of_every_set(data):
    shutil.copy(data / "test/GSM8k/Yi.json.gz", data / "test/GSM8k/gemma.json.gz")
    assert import_dataset("lookahead", data).pool.names == ("Phi-3.5", "Yi")
    chosen = import_dataset("lookahead", data, models=["gemma", "Yi"])
    assert chosen.pool.names == ("gemma", "Yi")
    assert np.isnan(chosen.filter(source="MT-Bench").scores[:, 0]).all()
    with pytest.raises(UnknownCandidateError, match="'Yo'"):
        import_dataset("lookahead", data, models=["Yo"])


@pytest.mark.parametrize(
    ("file", "value", "message"),
    [
        ("train/UltraFeedback/Skywork/Yi.jsonl.gz", [{"prompt_id": "px", "score": 1}], "none of instructions.jsonl"),
        ("train/UltraFeedback/Skywork/Yi.jsonl.gz", [{"prompt_id": "p0", "score": 1}] * 2, "stands twice"),
        ("train/UltraFeedback/Skywork/Yi.jsonl.gz", [{"prompt_id": "p0", "score": "x"}], "expected a number"),
        ("train/UltraFeedback/Skywork/Yi.jsonl.gz", [{"prompt_id": "p0", "score": 1}], "'response': the field is miss"),
        ("train/UltraFeedback/instructions.jsonl.gz", [{"prompt_id": "p0", "prompt": "x"}] * 2, "stands twice"),
        ("train/UltraFeedback/eval_ids.json.gz", {}, "expected a list"),
        ("test/GSM8k/Yi.json.gz", {"details": {"0": {"prompt": []}}}, "'prompt.0.prompt': the field is missing"),
        ("test/HumanEval/results/Yi.json", {}, "'details': the field is missing"),
        (
            "test/ArenaHard/model_judgment/Yi.jsonl",
            [{"question_id": "q0", "games": [{"score": "C"}] * 2}],
            "one of A>>B",
        ),
        ("test/AlpacaEval/instructions.jsonl", [{"instruction": "Q0"}], "1 of 2 annotations"),
    ],
)
def test_a_malformed_file_is_named(data, file, value, message):
    write(data / file, value)
    with pytest.raises(SchemaError, match=message):
        import_dataset("lookahead", data, models=MODELS)


def test_models_with_other_prompts_do_not_belong_together(data):
    details = {"0": {"prompt": [{"prompt": "Secret"}], "origin_prediction": "4", "correct": True}}
    write(data / "test/GSM8k/Yi.json.gz", {"details": details})
    with pytest.raises(SchemaError, match="different prompts under '0' of GSM8k") as caught:
        import_dataset("lookahead", data)
    assert "Secret" not in str(caught.value)


def test_a_rating_without_the_marks_of_the_judge_is_refused(data):
    record = {"question_id": 81, "turn": 1, "score": 5, "user_prompt": "Secret"}
    path = data / "test/MT-Bench/judgments/gpt-4-0125-preview_judge_Yi_single.jsonl.gz"
    write(path, [record, {**record, "turn": 2}])
    with pytest.raises(SchemaError, match="the marks around the assistant's answer") as caught:
        import_dataset("lookahead", data)
    assert "Secret" not in str(caught.value)


def test_a_missing_file_is_named(data):
    (data / "test/ArenaHard/model_answer/Yi.jsonl").unlink()
    with pytest.raises(SchemaError, match="no such file") as caught:
        import_dataset("lookahead", data)
    assert caught.value.path.endswith("model_answer/Yi.jsonl")


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected the folders train or test"):
        import_dataset("lookahead", tmp_path)
    (tmp_path / "test" / "MMLU").mkdir(parents=True)
    with pytest.raises(DataError, match="expected one of AlpacaEval, ArenaHard"):
        import_dataset("lookahead", tmp_path)
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "train" / "UltraFeedback").mkdir(parents=True)
    with pytest.raises(DataError, match=r"expected one folder with MODEL\.jsonl that has scores, found none"):
        import_dataset("lookahead", tmp_path)
