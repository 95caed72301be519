import dataclasses
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import toy_dataset

from lookahead_router import LookaheadPredictor, RoutingDataset, errors
from lookahead_router.cli.main import EXIT_CODES
from lookahead_router.predictors.fitted import fitted_class


def test_route_shows_every_candidate_and_the_chosen_one(cli, predictor_folder):
    code, out, _ = cli("route", "sum 1 2 3 ?", "--router", predictor_folder)
    assert code == 0
    assert [line for line in out.splitlines() if "chosen" in line and "digits" in line]
    assert all(name in out for name in ("words", "lazy"))


def test_route_json_is_one_object_a_prompt(cli, predictor_folder):
    code, out, _ = cli("route", "sum 1 2 ?", "rhyme river ?", "--router", predictor_folder, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [record["candidate"]["name"] for record in records] == ["digits", "words"]


def test_route_reads_standard_input_and_files_one_prompt_a_line(cli, predictor_folder, tmp_path):
    text = "sum 1 2 ?\n\nrhyme river ?\n"
    (tmp_path / "prompts.txt").write_text(text)
    from_stdin = cli("route", "--router", predictor_folder, "--json", stdin=text)[1].splitlines()
    from_file = cli("route", "-f", tmp_path / "prompts.txt", "--router", predictor_folder, "--json")[1].splitlines()
    names = [[json.loads(line)["candidate"]["name"] for line in lines] for lines in (from_stdin, from_file)]
    assert names == [["digits", "words"], ["digits", "words"]]


def test_route_restricts_and_renames(cli, predictor_folder):
    _, out, _ = cli(
        "route", "sum 1 2 ?", "--router", predictor_folder, "--json", "--alias", "words=w", "--candidates", "w,lazy"
    )
    assert set(json.loads(out)["scores"]) == {"w", "lazy"}


def test_a_prompt_in_brackets_is_not_markup(cli, predictor_folder):
    code, out, _ = cli("route", "[bold] sum 1", "[/x] river", "--router", predictor_folder)
    assert code == 0
    assert "[bold] sum 1" in out


def test_a_long_prompt_warns_in_one_line(cli, predictor_folder):
    code, _, err = cli("route", "river " * 99, "--router", predictor_folder)
    assert code == 0
    assert err.startswith("warning: a prompt is longer than the window")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["route", " "], 3, "the prompt is empty"),
        (["route", "--file", "none.txt"], 2, "cannot read none.txt"),
        (["route", "x", "--file", "none.txt"], 2, "not both"),
        (["route", "x", "--router", "nowhere"], 5, "no such folder"),
        (["route", "x", "--candidates", "gpt"], 2, "unknown candidate 'gpt'"),
        (["route", "x", "--alias", "gpt"], 2, "NAME=NEW"),
        (["route", "x", "--backend", "tpu"], 2, "unknown backend"),
        (["info", "nowhere"], 5, "no such folder"),
        (["evaluate", "none.parquet"], 4, "no such file"),
        (["evaluate", "none.csv"], 4, "expected a .parquet or .jsonl"),
        (["train", "none.yaml", "--data", "none.parquet"], 2, "No such file"),
        (["export", "nowhere", "--data", "none.jsonl"], 4, "no such file"),
        (["import", "hearsay", ".", "o.jsonl"], 2, "unknown format 'hearsay'; there are routerbench, llmrouterbench"),
        (["import", "routerbench", "none.csv", "o.jsonl"], 4, "no such file or folder"),
        (["import", "routerbench", ".", "o.csv"], 2, "OUT to end in .parquet or .jsonl"),
        (["import", "routerbench", ".", "o.jsonl", "--split-fractions", "1,0"], 2, "three fractions"),
        (["import", "routerbench", ".", "o.jsonl", "--split-fractions", "a"], 2, "expected numbers"),
        (["import", "routerbench", ".", "o.jsonl", "--models", "a,a"], 2, "must be unique"),
    ],
)
def test_an_error_is_one_readable_line_with_the_code_of_the_table(
    cli, predictor_folder, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "route" and "--router" not in arguments:
        arguments = [*arguments, "--router", str(predictor_folder)]
    found, _, err = cli(*arguments)
    assert (found, err.count("\n")) == (code, 1)
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(cli):
    with pytest.raises(errors.CheckpointError):
        cli("--debug", "info", "nowhere")


def test_every_error_has_an_exit_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    ours = [kind for kind in kinds if issubclass(kind, errors.LookaheadRouterError)]
    for kind in ours:
        assert any(issubclass(kind, listed) for listed, _ in EXIT_CODES)
    codes = [code for _, code in EXIT_CODES]
    assert len(set(codes)) == len(codes)


def test_info_names_candidates_and_files(cli, predictor_folder):
    code, out, _ = cli("info", predictor_folder)
    assert code == 0
    assert "digits" in out
    assert "onnx/model_int8.onnx" in out
    record = json.loads(cli("info", predictor_folder, "--json")[1])
    assert record["candidates"] == ["digits", "words", "lazy"]
    assert record["network"]["n_slots"] == 4


def test_version_is_the_packages(cli):
    import lookahead_router

    assert cli("--version")[1].strip() == lookahead_router.__version__


def test_evaluate_shows_every_source_and_the_average(cli, predictor_folder, tmp_path):
    toy_dataset().to_parquet(tmp_path / "toy.parquet")
    code, out, _ = cli("evaluate", tmp_path / "toy.parquet", "--router", predictor_folder, "--resamples", 50)
    assert code == 0
    for word in ("numbers", "poems", "average", "oracle", "best single", "Leakage"):
        assert word in out
    (report,) = json.loads(
        cli("evaluate", tmp_path / "toy.parquet", "--router", predictor_folder, "--resamples", 50, "--json")[1]
    )["datasets"]
    assert report["predictors"][0]["average"]["value"] > 90
    assert report["best_single"] in ("digits", "words")


@pytest.fixture
def priced_file(tmp_path):
    """The toy dataset with the cost of every call: `words` is dear, `lazy` next to free."""
    dataset = toy_dataset()
    costs = np.tile([0.001, 0.01, 0.0001], (len(dataset), 1))
    dataclasses.replace(dataset, costs_usd=costs).to_jsonl(tmp_path / "priced.jsonl")
    return tmp_path / "priced.jsonl"


@pytest.mark.parametrize("kind", ["threshold", "cost-aware"])
def test_tune_finds_a_policy_and_shows_what_it_buys(cli, predictor_folder, priced_file, kind):
    arguments = ["tune", priced_file, "--router", predictor_folder, "--policy", kind, "--target-quality", 0.95]
    code, out, _ = cli(*arguments)
    assert code == 0
    for word in ("validation", "test", "best single", "saved", "digits", "policy: "):
        assert word in out
    report = json.loads(cli(*arguments, "--json")[1])
    assert report["policy"] in out
    assert report["policy"].startswith({"threshold": "Threshold(", "cost-aware": "CostAware("}[kind])
    assert report["usd_per_call"] == pytest.approx({"digits": 0.001, "words": 0.01, "lazy": 0.0001})
    assert [result["split"] for result in report["results"]] == ["validation", "test"]
    assert report["results"][0]["score"] >= 0.95 * report["results"][0]["best_single_score"]


def test_calibrate_is_the_former_name_of_tune(cli, predictor_folder, priced_file):
    arguments = [
        priced_file,
        "--router",
        predictor_folder,
        "--policy",
        "cost-aware",
        "--target-quality",
        0.95,
        "--json",
    ]
    code, out, error = cli("calibrate", *arguments)
    assert (code, error) == (0, "note: this command is now called tune; calibrate goes in the next version\n")
    assert out == cli("tune", *arguments)[1]
    assert "calibrate" not in cli("--help")[1]


def test_tune_says_once_that_scores_stand_in_for_probabilities(cli, predictor_folder, priced_file):
    arguments = ["tune", priced_file, "--router", predictor_folder, "--target-usd", 1]
    code, _, error = cli(*arguments)
    assert (code, error.count("\n")) == (0, 1)
    assert error.startswith("warning: the policy reads probabilities")
    assert cli(*arguments, "--policy", "cost-aware")[2] == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give one target"),
        (["--target-usd", 1, "--target-quality", 1], 2, "give one target"),
        (["--target-usd", 1, "--split", "valid"], 4, "no row has split 'valid'"),
        (["--target-usd", 1e-9, "--policy", "cost-aware"], 2, "no setting stays within"),
    ],
)
def test_tune_refuses_what_it_cannot_do(cli, predictor_folder, priced_file, arguments, code, message):
    found, _, error = cli("tune", priced_file, "--router", predictor_folder, *arguments)
    assert found == code
    assert message in error


