"""What a command loads before it answers: modules counted, since seconds depend on the machine."""

import re
import subprocess
import sys
from collections import Counter

import pytest

COUNT = """
import gc, sys
sys.argv = ["lookahead-router", *{arguments}]
from lookahead_router.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(*sorted(sys.modules), f"searches={{sum(each['collections'] for each in gc.get_stats())}}", file=sys.stderr)
"""


def loaded(*arguments: str) -> set[str]:
    code = COUNT.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def of(modules: set[str], package: str) -> list[str]:
    return [name for name in modules if name.partition(".")[0] == package]


@pytest.fixture(scope="module")
def route() -> set[str]:
    return loaded("route", "--candidates", "gpt-4o-mini,gpt-4o", "hi")


@pytest.fixture(scope="module")
def route_as_json() -> set[str]:
    return loaded("route", "--candidates", "gpt-4o-mini,gpt-4o", "--json", "hi")


BUDGET = {"lookahead_router": 50, "rich": 47, "numpy": 90, "onnxruntime": 12, "typer": 27}
"""Modules of a package; each costs between a tenth of a millisecond and some."""


def test_a_decision_loads_few_modules(route):
    counts = Counter(name.partition(".")[0] for name in route)
    assert {name: counts[name] for name in BUDGET if counts[name] > BUDGET[name]} == {}
    assert len(route) < 400


def test_a_decision_as_json_loads_nothing_that_draws(route_as_json):
    assert of(route_as_json, "rich") == []
    assert len(route_as_json) < 350


@pytest.mark.parametrize(
    "name",
    [
        "pydantic", "email", "torch", "huggingface_hub", "pyarrow", "asyncio", "logging", "concurrent.futures",
        "rich.progress", "rich.markdown", "lookahead_router.failures", "lookahead_router.saved.card",
        "lookahead_router.saved.push", "lookahead_router.predictors.lookahead",
        "lookahead_router.predictors.fitted.base", "lookahead_router.data", "lookahead_router.evaluation",
        "lookahead_router.cli.evaluate", "lookahead_router.cli.serve", "lookahead_router.live",
    ],
)  # fmt: skip
def test_a_decision_does_not_load(route, name):
    assert name not in route


def test_a_start_hardly_looks_for_garbage(route):
    (searches,) = [int(name.partition("=")[2]) for name in route if name.startswith("searches=")]
    assert searches < 45  # 130 otherwise, most of them through all that was imported


def test_the_version_loads_no_command():
    modules = loaded("--version")
    assert {name for name in modules if name.startswith("lookahead_router.")} <= {
        "lookahead_router.cli", "lookahead_router.cli.app", "lookahead_router.cli.main", "lookahead_router.errors",
        "lookahead_router.escaping",
    }  # fmt: skip


def test_the_help_of_a_command_loads_no_other_command_and_nothing_that_routes():
    modules = loaded("info", "--help")
    for package in ("numpy", "onnxruntime", "tokenizers"):
        assert of(modules, package) == []
    assert {"lookahead_router.cli.info"} == {
        name for name in modules if re.fullmatch(r"lookahead_router.cli.[a-z]+", name)
    } - {"lookahead_router.cli.app", "lookahead_router.cli.main"}
