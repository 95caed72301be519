"""`fit` on the command line."""

import json

import numpy as np
import pytest
from conftest import toy_recipe
from predictors.open_folder import write_open_folder

from lookahead_router import Router, RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_open_folder(tmp_path_factory.mktemp("open") / "open-toy")


def rows(n: int = 60) -> list[dict]:
    """As `judge` writes them: `small` is right on every other prompt, and a tenth of the price."""
    return [
        {
            "prompt_id": f"{row:016x}",
            "prompt": f"{('one', 'two')[row % 2]} " * 4 + f"{row} {row * row}",
            "candidate": name,
            "response": "an answer",
            "cost_usd": usd,
            "output_tokens": 10,
            "score": float(name == "strong" or row % 2 == 0),
            "kind": "correct",
            "judge": "exact",
        }
        for row in range(n)
        for name, usd in (("strong", 0.01), ("small", 0.001))
    ]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_from_what_judge_wrote_to_a_router_a_report_and_the_next_command(cli, folder, tmp_path):
    scored = write(tmp_path / "scored.jsonl", rows())
    out = tmp_path / "my router"
    code, text, err = cli("fit", scored, "--output", out, "--router", folder)
    assert (code, err) == (0, "")
    for words in ("best single", "saved in %", "Routing would have saved", "60 prompts", "report.html"):
        assert words in text
    following = text.splitlines()[-1]
    assert following.startswith(f"Next: lookahead-router route --router '{out}' --quality 0.")
    assert "to be expected" in text
    assert "counts prompt by prompt" in " ".join(text.split())  # fit's --quality is of the mean, and another number
    assert (tmp_path / "my router-report" / "report.html").is_file()
    assert Router.from_pretrained(out).pool.names == ("strong", "small")
    code, text, err = cli("route", "--router", out, "--quality", "0.8", "one one one one 9")
    assert (code, err) == (0, "")


def test_answers_without_a_score_are_left_out_and_several_files_are_taken_together(cli, folder, tmp_path):
    records = rows()
    records[0] |= {"score": None, "response": None, "error": "content filter"}
    first, second = (write(tmp_path / f"{n}.jsonl", part) for n, part in enumerate((records[:50], records[50:])))
    code, text, _ = cli("fit", first, second, "--output", tmp_path / "mine", "--router", folder, "--json")
    record = json.loads(text)
    assert (code, record["n_prompts"], record["n_compared"]) == (0, 60, 59)


def test_candidates_of_the_pool_file_without_answers_are_left_out_and_named(cli, folder, tmp_path):
    pool = [{"name": name, "input_price": 1, "output_price": 1} for name in ("strong", "absent", "small")]
    (tmp_path / "pool.json").write_text(json.dumps({"candidates": pool}))
    given = ("fit", write(tmp_path / "s.jsonl", rows()), "--router", folder, "--output", tmp_path / "mine")
    code, _, err = cli(*given, "--pool", tmp_path / "pool.json")
    assert code == 0
    assert "no answer of absent is scored; left out" in err
    assert Router.from_pretrained(tmp_path / "mine").pool.names == ("strong", "small")
    (tmp_path / "pool.json").write_text(json.dumps({"candidates": pool[1:2]}))
    code, _, err = cli(*given, "--pool", tmp_path / "pool.json")
    assert (code, "no candidate of" in err) == (2, True)


def test_few_prompts_are_said_to_be_few(cli, folder, tmp_path):
    scored = write(tmp_path / "scored.jsonl", rows(30))
    code, text, _ = cli("fit", scored, "--output", tmp_path / "mine", "--router", folder)
    assert code == 0
    assert "30 prompts are few: by them a mean score is known to" in " ".join(text.split())


