import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import toy_dataset

from lookahead_router.cli._comparison import choose_rows, parse_entries
from lookahead_router.cli._options import parse_policy, policy_words
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.evaluate import evaluate
from lookahead_router.policies import BestQuality, CostAware, Threshold, WithinMargin
from lookahead_router.predictors.fitted.rule import Rule
from lookahead_router.router import Router


@pytest.fixture
def data(tmp_path):
    """The toy world in a file."""
    toy_dataset(200).to_parquet(tmp_path / "toy.parquet")
    return tmp_path / "toy.parquet"


def test_names_become_entries_in_order(tmp_path):
    (tmp_path / "run").mkdir()
    place = str(tmp_path / "run")
    assert parse_entries("lookahead, knn,random") == [
        Entry("lookahead", locations=(None,)),
        Entry("knn", baseline="knn"),
        Entry("random", baseline="random"),
    ]
    assert parse_entries(f"{place},org/name,mine={place},mine=org/other") == [
        Entry(place, locations=(place,)),
        Entry("org/name", locations=("org/name",)),
        Entry("mine", locations=(place, "org/other")),
    ]
    assert parse_entries("lookahead,lookahead=org/a") == [Entry("lookahead", locations=(None, "org/a"))]


@pytest.mark.parametrize("names", ["", "knn,", "nearest", "knn=org/name", "=org/name", "mine=", "no/such/folder"])
def test_a_name_that_is_nothing_says_what_there_is(names):
    with pytest.raises(ConfigurationError, match=r"--predictors: .* best-single, rule, knn"):
        parse_entries(names)


def test_policies_by_name():
    assert parse_policy("best-quality") == BestQuality()
    assert parse_policy("cost-aware:20") == CostAware(20.0)
    assert parse_policy("within-margin:0.02") == WithinMargin(0.02)
    assert parse_policy("threshold:0.7") == Threshold(0.7)
    for policy in (BestQuality(), WithinMargin(0.02), CostAware(1234.5), Threshold(0.8125)):
        assert parse_policy(policy_words(policy)) == policy


@pytest.mark.parametrize(
    "text", ["", "best", "threshold", "threshold:x", "cost-aware:", "within-margin:-1", "best-quality:1", "threshold:2"]
)
def test_a_policy_that_is_none_says_how(text):
    with pytest.raises(ConfigurationError):
        parse_policy(text)


def test_rows_of_a_split_and_of_sources():
    dataset = toy_dataset(40)
    assert len(choose_rows(dataset, "all", None)) == 40
    assert set(choose_rows(dataset, "test", ["poems"]).sources) == {"poems"}
    both = choose_rows(dataset, "test", ["poems", "numbers"])
    assert len(both) == len(dataset.filter(split="test"))
    with pytest.raises(DataError, match="no row has source 'x'"):
        choose_rows(dataset, "test", ["x"])


def test_predictors_are_compared_and_reported(cli, data, tmp_path):
    report = tmp_path / "out"
    arguments = ("evaluate", data, "--predictors", "rule,best-single,random", "--resamples", 20, "--report", report)
    code, out, err = cli(*arguments)
    assert code == 0, err
    for word in ("rule", "best-single", "random", "oracle", "toy"):
        assert word in out
    assert {path.name for path in report.iterdir()} >= {"report.md", "report.json", "report.html", "cache"}
    record = json.loads((report / "report.json").read_text())
    again = json.loads(cli(*arguments[:-2], "--cache", report / "cache", "--json")[1])
    assert again["datasets"] == record["datasets"]


