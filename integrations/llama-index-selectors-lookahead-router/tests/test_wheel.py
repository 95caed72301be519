"""The wheel holds this module alone: a namespace package must not claim what is LlamaIndex's."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_holds_the_module_and_no_init_of_the_namespace(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    code = {name for name in names if ".dist-info/" not in name}
    folder = "llama_index/selectors/lookahead_router/"
    assert code == {
        f"{folder}{name}"
        for name in ("__init__.py", "base.py", "choices.py", "result.py", "routing.py", "py.typed")
    }  # fmt: skip


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys; from llama_index.selectors.lookahead_router import LookaheadSelector; "
        "print({'torch', 'onnxruntime', 'transformers', 'openai'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr
