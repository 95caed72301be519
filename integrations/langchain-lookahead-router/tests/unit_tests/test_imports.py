"""Importing is light, and the core is met at its public names only."""

import ast
import subprocess
import sys
from pathlib import Path

import lookahead_router
import pytest

import langchain_lookahead_router

PACKAGE = Path(langchain_lookahead_router.__file__).parent


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sorted(m.split('.')[0] for m in sys.modules))"
    paths = repr([str(PACKAGE.parent), str(Path(lookahead_router.__file__).parents[1])])
    code = f"import sys; sys.path[:0] = {paths}; {code}"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_package_itself_loads_nothing():
    heavy = {"langchain_core", "langchain", "numpy", "onnxruntime", "torch", "transformers", "pydantic"}
    assert not loaded_by("import langchain_lookahead_router") & heavy


def test_the_chat_model_loads_neither_agents_nor_a_predictor():
    heavy = {"langchain", "langgraph", "onnxruntime", "tokenizers", "torch", "transformers"}
    assert not loaded_by("from langchain_lookahead_router import ChatLookaheadRouter, LookaheadRouter") & heavy


def test_importing_needs_no_network():
    blocked = "import socket; socket.socket.connect = None; import langchain_lookahead_router.chat_models"
    assert "langchain_core" in loaded_by(blocked)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_only_public_names_of_the_core_are_imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "lookahead_router" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lookahead_router":
            assert node.module in ("lookahead_router", "lookahead_router.errors", "lookahead_router.threads")
            if node.module == "lookahead_router":
                assert {alias.name for alias in node.names} <= set(lookahead_router.__all__)


def test_every_public_name_is_listed_and_loads():
    optional = {"LookaheadRouterMiddleware", "LookaheadDecisionModel"}
    for name in set(langchain_lookahead_router.__all__) - optional:
        assert getattr(langchain_lookahead_router, name)
    assert set(langchain_lookahead_router.__all__) <= set(dir(langchain_lookahead_router))
    with pytest.raises(AttributeError):
        _ = langchain_lookahead_router.nothing


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").is_file()


def test_a_missing_extra_is_named():
    code = (
        "import sys; sys.modules['langchain'] = None; sys.modules['langchain_core.decisions'] = None\n"
        "import langchain_lookahead_router as package\n"
        "for name in ('LookaheadRouterMiddleware', 'LookaheadDecisionModel'):\n"
        "    try:\n        getattr(package, name)\n"
        "    except ImportError as error:\n        print(error)\n"
    )
    paths = repr([str(PACKAGE.parent), str(Path(lookahead_router.__file__).parents[1])])
    code = f"import sys; sys.path[:0] = {paths}\n{code}"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'langchain-lookahead-router[agents]'" in out
    assert "langchain-core 1.8" in out