def test_a_routing_dataset_does_as_well_and_the_pool_file_prices_it(cli, folder, tmp_path):
    examples = [
        RoutingExample(a["prompt"], {each["candidate"]: Outcome(score=each["score"]) for each in (a, b)})
        for a, b in zip(rows()[::2], rows()[1::2], strict=True)
    ]
    RoutingDataset.from_examples(examples).to_parquet(tmp_path / "answers.parquet")
    pool = {
        "candidates": [
            {"name": "strong", "input_price": 1, "output_price": 9, "profile": "gpt-4o-2024-08-06"},
            {"name": "small", "input_price": 0, "output_price": 0},
        ]
    }
    (tmp_path / "pool.json").write_text(json.dumps(pool))
    given = ("--pool", tmp_path / "pool.json", "--router", folder, "--output", tmp_path / "mine", "--json")
    code, text, err = cli("fit", tmp_path / "answers.parquet", *given)
    assert code == 0, err
    record = json.loads(text)
    assert record["setting"]["saved"]["value"] > 0.3
    assert record["best_single"] == "strong"


def test_where_routing_does_not_beat_one_candidate_the_command_says_so_and_routes_there(cli, folder, tmp_path):
    records = [{**record, "score": float(record["candidate"] == "strong")} for record in rows()]
    code, text, _ = cli("fit", write(tmp_path / "s.jsonl", records), "--output", tmp_path / "o", "--router", folder)
    assert code == 0
    assert "Routing did not beat strong for every prompt" in text
    assert Router.from_pretrained(tmp_path / "o").route("anything").name == "strong"


@pytest.mark.parametrize(
    ("change", "options", "code", "words"),
    [
        (lambda records: [], (), 4, "s.jsonl"),
        (lambda records: [{**each, "score": None} for each in records], (), 4, "lookahead-router judge"),
        (lambda records: [{**each, "score": 1.0} for each in records], (), 4, "look at the judge"),
        (lambda records: records[:20], (), 4, "10 of 10 prompts"),
        (lambda records: [{**each, "prompt": "one a thousand times"} for each in records], (), 4, "1 of 1 prompts"),
        (lambda records: records[::2], (), 4, "strong alone"),
        (lambda records: records, ("--quality", "0"), 2, "share in (0, 1]"),
        (lambda records: records, ("--candidates", "strong,nobody"), 2, "nobody"),
        (lambda records: records, ("--candidates", "strong", "--pool", "p.json"), 2, "leave out --candidates"),
        (lambda records: records, ("--predictors", "oracle"), 2, "unknown kind"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_anything_is_written(
    cli, folder, tmp_path, change, options, code, words
):
    scored = write(tmp_path / "s.jsonl", change(rows()))
    found, out, err = cli("fit", scored, "--output", tmp_path / "mine", "--router", folder, *options)
    assert (found, out) == (code, "")
    assert words in err
    assert not (tmp_path / "mine").exists()


def test_a_folder_that_holds_something_else_is_refused_before_the_work(cli, folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    code, _, err = cli("fit", "missing.jsonl", "--output", tmp_path / "mine")
    assert (code, "holds more than a saved predictor" in err) == (2, True)


def test_a_network_is_trained_only_where_it_is_asked_for_and_compared_beside(
    cli, folder, tmp_path, dataset, backbone_folder
):
    import yaml

    rows = RoutingDataset.concatenate([dataset])
    rows.costs_usd[:] = np.nan
    rows.to_jsonl(tmp_path / "answers.jsonl")
    recipe = toy_recipe(n_epochs=1).model_dump(mode="json")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(recipe))
    given = ("fit", tmp_path / "answers.jsonl", "--router", folder, "--output", tmp_path / "mine")
    code, out, err = cli(*given, "--train", tmp_path / "toy.yaml", "--backbone", backbone_folder, "--json")
    assert code == 0, err
    record = json.loads(out)
    (result,) = record["network_comparison"]["datasets"]
    assert [one["predictor"] for one in result["predictors"]][:2] == ["lookahead", "profiles"]
    assert all(one["error"] is None for one in result["predictors"])
    assert (tmp_path / "mine-network" / "predictor" / "model.safetensors").is_file()


def test_a_recipe_that_is_none_is_refused_before_the_work(cli, tmp_path):
    code, _, err = cli("fit", "x.jsonl", "--output", tmp_path / "mine", "--train", tmp_path / "no.yaml")
    assert (code, "no.yaml" in err) == (2, True)
