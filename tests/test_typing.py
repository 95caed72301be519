"""Types are a promise that `py.typed` makes: a strict application checks, and no public name is of unknown type."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lookahead_router

HERE = Path(__file__).parent
APP = HERE / "downstream"
HOMES = tuple(f"lookahead_router.{home}.{name}" for name, home in lookahead_router._HOMES.items())


def checked(*arguments, folder):
    """What the type checker finds, as it tells programs."""
    pytest.importorskip("basedpyright")
    command = [sys.executable, "-m", "basedpyright", *map(str, arguments), "--outputjson"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


def test_an_application_of_core_and_adapters_checks_strictly_and_its_wrong_uses_are_found():
    found = checked("-p", APP, "--pythonpath", sys.executable, folder=APP)
    assert found["summary"]["filesAnalyzed"] == len(list(APP.glob("app/*.py")))
    assert [
        f"{Path(each['file']).name}:{each['range']['start']['line'] + 1} {each['message']}"
        for each in found["generalDiagnostics"]
        if each["severity"] == "error"
    ] == []


def is_public(name: str) -> bool:
    if "._" in name:
        return False
    return name.startswith("lookahead_router.errors.") or any(
        name == home or name.startswith(f"{home}.") for home in HOMES
    )


@pytest.mark.slow
def test_every_public_name_of_the_core_has_a_known_type():
    found = checked("--ignoreexternal", "--verifytypes", "lookahead_router", folder=HERE.parent)
    symbols = [each for each in found["typeCompleteness"]["symbols"] if is_public(each["name"])]
    assert len(symbols) > 200
    assert [each["name"] for each in symbols if not each["isTypeKnown"] or each["isTypeAmbiguous"]] == []


@pytest.mark.slow
def test_mypy_agrees(tmp_path):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "app"]
    done = subprocess.run(command, cwd=APP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