def test_tune_needs_prices_and_the_predictors_candidates(cli, predictor_folder, tmp_path):
    toy_dataset().to_jsonl(tmp_path / "toy.jsonl")
    code, _, error = cli("tune", tmp_path / "toy.jsonl", "--router", predictor_folder, "--target-usd", 1)
    assert code == 2
    assert "Give cost_usd in the outcomes" in error
    assert cli("tune", tmp_path / "toy.jsonl", "--target-usd", 1)[0] == 4


def write_toy_run(folder):
    """`toy.jsonl` and `toy.yaml`: data and a short recipe."""
    toy_dataset().to_jsonl(folder / "toy.jsonl")
    (folder / "toy.yaml").write_text(
        "name: toy\nbackbone: org/tiny\nnetwork: {n_slots: 2, max_prompt_tokens: 24}\n"
        "optimizer: {n_epochs: 1, batch_size: 16, use_bf16: false, learning_rate: 3.0e-3, n_evaluations: 1}\n"
    )


def test_train_and_export_make_a_router(cli, backbone_folder, tmp_path):
    write_toy_run(tmp_path)
    code, out, err = cli(
        "train", tmp_path / "toy.yaml", "--data", tmp_path / "toy.jsonl", "--backbone", backbone_folder,
        "--output", tmp_path / "run", "--set", "seed=3", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    assert "lookahead-router export" in out
    code, out, err = cli("export", tmp_path / "run" / "predictor", "--data", tmp_path / "toy.jsonl", "--split", "all")
    assert code == 0, err
    assert re.search(r"fp32 scores within \S+ of torch", out)
    assert re.search(r"int8 decides the same on \S+% of 120 prompts", out)
    assert cli("route", "sum 1 ?", "--router", tmp_path / "run" / "predictor")[0] == 0


DEMANDS = {
    "kind": "demands",
    "name": "toy",
    "backbone": "org/tiny",
    "network": {"max_prompt_tokens": 24, "head_size": 8, "n_frozen_layers": 1},
    "optimizer": {"n_steps": 2, "batch_size": 4, "use_bf16": False},
}


def test_train_takes_answers_in_long_form_for_a_recipe_of_kind_demands(cli, backbone_folder, dataset, tmp_path):
    dataset.to_jsonl(tmp_path / "wide.jsonl")
    prompts = [{"prompt_id": "p", "prompt": "rhyme river ?", "split": "train"}]
    answers = [{"prompt_id": "p", "model": "digits", "score": 0.5, "source": "poems"}]
    for name, records in (("prompts", prompts), ("long", answers)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "toy.yaml").write_text(json.dumps(DEMANDS))
    code, out, _ = cli(
        "train", tmp_path / "toy.yaml", "--data", tmp_path / "wide.jsonl", "--data", tmp_path / "long.jsonl",
        "--prompts", tmp_path / "prompts.jsonl", "--backbone", backbone_folder, "--output", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert (code, "saved" in out) == (0, True)
    record = json.loads((tmp_path / "run" / "network" / "training.json").read_text())
    assert record["n_answers"] == 3 * (dataset.splits == "train").sum() + 1
    assert (tmp_path / "run" / "network" / "onnx" / "model_int8.onnx").is_file()


def test_a_recipe_of_another_kind_takes_one_dataset(cli, tmp_path):
    (tmp_path / "toy.yaml").write_text("name: toy\nbackbone: org/tiny\n")
    code, _, err = cli("train", tmp_path / "toy.yaml", "--data", "a.jsonl", "--data", "b.jsonl")
    assert code == 2
    assert "one --data" in err


def test_a_recipe_of_kind_demands_trains_in_several_processes(backbone_folder, tmp_path):
    toy_dataset().to_jsonl(tmp_path / "toy.jsonl")
    (tmp_path / "toy.yaml").write_text(json.dumps(DEMANDS))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m",
        "lookahead_router.cli.main", "train", tmp_path / "toy.yaml", "--data", tmp_path / "toy.jsonl",
        "--backbone", backbone_folder, "--output", tmp_path / "run", "--quiet",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("saved") == 1
    assert json.loads((tmp_path / "run" / "network" / "training.json").read_text())["step"] == 2


@pytest.mark.parametrize(
    "launcher",
    [
        ["torch.distributed.run", "--standalone", "--nproc-per-node=2"],
        ["accelerate.commands.launch", "--cpu", "--num_processes=1", "--num_machines=1", "--mixed_precision=no"],
    ],
    ids=["torchrun", "accelerate launch"],
)
def test_train_runs_under_a_launcher_and_says_so_once(backbone_folder, tmp_path, launcher):
    write_toy_run(tmp_path)
    command = [
        sys.executable, "-m", *launcher, "-m", "lookahead_router.cli.main", "train", tmp_path / "toy.yaml",
        "--data", tmp_path / "toy.jsonl", "--backbone", backbone_folder, "--output", tmp_path / "run", "--quiet",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("saved") == 1
    LookaheadPredictor.load(tmp_path / "run" / "predictor", backend="torch")


def test_the_card_links_to_a_dataset_of_the_hub_that_was_trained_on(cli, backbone_folder, tmp_path, monkeypatch):
    import huggingface_hub

    toy_dataset().to_jsonl(tmp_path / "answers" / "toy.jsonl")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(tmp_path / "answers"))
    (tmp_path / "toy.yaml").write_text(
        "name: toy\nbackbone: org/tiny\nnetwork: {n_slots: 0, max_prompt_tokens: 24}\n"
        "optimizer: {n_epochs: 0.3, batch_size: 16, use_bf16: false, n_evaluations: 1}\ncard: {datasets: [org/more]}\n"
    )
    code, _, err = cli(
        "train", tmp_path / "toy.yaml", "--data", "org/answers", "--backbone", backbone_folder,
        "--output", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    card = (tmp_path / "run" / "predictor" / "README.md").read_text()
    assert "datasets:\n- org/more\n- org/answers\n" in card


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path):
    (tmp_path / "prompts.txt").write_text("hello there\n" * 300)
    command = [sys.executable, "-m", "lookahead_router.cli.main", "route", "--json", "--file", tmp_path / "prompts.txt"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline())["candidate"]
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 1
    process.stderr.close()


def test_a_result_is_kept_in_the_folder_and_in_its_card(cli, dataset, predictor_folder, tmp_path):
    LookaheadPredictor.load(predictor_folder).save(tmp_path / "saved")
    dataset.to_parquet(tmp_path / "toy.parquet")
    code, _, error = cli(
        "evaluate", tmp_path / "toy.parquet", "--router", tmp_path / "saved", "--resamples", 20, "--save"
    )
    assert (code, error) == (0, "")
    assert "`toy/test`" in (tmp_path / "saved" / "README.md").read_text()
    code, out, _ = cli("card", tmp_path / "saved")
    assert code == 0
    assert "README.md" in out
    assert cli("evaluate", tmp_path / "toy.parquet", "--save")[0] == 2


def test_a_saved_baseline_routes_and_is_evaluated_but_has_no_card(cli, dataset, tmp_path):
    folder = tmp_path / "saved"
    fitted_class("best-single")().fit(dataset.filter(split="train")).save(folder)
    code, out, error = cli("route", "sum 1 ?", "--router", folder, "--json")
    assert (code, error) == (0, "")
    assert json.loads(out)["predictor"] == "best-single"
    dataset.to_jsonl(tmp_path / "toy.jsonl")
    command = ("evaluate", tmp_path / "toy.jsonl", "--router", folder, "--resamples", 20, "--json")
    code, out, error = cli(*command)
    assert (code, error) == (0, "")
    assert json.loads(out)
    code, _, error = cli(*command, "--save")
    assert code == 2
    assert "saved Lookahead predictor" in error
    assert not (folder / "evaluation.json").exists()
    assert cli("route", "x", "--router", folder, "--backend", "torch")[0] == 2


def test_push_lists_what_it_would_send(cli, predictor_folder):
    code, out, _ = cli("push", predictor_folder, "org/name", "--dry-run")
    assert code == 0
    assert "model_int8.onnx" in out
    assert "nothing was sent to org/name" in out


def test_a_repository_that_cannot_be_had_has_its_own_exit_code(cli, monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    code, _, error = cli("route", "Hello", "--router", "org/name", "--revision", "v1")
    assert code == 8
    assert error.startswith("error: org/name@v1: HF_HUB_OFFLINE is set")


@pytest.fixture
def table(tmp_path):
    """Ten rows in RouterBench's format, the last without a score of the second candidate."""
    rows = [
        {
            "sample_id": n,
            "prompt": f"['sum {n}']",
            "eval_name": "[gsm]",
            "a": 1,
            "b": 0.5,
            "a|total_cost": 1,
            "b|total_cost": 2,
        }
        for n in range(10)
    ]
    rows[-1]["b"] = None
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "bench.jsonl"


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_import_writes_a_dataset_and_sums_it_up(cli, table, suffix):
    out = table.with_name(f"out.{suffix}")
    code, text, err = cli("import", "routerbench", table, out, "--split-fractions", "0.5,0.25,0.25", "--seed", 3)
    assert (code, err) == (0, "")
    dataset = RoutingDataset.from_file(out)
    assert dataset.pool.names == ("a", "b")
    counts = [str((dataset.splits == split).sum()) for split in ("train", "validation", "test")]
    rows = [re.findall(r"[^\s│]+", line) for line in text.splitlines() if "│" in line]
    assert ["[gsm]", "10", *counts, "1"] in rows
    assert ["all", "10", *counts, "1"] in rows
    assert ["a", "1.000", "0"] in rows
    assert ["b", "0.500", "1"] in rows


def test_import_keeps_the_chosen_candidates(cli, table):
    out = table.with_name("out.jsonl")
    assert cli("import", "routerbench", table, out, "--models", "b, a")[0] == 0
    assert RoutingDataset.from_file(out).pool.names == ("b", "a")
    code, _, err = cli("import", "routerbench", table, out, "--models", "c")
    assert code == 2
    assert "unknown candidate 'c'" in err


def test_import_names_its_formats(cli):
    text = cli("import", "--help")[1]
    assert all(name in text for name in ("routerbench", "llmrouterbench", "alpaca-eval"))
