"""No command lets a name act on the terminal: neither one that it shows nor one that it complains about."""

import json
import shutil
import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from lookahead_router.cli.app import COMMANDS
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.saved.find import EMBEDDED, OPEN_EMBEDDED
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.types import CandidatePool

BAD = "\x1b[2J\x9b31m\u202e<script>[bold]\x07"
POOL = tuple(f"{letter}{BAD}" for letter in "abcde")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """The embedded predictor under names that nobody would choose."""
    folder = PredictorFolder(tmp_path_factory.mktemp("saved") / f"p{BAD}".replace("/", ""))
    shutil.copytree(EMBEDDED, folder.path)
    calibration = json.loads(folder.calibration.read_text())
    calibration["curves"] = dict(zip(POOL, calibration["curves"].values(), strict=True))
    folder.calibration.write_text(json.dumps(calibration))
    config = replace(folder.read_config(), name=f"n{BAD}", library_version=f"v{BAD}")
    folder.write(config, CandidatePool(POOL))
    return folder.path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    examples = [
        RoutingExample(
            f"prompt {row} {BAD}",
            {
                name: Outcome(response="x", score=float(rng.random()), cost_usd=0.001 * k)
                for k, name in enumerate(POOL, start=1)
            },
            str(row),
            f"source{BAD}{row % 2}",
            ("train", "validation", "test")[row % 3],
        )
        for row in range(60)
    ]
    path = tmp_path_factory.mktemp("data") / f"d{BAD}.jsonl"
    RoutingDataset.from_examples(examples).to_jsonl(path)
    return path


@pytest.fixture
def table(tmp_path):
    row = {"sample_id": 0, "prompt": "['x']", "eval_name": BAD, POOL[0]: 1, f"{POOL[0]}|total_cost": 1}
    path = tmp_path / f"bench{BAD}.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


def is_inert(text: str) -> bool:
    return {unicodedata.category(character) for character in text if character != "\n"}.isdisjoint({"Cc", "Cf", "Cs"})


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """The embedded predictor for any pool, whose catalogue holds a name that nobody would choose."""
    folder = PredictorFolder(tmp_path_factory.mktemp("saved") / "strange")
    shutil.copytree(OPEN_EMBEDDED, folder.path)
    record = json.loads(folder.catalogue.read_text(encoding="utf-8"))
    record["entries"][0] |= {"name": f"a{BAD}", "family": BAD, "sources": {BAD: 10**6}}
    folder.catalogue.write_text(json.dumps(record), encoding="utf-8")
    folder.write(folder.read_config(), folder.read_pool())
    return folder.path


@pytest.fixture
def shown(predictor, strange, data, table, tmp_path):
    """Arguments with which each command shows names."""
    prompts, pool = tmp_path / "prompts.txt", tmp_path / "pool.json"
    prompts.write_text(BAD)
    few = tmp_path / f"few{BAD}.txt".replace("/", "")
    few.write_text("".join(f"Which river is number {row}? {BAD}\n" for row in range(5)))
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"prompt": BAD, "candidate": POOL[0], "response": BAD, "reference": BAD}))
    pool.write_text(json.dumps({"candidates": [{"name": POOL[0]}]}))
    copy = tmp_path / f"copy{BAD}"
    shutil.copytree(predictor, copy)
    routes, lines = tmp_path / "routes.json", tmp_path / "lines.jsonl"
    clean = "".join(character for character in BAD if character.isprintable())  # a name of a route is
    written = [
        {"name": f"{topic} {clean}", "description": f"{topic} {BAD}", "examples": [topic], "candidates": [f"x{BAD}"]}
        for topic in ("cooking", "code")
    ]
    routes.write_text(json.dumps({"routes": written}))
    lines.write_text(json.dumps({"text": f"cook {BAD}", "route": written[0]["name"]}))
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text(json.dumps({"candidate": POOL[0], "reason": BAD, "time": BAD}) + "\n")
    return {
        "route": [
            ("route", BAD, f"b\n{BAD}", "--router", predictor),
            ("route", "x", "--router", predictor, "--alias", f"{POOL[0]}=new{BAD}"),
            ("route", "x", "--router", predictor, "--json"),
            ("route", f"cook {BAD}", "--routes", routes),
        ],
        "serve": [],  # shows numbers; its log is tested where a server runs
        "evaluate": [
            ("evaluate", data, "--router", predictor, "--resamples", 10),
            ("evaluate", data, "--predictors", f"mine{BAD}={predictor},no{BAD}=org/name", "--resamples", 10),
            ("evaluate", data, "--predictors", f"mine{BAD}={predictor}", "--resamples", 10, "--json"),
        ],
        "cascade": [
            ("cascade", data, "--predictors", f"mine{BAD}={predictor}", "--resamples", 10),
            ("cascade", data, "--predictors", f"mine{BAD}={predictor}", "--resamples", 10, "--json"),
        ],
        "audit": [("audit", "--candidates", f"x{BAD},gpt-4o", "--suite", few)],
        "routes": [
            ("routes", "check", routes, "--data", lines),
            ("routes", "check", routes, "--json"),
        ],
        "tune": [("tune", data, "--router", predictor, "--target-quality", 0.5)],
        "train": [],  # shows the names of files only, as below
        "export": [],
        "import": [("import", "routerbench", table, tmp_path / f"out{BAD}.jsonl")],
        "info": [("info", predictor), ("info", predictor, "--json")],
        "candidates": [("candidates", "--router", strange), ("candidates", "--router", strange, "--json")],
        "collect": [("collect", prompts, "--pool", pool, "--output", tmp_path / f"o{BAD}.jsonl", "--dry-run")],
        "judge": [("judge", answers, "--judge", "exact", "--output", tmp_path / f"s{BAD}.jsonl")],
        "onboard": [("onboard", data, "--output", tmp_path / "learnt")],
        "report": [("report", decisions, data)],
        "sample": [("sample", data, "--n", 5, "--output", tmp_path / f"drawn{BAD}.jsonl".replace("/", ""))],
        "fit": [("fit", data, "--output", tmp_path / f"fit{BAD}".replace("/", ""))],
        "card": [("card", copy)],
        "push": [("push", predictor, "org/name", "--dry-run")],
    }


