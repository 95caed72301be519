import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
TRAINING = FOLDER / "train_a_predictor.py"
OTHERS = sorted(set(FOLDER.glob("*.py")) - {TRAINING})


def run(path, folder, *arguments):
    command = [sys.executable, path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_the_example_runs(path, tmp_path):
    assert run(path, tmp_path)


def test_the_training_example_ends_in_a_report_in_which_its_router_is_ahead(tmp_path):
    assert run(TRAINING, tmp_path, "--prompts", "480", "--epochs", "3", "--output", "example")
    report = json.loads((tmp_path / "example" / "report" / "report.json").read_text())
    average = {found["predictor"]: found["average"]["value"] for found in report["datasets"][0]["predictors"]}
    assert average["lookahead"] > max(95, average["rule"])
    assert (tmp_path / "example" / "report" / "report.html").is_file()
