import importlib
import json
import re
import sys

import pytest

from lookahead_router.errors import MissingDependencyError
from lookahead_router.extras import require


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package with the given code and makes it importable."""

    def write(name: str, code: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code)
        importlib.invalidate_caches()
        return name

    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_an_installed_module_is_returned():
    assert require("json", "eval") is json


def test_a_submodule_is_returned_itself():
    assert require("json.decoder", "eval") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["surely_absent", "surely_absent.deep.inside"])
def test_an_absent_package_is_named_with_its_pip_line(module):
    line = re.escape("surely_absent is not installed; run: pip install 'lookahead-router[train]'")
    with pytest.raises(MissingDependencyError, match=f"^{line}$") as caught:
        require(module, "train")
    assert (caught.value.package, caught.value.extra) == ("surely_absent", "train")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_package_blocked_in_this_process_counts_as_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match="pyarrow is not installed"):
        require("pyarrow", "eval")


def test_a_package_that_lacks_one_of_its_own_imports_is_not_called_absent(package):
    name = package("present_but_incomplete", "import surely_absent")
    with pytest.raises(ModuleNotFoundError, match="surely_absent") as caught:
        require(name, "train")
    assert caught.value.name == "surely_absent"
    assert not isinstance(caught.value, MissingDependencyError)


@pytest.mark.parametrize(
    ("code", "error"),
    [("from json import surely_absent", ImportError), ("raise RuntimeError('broken build')", RuntimeError)],
)
def test_a_broken_package_shows_its_own_error(package, code, error):
    name = package("present_but_broken", code)
    with pytest.raises(error, match=r"surely_absent|broken build") as caught:
        require(name, "train")
    assert not isinstance(caught.value, MissingDependencyError)
