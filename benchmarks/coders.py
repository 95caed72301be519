"""Whether code goes to candidates that were made for it, beside chat models of their level.

    python benchmarks/coders.py tests/data/code.jsonl tests/data/everyday.jsonl [--pairs CODER:CHAT ...]

The first file says which prompts are `about` code, the second has a `kind` for it. Printed are the shares of prompts on
which the coder is foreseen as better: for pairs, and for every coder of the catalogue beside all chat candidates that
are foreseen within 0.01 of it on what is not code.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

from lookahead_router import Router
from lookahead_router.errors import UnknownProfileWarning
from lookahead_router.predictors.catalogue import is_coder
from lookahead_router.types import CandidatePool

PAIRS = (
    "qwen2.5-coder-7b-instruct:llama-3.1-8b-instruct",
    "qwen2.5-coder-7b-instruct:internlm2.5-20b-chat",
    "codellama-34b-instruct:llama-2-70b-chat",
    "gpt-5.1-codex:gpt-5.1",
    "grok-code-fast-1:grok-4-fast",
    "my-coder-32b:my-chat-32b",
    "deepseek-v2-coder-0614:deepseek-v2-chat-0628",
    "qwen2.5-coder-7b-instruct:qwen2.5-7b-instruct",
    "codestral:mistral-small",
    "qwen2.5-coder-7b-instruct:gpt-5",
)
EQUAL = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", type=Path)
    parser.add_argument("everyday", type=Path)
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UnknownProfileWarning)
    requests, everyday = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in (options.requests, options.everyday)
    )
    prompts = [row["prompt"] for row in requests + everyday]
    is_code = np.array([row.get("about", row.get("kind")) == "code" for row in requests + everyday])
    is_request = np.arange(len(prompts)) < len(requests)
    groups = (is_code & is_request, is_code & ~is_request, ~is_code)

    print("| coder beside chat model | requests for code | everyday code | the rest |\n|---|--:|--:|--:|")
    for pair in options.pairs:
        router = Router.from_pretrained(candidates=pair.split(":"))
        ahead = np.greater(*np.array(router.predict(prompts).probabilities).T)
        print(f"| {pair.replace(':', ' beside ')} | {' | '.join(f'{ahead[group].mean():.0%}' for group in groups)} |")
    predictor = router.predictor
    names = CandidatePool(entry.name for entry in predictor.catalogue.entries).names
    probabilities = np.array(predictor.with_candidates(names).predict(prompts).probabilities)
    coders = np.array([is_coder(name) for name in names])
    level = probabilities[~is_code].mean(axis=0)
    shares, counts = [], []
    for k in np.flatnonzero(coders):
        equals = np.flatnonzero(~coders & (abs(level - level[k]) < EQUAL))
        ahead = probabilities[:, [k]] > probabilities[:, equals]
        shares.append([ahead[group].mean() for group in groups])
        counts.append(len(equals))
    means = " | ".join(f"{share:.0%}" for share in np.mean(shares, axis=0))
    print(f"| mean of {coders.sum()} coders, each beside its equals ({np.mean(counts):.0f} in the mean) | {means} |")
    reading = predictor.foresee(prompts)[0].demands[:, -1] > 0.5
    for name, group in (("requests", is_request), ("everyday prompts", ~is_request)):
        print(f"whether code is asked for, of {group.sum()} {name}: right on {(reading == is_code)[group].mean():.0%}")


if __name__ == "__main__":
    main()