NAMES = list(COMMANDS)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_shown_do_nothing(cli, shown, name):
    for arguments in shown[name]:
        code, out, err = cli(*arguments, columns=100)
        assert code == 0, err
        assert is_inert(out)
        assert is_inert(err)
        assert "<script>" in out or name == "push"  # which shows names of files


MISTAKES = {
    "route": [("x", "--router", BAD), ("x", "--candidates", f"{BAD}="), ("x", "--alias", BAD), ("x", "--policy", BAD)],
    "serve": [(f"{BAD}.yaml",), ("--new-key", BAD), ("x", "--sticky", BAD), ("x", "--log-level", BAD)],
    "evaluate": [(f"{BAD}.jsonl",), (f"{BAD}.csv",), ("x.jsonl", "--policy", BAD)],
    "cascade": [(f"{BAD}.jsonl",), ("x.jsonl", "--checks", BAD), ("x.jsonl", "--order", BAD)],
    "audit": [("--suite", BAD), ("--fail-if", BAD), ("--candidates", f"{BAD}="), ("--policy", BAD)],
    "routes": [("check", f"{BAD}.yaml"), (BAD, "x.yaml"), ("check", "x.yaml", "--data", f"{BAD}.jsonl")],
    "tune": [(f"{BAD}.jsonl", "--target-usd", 1)],
    "train": [(f"{BAD}.yaml", "--data", "x.jsonl")],
    "export": [(BAD, "--data", f"{BAD}.jsonl")],
    "import": [(BAD, "x", "o.jsonl"), ("routerbench", BAD, "o.jsonl"), ("routerbench", "x", f"o.{BAD}")],
    "info": [(BAD,), ("--revision", BAD)],
    "candidates": [("--router", BAD), ("--revision", BAD)],
    "judge": [
        (f"{BAD}.jsonl", "--output", "x", "--judge", "exact"),
        ("x", "--output", "x", "--judge", BAD),
    ],
    "collect": [
        (f"{BAD}.jsonl", "--output", "x", "--pool", f"{BAD}.yaml"),
        ("x", "--output", "x", "--pool", "x", "--redact", BAD),
        ("x", "--output", "x", "--pool", "x", "--with-context", BAD),
    ],
    "onboard": [(f"{BAD}.jsonl", "--output", "x"), ("x.jsonl", "--output", "x", "--router", BAD)],
    "report": [(f"{BAD}.jsonl", "x.jsonl"), ("x.jsonl", f"{BAD}.jsonl")],
    "sample": [(f"{BAD}.jsonl", "--output", "x"), ("x.jsonl", "--output", "x", "--redact", BAD)],
    "fit": [(f"{BAD}.jsonl", "--output", "x"), ("x.jsonl", "--output", "x", "--predictors", BAD)],
    "card": [(BAD,)],
    "push": [(BAD, "org/name")],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_complained_about_do_nothing(cli, name):
    for arguments in [*MISTAKES[name], ("x", "y", f"--{BAD}"), ("x", BAD, BAD, BAD, BAD, "--router", BAD)]:
        code, out, err = cli(name, *arguments)
        assert code in range(2, 9), err
        assert is_inert(out)
        assert is_inert(err)
        assert err.startswith("error: ")
        assert err.count("\n") == 1
