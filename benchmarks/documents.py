"""What passages do to a decision: in the prompt, cut out of it, and read by a predictor that learnt both ways.

First, everyday prompts with passages that fit, that are about something else, or that contradict one another, written
into the prompt as retrieval does: how many choices among random pools lose more than 0.02 by the plain prompt's
chances, with the passages told to the router as `context` and without. Then a world of known truth: who reads, who
knows where there is nothing to mislead, and who knows half.

    python benchmarks/documents.py tests/data/everyday.jsonl
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pydoc_data import topics

import numpy as np

from lookahead_router import Router, read_request
from lookahead_router.predictors.fitted import fitted_class

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from predictors.documents_world import Words, world
from robustness import LOSS, N_POOLS, changed

N_WORLDS = 10
FRAME = "Context information is below.\n{c}\nGiven the context, answer the query.\nQuery: {q}"


def passages_of(question: str, kind: str, draw: random.Random) -> list[str]:
    """Three passages of some 600 characters for a question."""
    words = question.rstrip(" ?.!")
    if kind == "relevant":
        return [
            f"On the matter of '{words}': most sources agree, and source {n} says so at length. " * 5 for n in "123"
        ]
    if kind == "contradicting":
        says = (
            "This is true of '{}', it was shown long ago. ",
            "None of this is true of '{}'. ",
            "Nobody knows of '{}'. ",
        )
        return [each.format(words) * 8 for each in says]
    texts = [" ".join(text.split()) for text in topics.topics.values() if len(text) > 2000]
    return [text[:600] for text in draw.sample(texts, 3)]


def stability(rows: Sequence[Mapping[str, str]], seed: int) -> None:
    """Prints how choices move by passages."""
    router, draw = Router.from_pretrained(candidates=MODELS), random.Random(seed)
    questions = [row["prompt"] for row in rows]
    plain = router.predict(questions).scores
    numbers, K = np.random.default_rng(seed), plain.shape[1]
    pools = [numbers.choice(K, size, replace=False) for size in numbers.integers(3, K + 1, N_POOLS)]
    print(f"{len(questions)} prompts, {K} candidates, {N_POOLS} pools; choices that lose > {LOSS}")
    for kind in ("relevant", "other", "contradicting"):
        given = [passages_of(question, kind, draw) for question in questions]
        texts = [
            [{"role": "user", "content": FRAME.replace("{c}", "\n\n".join(passages)).replace("{q}", question)}]
            for question, passages in zip(questions, given, strict=True)
        ]
        asked = {
            "in the prompt": texts,
            "in the prompt, told as context": [
                read_request(text, context=passages) for text, passages in zip(texts, given, strict=True)
            ],
            "beside the prompt, as context": [
                read_request(question, context=passages) for question, passages in zip(questions, given, strict=True)
            ],
        }
        for title, prompts in asked.items():
            print(f"  {kind:14} {title:32} {changed(plain, router.predict(prompts).scores, pools):6.1%}")


MODELS = [
    *("gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022", "gemini-1.5-pro-002", "llama-3.1-70b-instruct"),
    *("llama-3.1-8b-instruct", "qwen2.5-72b-instruct", "gemma-2-9b-it", "mixtral-8x7b-instruct-v0.1"),
]


def known_truth() -> None:
    """Prints who finds who is right, of the prompts that anyone answers."""
    found: dict[str, list[float]] = {"documents": [], "classifier (question alone)": [], "best single": []}
    for seed in range(N_WORLDS):
        train, test = world(900, 2 * seed), world(900, 2 * seed + 1)
        anyone = test.scores.max(axis=1) > 0
        rows = np.arange(len(test))
        for title in found:
            if title == "best single":
                chosen = np.full(len(test), train.best_single())
            else:
                kind = title.split()[0]
                fitted = fitted_class(kind)(embedder=Words(), inverse_penalty=100.0).fit(train)
                prompts = test.requests() if fitted.reads_context else test.prompts
                chosen = fitted.predict(prompts).scores.argmax(axis=1)
            found[title].append(100 * test.scores[rows, chosen][anyone].mean())
    print(
        f"\n{N_WORLDS} worlds of 900 questions to learn by and 900 to be asked; right answers of those that anyone has"
    )
    for title, shares in found.items():
        print(f"  {title:30} {np.mean(shares):5.1f} % +- {np.std(shares, ddof=1) / len(shares) ** 0.5:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prompts", type=Path, help="JSONL with prompt.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.prompts.read_text(encoding="utf-8").splitlines()]
    stability(rows, arguments.seed)
    known_truth()


if __name__ == "__main__":
    main()
