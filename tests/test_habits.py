"""Files that other programs read: workflows, forms, hooks, the citation. Each follows its schema and fits the rest."""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml

import lookahead_router

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-issue-forms": [path for path in sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "dependabot": [GITHUB / "dependabot.yml"],
    "citation-file-format": [ROOT / "CITATION.cff"],
    "compose-spec": [ROOT / "examples" / "apps" / "compose" / "compose.yaml"],
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def jobs():
    return [
        (path.stem, name, job) for path in WORKFLOWS for name, job in yaml.safe_load(path.read_text())["jobs"].items()
    ]


def steps():
    return [(name, step) for _, name, job in jobs() for step in job["steps"]]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_other_programs_read_follows_its_schema(schema):
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *SCHEMAS[schema]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actions_are_pinned_by_the_hash_of_a_version_that_stands_beside_it():
    uses = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    assert len(uses) > 10
    pinned = r"\s*-? uses: [\w-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+"
    assert [each for each in uses if not re.fullmatch(pinned, each)] == []
    versions = {tuple(re.split(r"[@ ]+", line.split("uses: ")[1])) for line in uses}
    assert len({name for name, *_ in versions}) == len(versions)  # one version of each


def test_workflows_may_read_and_only_the_jobs_that_must_may_write():
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    writing = {(workflow, name): job["permissions"] for workflow, name, job in jobs() if "permissions" in job}
    assert writing == {("docs", "publish"): {"contents": "write"}, ("release", "publish"): {"id-token": "write"}}
    assert all("timeout-minutes" in job for _, _, job in jobs())


def test_workflows_run_targets_that_there_are():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    asked = {
        word
        for _, step in steps()
        for line in re.findall(r"\bmake ([^\n]+)", step.get("run", ""))
        for word in line.split()
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert asked >= {"lint", "types", "test", "test-lowest", "docs", "release", "audit", "coverage"}
    assert asked - targets == set()


def test_every_python_that_is_promised_is_tested():
    promised = {
        found.group(1)
        for each in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each))
    }
    tested = [
        set(job["strategy"]["matrix"]["python"])
        for workflow, _, job in jobs()
        if workflow == "test" and "strategy" in job
    ]
    assert tested == [promised, promised]
    for folder in sorted((ROOT / "integrations").glob("*/pyproject.toml")):
        adapter = tomllib.loads(folder.read_text())["project"]["classifiers"]
        assert {each.rsplit(" ", 1)[1] for each in adapter if ":: Python :: 3." in each} == promised


def test_hooks_call_tools_that_the_development_environment_holds():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    held = {re.split(r"[>\[]", each)[0] for each in PROJECT["dependency-groups"]["dev"] if isinstance(each, str)}
    of_hooks = {"check-added-large-files", "check-merge-conflict", "check-yaml"}
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert {"pre-commit-hooks" if tool in of_hooks else tool for tool in tools} - held == set()
    assert of_hooks <= tools


def test_the_citation_is_of_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == lookahead_router.__version__


def test_a_run_of_tests_leaves_nothing_in_the_folder_for_temporary_files(tmp_path_factory):
    assert Path(tempfile.gettempdir()).is_relative_to(tmp_path_factory.getbasetemp())
    for path in [ROOT / "pyproject.toml", *ROOT.glob("integrations/*/pyproject.toml")]:
        settings = tomllib.loads(path.read_text())["tool"]["pytest"]["ini_options"]
        assert settings["tmp_path_retention_policy"] == "failed"
        assert settings["tmp_path_retention_count"] == 1