def test_a_comparison_without_a_report_leaves_nothing_behind(cli, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert cli("evaluate", data, "--predictors", "best-single", "--resamples", 10)[0] == 0
    assert set(tmp_path.rglob("*")) == before


def test_several_datasets_are_one_report(cli, data, tmp_path):
    toy_dataset(100, seed=5).to_jsonl(tmp_path / "other.jsonl")
    code, out, _ = cli(
        "evaluate", data, tmp_path / "other.jsonl", "--predictors", "best-single", "--json", "--resamples", 10
    )
    assert code == 0
    assert [one["dataset"] for one in json.loads(out)["datasets"]] == ["toy", "other"]


def test_files_of_one_name_keep_their_paths(cli, data, tmp_path):
    (tmp_path / "b").mkdir()
    toy_dataset(100, seed=5).to_parquet(tmp_path / "b" / "toy.parquet")
    _, out, _ = cli("evaluate", data, tmp_path / "b/toy.parquet", "--predictors", "random", "--json", "--resamples", 10)
    names = [one["dataset"] for one in json.loads(out)["datasets"]]
    assert names == [str(data), str(tmp_path / "b" / "toy.parquet")]


def test_baselines_learn_from_another_file(cli, data, tmp_path):
    dataset = toy_dataset(200)
    dataset.filter(split="test").to_parquet(tmp_path / "test.parquet")
    dataset.filter(split="train").to_parquet(tmp_path / "train.parquet")
    options = ("--predictors", "rule", "--json", "--resamples", 10)
    alone = json.loads(cli("evaluate", tmp_path / "test.parquet", *options)[1])["datasets"][0]
    assert "no training split" in alone["predictors"][0]["error"]
    fitted = json.loads(
        cli("evaluate", tmp_path / "test.parquet", "--fit-data", tmp_path / "train.parquet", *options)[1]
    )
    whole = json.loads(cli("evaluate", data, *options)[1])
    assert fitted["datasets"][0]["predictors"][0]["average"] == whole["datasets"][0]["predictors"][0]["average"]


def test_nothing_is_learnt_from_the_rows_that_are_evaluated(cli, data, tmp_path):
    options = ("--predictors", "rule", "--json", "--resamples", 10)
    whole = json.loads(cli("evaluate", data, "--split", "all", *options)[1])["datasets"][0]
    assert "no training split" in whole["predictors"][0]["error"]
    code, _, err = cli("evaluate", data, "--split", "train", "--fit-data", data, *options)
    assert code == 4
    assert "--fit-data" in err
    same = json.loads(cli("evaluate", data, "--split", "validation", "--fit-data", data, *options)[1])["datasets"][0]
    assert same["predictors"][0]["calibration"] is None
    dataset = toy_dataset(200)
    dataset.select(dataset.splits != "train").to_parquet(tmp_path / "rest.parquet")
    assert cli("evaluate", data, "--fit-data", tmp_path / "rest.parquet", *options)[0] == 4


def test_a_folder_beside_a_baseline_of_its_name_is_another_predictor(cli, data, tmp_path, monkeypatch):
    Rule().fit(toy_dataset(200).filter(split="train")).save(tmp_path / "rule")
    monkeypatch.chdir(tmp_path)
    _, out, _ = cli("evaluate", data, "--predictors", "rule,./rule", "--json", "--resamples", 10)
    assert [one["predictor"] for one in json.loads(out)["datasets"][0]["predictors"]] == ["rule", "./rule"]


def test_one_router_is_compared_under_its_own_name(cli, data, tmp_path):
    place = tmp_path / "a,b"
    Rule().fit(toy_dataset(200).filter(split="train")).save(place)
    code, out, _ = cli("evaluate", data, data, "--router", place, "--json", "--resamples", 10)
    assert code == 0
    assert json.loads(out)["datasets"][0]["predictors"][0]["predictor"] == str(place)


def test_sources_can_be_chosen(cli, data):
    _, out, _ = cli("evaluate", data, "--predictors", "random", "--source", "poems", "--json", "--resamples", 10)
    once = json.loads(out)["datasets"][0]["n_prompts"]
    assert list(once) == ["poems"]
    again = ("--source", "poems", "--source", "poems", "--json", "--resamples", 10)
    assert json.loads(cli("evaluate", data, "--predictors", "random", *again)[1])["datasets"][0]["n_prompts"] == once


def test_a_leak_is_told(cli, tmp_path):
    dataset = toy_dataset(100)
    leaked = dataset.concatenate([dataset.filter(split="train"), dataset.filter(split="test")])
    leaked = replace(leaked, splits=leaked.splits.copy())
    twice = leaked.concatenate([leaked, replace(leaked.filter(split="test"), splits=_named("train", leaked))])
    twice.to_parquet(tmp_path / "leaked.parquet")
    _, out, _ = cli("evaluate", tmp_path / "leaked.parquet", "--predictors", "random", "--resamples", 10)
    assert "train" in out
    record = json.loads(
        cli("evaluate", tmp_path / "leaked.parquet", "--predictors", "random", "--json", "--resamples", 10)[1]
    )
    assert record["datasets"][0]["leakage"]["n_exact"] == len(dataset.filter(split="test"))
    options = ("--no-leakage-check", "--json", "--resamples", 10)
    off = json.loads(cli("evaluate", tmp_path / "leaked.parquet", "--predictors", "random", *options)[1])
    assert off["datasets"][0]["leakage"] is None


def _named(split, dataset):
    return np.full(len(dataset.filter(split="test")), split)


def test_a_saved_baseline_is_evaluated_and_routed_like_any_predictor(cli, data, tmp_path):
    Rule().fit(toy_dataset(200).filter(split="train")).save(tmp_path / "mine")
    code, out, _ = cli("evaluate", data, "--predictors", f"{tmp_path / 'mine'},rule", "--json", "--resamples", 10)
    assert code == 0
    ours, fitted = json.loads(out)["datasets"][0]["predictors"]
    assert ours["predictor"] == str(tmp_path / "mine")
    assert ours["average"] == fitted["average"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictors", "nearest"], "--predictors"),
        (["--predictors", "random", "--save"], "--save"),
        (["--predictors", "random", "--policy", "threshold"], "--policy"),
        (["--predictors", "random", "--revision", "v1"], "--revision"),
    ],
)
def test_options_that_contradict_are_named(cli, data, arguments, message):
    code, _, err = cli("evaluate", data, *arguments)
    assert code == 2
    assert message in err


