"""How often a benchmark's instruction, or passages around the question, change a router's choice, and what that costs.

Every everyday prompt is asked plain, under instructions of benchmarks and chats, and among 5 KB of passages (texts of
Python's own help). A choice counts as changed where, by the plain prompt's own probabilities, it is worse by more than
0.02. Choices are made among random pools of the router's candidates, by the highest probability.

    python benchmarks/robustness.py tests/data/everyday.jsonl
    python benchmarks/robustness.py tests/data/everyday.jsonl --router FOLDER --candidates gpt-4o,llama-3.1-8b-instruct
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from pydoc_data import topics

import numpy as np

from lookahead_router import Router

LOSS = 0.02
N_POOLS = 200
PASSAGE_CHARACTERS = 5_000
INSTRUCTIONS = {
    "boxed answer": "{q}\nPlease reason step by step, and put your final answer within \\boxed{}.",
    "letter": '{q}\nPrint only a single choice from "A" or "B" or "C" or "D" without explanation. Answer:',
    "JSON": "{q}\nAnswer in JSON.",
    "JSON, before": 'Present your answer as a JSON object like {"thoughts": "...", "solution": "..."}.\n\n{q}',
    "multiple choice, before": "The following is a multiple choice question. Think step by step and then finish your "
    'answer with "the answer is (X)" where X is the correct letter choice.\n\n{q}',
    "tests of code": "{q}\nYour code should pass these tests:",
    "mathematician": "You are a brilliant mathematics professor.\n{q}",
    "developer": "You are a senior Python developer.\n\n{q}",
    "four hashes": "{q}\nGive your final answer after four hashes, like this: #### 42",
    "Alpaca's frame": "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n{q}\n\n### Response:",
    "step by step": "{q}\nLet us work this out in a step by step way to be sure we have the right answer.",
    "XML": "{q}\nPlace your reasoning inside <reasoning> and your result inside <final> tags.",
    "few shots": "Q: How many legs do three spiders have?\nA: 24\n\nQ: What is the boiling point of water in Celsius?\n"
    "A: 100\n\nQ: {q}\nA:",
}
PASSAGES = {
    "LlamaIndex's frame": "Context information is below.\n---------------------\n{c}\n---------------------\nGiven the "
    "context information and not prior knowledge, answer the query.\nQuery: {q}\nAnswer: ",
    "passages after": "{q}\n\nUse these excerpts:\n{c}",
    "passages before": "Excerpts from our files:\n\n{c}\n\n{q}",
    "passages around": "{first}\n\n{q}\n\n{second}",
}


def variants(question: str, passage: str) -> dict[str, str]:
    """The question in all other clothes."""
    half = len(passage) // 2
    texts = {name: frame.replace("{q}", question) for name, frame in INSTRUCTIONS.items()}
    for name, frame in PASSAGES.items():
        frame = frame.replace("{first}", passage[:half]).replace("{second}", passage[half:])
        texts[name] = frame.replace("{c}", passage).replace("{q}", question)
    return texts


def changed(plain: np.ndarray, dressed: np.ndarray, pools: Sequence[np.ndarray]) -> float:
    """Share of choices among the pools that lose more than `LOSS` by the plain prompt's probabilities.

    Args:
        plain: `(n, K)` probabilities of the plain prompts.
        dressed: `(n, K)` of the same in other clothes.
        pools: columns of each pool.
    """
    rows = np.arange(len(plain))
    losses = [plain[:, pool].max(axis=1) - plain[rows, pool[dressed[:, pool].argmax(axis=1)]] for pool in pools]
    return float((np.array(losses) > LOSS).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prompts", type=Path, help="JSONL with prompt, kind and language.")
    parser.add_argument("--router", help="Folder or org/name; the embedded one if absent.")
    parser.add_argument("--backend", default="auto", help="Runtime of the network; static is none.")
    parser.add_argument("--candidates", help="Names, separated by commas; the router's own if absent.")
    parser.add_argument("--every", type=int, default=1, help="Ask every n-th prompt only.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = arguments.candidates.split(",") if arguments.candidates else None
    router = Router.from_pretrained(arguments.router, candidates=names, backend=arguments.backend)
    records = [json.loads(line) for line in arguments.prompts.read_text(encoding="utf-8").splitlines()]
    questions = [record["prompt"] for record in records][:: arguments.every]
    draw = random.Random(arguments.seed)
    texts = [" ".join(text.split()) for text in topics.topics.values() if len(text) > 1.5 * PASSAGE_CHARACTERS]
    passages = []
    for _ in questions:
        text = draw.choice(texts)
        start = draw.randrange(len(text) - PASSAGE_CHARACTERS) if len(text) > PASSAGE_CHARACTERS else 0
        passages.append(text[start : start + PASSAGE_CHARACTERS])
    dressed = [variants(question, passage) for question, passage in zip(questions, passages, strict=True)]
    plain = router.predictor.predict(questions).probabilities
    if plain is None:
        raise SystemExit("this router's predictor gives no probabilities")
    random_numbers, K = np.random.default_rng(arguments.seed), plain.shape[1]
    sizes = random_numbers.integers(min(3, K), min(8, K) + 1, N_POOLS)
    pools = [random_numbers.choice(K, size, replace=False) for size in sizes]
    print(f"{len(questions)} prompts, {K} candidates, {N_POOLS} pools; P differs by, and choices that lose > {LOSS}")
    for title, frames in (("instructions", INSTRUCTIONS), ("passages", PASSAGES)):
        found = []
        for name in frames:
            asked = router.predictor.predict([texts[name] for texts in dressed]).probabilities
            found.append((np.abs(asked - plain).mean(), changed(plain, asked, pools)))
            print(f"  {name:26} {found[-1][0]:.3f} {found[-1][1]:6.1%}")
        print(f"{title:28} {np.mean([f[0] for f in found]):.3f} {np.mean([f[1] for f in found]):6.1%}")


if __name__ == "__main__":
    main()
