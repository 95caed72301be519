"""The wheel holds this module alone: a namespace package must not claim what is LlamaIndex's."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_it_holds_the_module_and_no_init_of_the_namespace(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    names = wheel.namelist()
    code = {name for name in names if ".dist-info/" not in name}
    files = [
        "__init__.py",
        "base.py",
        "calls.py",
        "candidates.py",
        "events.py",
        "history.py",
        "py.typed",
        "requests.py",
        "scope.py",
        "templates.py",
    ]
    assert code == {f"llama_index/llms/lookahead_router/{name}" for name in files}
    (license,) = [name for name in names if name.endswith("/LICENSE")]
    assert wheel.read(license) == (ROOT / "../../LICENSE").read_bytes()


def test_llamahub_finds_the_module_and_an_example():
    hub = PROJECT["tool"]["llamahub"]
    assert (ROOT / hub["import_path"].replace(".", "/") / "__init__.py").is_file()
    assert hub["contains_example"] == (ROOT / "examples").is_dir()


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys; from llama_index.llms.lookahead_router import LookaheadRouterLLM; "
        "print({'torch', 'onnxruntime', 'transformers', 'openai'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
