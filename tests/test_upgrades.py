"""Files that earlier versions wrote, and this one's own: they load, and what is read from them is what it was."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from upgrades_reading import predicted, read_files

import lookahead_router
from lookahead_router.predictors.fitted import FITTED
from lookahead_router.saved.find import OPEN_EMBEDDED

HERE = Path(__file__).parent
VERSIONS = sorted(path.parent for path in (HERE / "data" / "upgrades").glob("*/expected.json"))
PREDICTORS = [(path.name, kind.name) for path in VERSIONS for kind in sorted((path / "predictors").iterdir())]
OF = {path.name: (path, json.loads((path / "expected.json").read_text())) for path in VERSIONS}


def test_files_of_this_version_are_kept_and_all_are_small():
    assert lookahead_router.__version__ in OF
    for path in VERSIONS:
        told = [each for each in path.rglob("*.*") if each.suffix in (".json", ".jsonl", ".yaml")]
        assert len(told) > 20
        assert not [each for each in told if re.search(r'"/(?!v1/)', each.read_text())], (
            "names a place of the machine that wrote it"
        )
        assert sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) < 500_000


def test_every_kind_of_predictor_is_kept_and_both_logs():
    folder, _ = OF[lookahead_router.__version__]
    kept = {path.name for path in (folder / "predictors").iterdir()}
    assert {*FITTED, "lookahead-mlm", "lookahead-clm", "open-pool"} <= kept, "python tests/data/upgrades/make.py --add"
    assert {path.suffix for path in folder.glob("decisions.*")} == {".jsonl", ".sqlite"}


@pytest.mark.parametrize(("version", "name"), PREDICTORS)
def test_a_saved_predictor_predicts_what_it_did(version, name):
    folder, expected = OF[version]
    found, then = predicted(folder / "predictors" / name), expected["predictions"][name]
    assert found.keys() == then.keys()
    for what in ("pool", "policy"):
        assert found.pop(what, None) == then.pop(what, None)
    for array, values in found.items():
        assert (values is None) == (then[array] is None), array
        if values is not None:
            # Processors sum small integers differently.
            np.testing.assert_allclose(values, then[array], rtol=1e-2, atol=2e-3, err_msg=array)


@pytest.mark.parametrize("version", OF)
def test_other_files_say_what_they_did(version):
    folder, expected = OF[version]
    found = json.loads(json.dumps(read_files(folder)))  # tuples become lists
    for what, then in expected["files"].items():
        if isinstance(then, dict):  # settings that are new have defaults
            assert found[what].keys() >= then.keys(), what
            assert holds(found[what], then), what
        else:
            assert found[what] == then, what


def test_what_files_say_does_not_depend_on_the_seed_of_hashes():
    """The order of a set of strings does, and a set that is written as it stands differs from process to process."""
    folder, _ = OF[lookahead_router.__version__]
    code = (
        "import json, pathlib, sys, upgrades_reading as it; print(json.dumps(it.read_files(pathlib.Path(sys.argv[1]))))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "1234"
    }
    assert len(said) == 1


def holds(settings, then) -> bool:
    if isinstance(then, dict):
        return all(name in settings and holds(settings[name], value) for name, value in then.items())
    if isinstance(then, list):
        return len(settings) == len(then) and all(map(holds, settings, then))
    return settings == then


def test_what_is_kept_has_all_that_the_embedded_predictor_for_any_pool_has():
    folder, _ = OF[lookahead_router.__version__]
    kept, embedded = folder / "predictors" / "open-pool-ordinary", OPEN_EMBEDDED
    for name in ("catalogue.json", "config.json"):
        ours, theirs = (facts(json.loads((where / name).read_text())) for where in (kept, embedded))
        assert theirs - ours - OF_WEIGHTS == set(), "python tests/data/upgrades/make.py --add"
    ours, theirs = (set(np.load(where / "profiles.npz").files) for where in (kept, embedded))
    assert theirs <= ours


OF_WEIGHTS = {"files", "backbone_config", "sources"}
"""Whose parts depend on the weights, and on what they were trained on."""


def facts(record, place="") -> set[str]:
    """Names of all that a record holds, wherever it stands; of a list, of all its parts."""
    if isinstance(record, list):
        return set().union(*(facts(part, place) for part in record)) if record else set()
    if not isinstance(record, dict) or place in OF_WEIGHTS:
        return {place}
    return set().union(*(facts(value, name) | {name} for name, value in record.items()))