def test_an_empty_split_is_an_error_of_the_data(cli, data):
    code, _, err = cli("evaluate", data, "--predictors", "random", "--split", "dev")
    assert code == 4
    assert "'test'" in err


def test_a_router_beside_predictors_is_the_reference(cli, data, tmp_path):
    Rule().fit(toy_dataset(200).filter(split="train")).save(tmp_path / "mine")
    options = ("--router", tmp_path / "mine", "--predictors", "rule,random", "--json", "--resamples", 10)
    (found,) = json.loads(cli("evaluate", data, *options)[1])["datasets"]
    assert [one["predictor"] for one in found["predictors"]] == [str(tmp_path / "mine"), "rule", "random"]
    assert found["predictors"][1]["minus_reference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_predictor_has_one_interval_whoever_asks(cli, data, tmp_path):
    Rule().fit(toy_dataset(200).filter(split="train")).save(tmp_path / "mine")
    place = str(tmp_path / "mine")
    asked = (["--router", place], ["--predictors", f"random,it={place}"], ["--predictors", f"{place},rule"])
    found = [json.loads(cli("evaluate", data, *each, "--json", "--resamples", 20)[1])["datasets"][0] for each in asked]
    averages = [one["predictors"][at]["average"] for one, at in zip(found, (0, 1, 0), strict=True)]
    assert averages[0] == averages[1] == averages[2]
    router, rows = Router.from_pretrained(place), toy_dataset(200)
    report = evaluate(router, rows.filter(split="test"), train=rows.filter(split="train"), n_resamples=20)
    assert report.to_dict()["average"]["normalized"] == averages[0]


def test_without_a_train_split_a_router_decides_alike_through_every_door(cli, tmp_path):
    """Costs that differ by split, and no train split: the doors used to price by other rows."""
    dataset = toy_dataset(200)
    Rule().fit(dataset.filter(split="train")).save(tmp_path / "mine")
    late = (dataset.splits == "test")[:, None]
    costs = np.where(late, [10.0, 1.0, 5.0], [1.0, 10.0, 5.0])
    rest = replace(dataset, costs_usd=costs).select(dataset.splits != "train")
    rest.to_parquet(tmp_path / "rest.parquet")
    place, options = str(tmp_path / "mine"), ("--policy", "cost-aware:1e6", "--json", "--resamples", 10)
    doors = (["--router", place], ["--predictors", place], ["--predictors", f"it={place}"])
    shares = [
        json.loads(cli("evaluate", tmp_path / "rest.parquet", *door, *options)[1])["datasets"][0]["predictors"][0][
            "shares"
        ]
        for door in doors
    ]
    assert shares == [{"digits": 1.0, "words": 0.0, "lazy": 0.0}] * 3  # the validation split's prices
    tuned = json.loads(cli("tune", tmp_path / "rest.parquet", "--router", place, "--target-usd", 100, "--json")[1])
    assert tuned["usd_per_call"] == {"digits": 1.0, "words": 10.0, "lazy": 5.0}


def test_when_nothing_could_be_evaluated_the_command_fails(cli, tmp_path):
    toy_dataset(100).filter(split="test").to_parquet(tmp_path / "test.parquet")
    code, out, err = cli("evaluate", tmp_path / "test.parquet", "--predictors", "rule,best-single", "--resamples", 10)
    assert code == 1
    assert "no training split" in out
    assert err.startswith("error: no predictor could be evaluated")
    code, out, err = cli("evaluate", tmp_path / "test.parquet", "--predictors", "rule", "--json", "--resamples", 10)
    assert code == 1
    assert json.loads(out)["datasets"][0]["predictors"][0]["average"] is None
    code, out, err = cli("evaluate", tmp_path / "test.parquet", "--router", tmp_path / "nowhere")
    assert (code, out) == (5, "")  # the error of the only one
    assert "no such folder" in err


def test_long_work_tells_how_far_it_is_where_no_bar_can_be_drawn(cli, data, monkeypatch):
    monkeypatch.setattr("lookahead_router.cli._output.SILENCE_SECONDS", 0.0)
    _, _, err = cli("evaluate", data, "--predictors", "rule,random", "--resamples", 10)
    assert "toy: rule, predicting (17% of all)" in err
    assert "toy: random" in err


def test_an_engine_that_is_none_says_which_there_are(cli, data):
    code, _, err = cli("evaluate", data, "--engine", "spark")
    assert code == 2
    assert "--engine: expected local or ray, got 'spark'" in err
