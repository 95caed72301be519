"""The wheel, installed outside the checkout, routes offline with what it carries."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROUTE = """
import socket, sys
def refuse(*args, **kwargs):
    raise OSError("no network")
socket.socket.connect = refuse
import lookahead_router
from lookahead_router import Router
decision = Router.from_pretrained().route("Prove that the square root of 2 is irrational.")
assert "torch" not in sys.modules
print(lookahead_router.__file__, decision.name, sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_it_is_below_sixty_megabytes_and_carries_the_predictor_without_torch_weights(wheel):
    assert wheel.stat().st_size < 60e6
    names = zipfile.ZipFile(wheel).namelist()
    assert "lookahead_router/server/playground.html" in names
    assert "lookahead_router/evaluation/audit_suite.jsonl" in names
    embedded = "lookahead_router/pretrained/Llama-lookahead-mlm-minilm/"
    carried = {name.removeprefix(embedded) for name in names if name.startswith(embedded)}
    assert carried == {
        "README.md", "config.json", "pool.json", "tokenizer.json", "calibration.json", "onnx/model_int8.onnx",
        "training.json", "evaluation.json", "card.json",
    }  # fmt: skip
    assert "lookahead_router/py.typed" in names
    assert not [name for name in names if name.endswith((".safetensors", ".parquet", ".pkl", ".bin"))]


def test_installed_elsewhere_it_routes_offline(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:  # what an installer does with a pure wheel
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", ROUTE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    location, choice = done.stdout.split("\n")[:2]
    assert Path(location).is_relative_to(tmp_path)
    assert choice
