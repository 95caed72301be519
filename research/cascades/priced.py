"""Routing datasets with dollars, for cascades: list prices of 2024 for MMLU-Pro, prices by size for the paper's five.

    python research/cascades/priced.py DATA OUT

DATA holds mmlupro12.parquet and lookahead7.parquet. Responses that were cut when they were published are left out:
their end, which checks read, is not there.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "own_pool"))
from study import MMLU_USD

from lookahead_router.data.dataset import RoutingDataset

CHARACTERS_PER_TOKEN = 4
CUT_CHARACTERS, USUAL_TOKENS = 700, 300
USD_BY_SIZE = {  # dollars a million tokens: two and a half cents a billion parameters
    "Yi-1.5-34B-Chat": 0.85, "internlm2_5-20b-chat": 0.5, "Phi-3-medium-4k-instruct": 0.35,
    "Llama-3.1-8B-Instruct": 0.2, "Qwen2.5-Coder-7B-Instruct": 0.175,
}  # fmt: skip


def main() -> None:
    source, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    mmlu = RoutingDataset.from_file(source / "mmlupro12.parquet")
    tokens = np.array([len(prompt) / CHARACTERS_PER_TOKEN + USUAL_TOKENS for prompt in mmlu.prompts])
    lengths = np.vectorize(len)(mmlu.responses)
    responses = np.where(lengths < CUT_CHARACTERS, mmlu.responses, None)
    print(f"mmlupro12: {(lengths >= CUT_CHARACTERS).mean():.0%} of the responses were cut")
    usd = np.array([MMLU_USD[name] for name in mmlu.pool.names]) / 1e6
    replace(mmlu, responses=responses, costs_usd=tokens[:, None] * usd).to_parquet(out / "mmlupro12.parquet")
    five = RoutingDataset.from_file(source / "lookahead7.parquet")
    asked = np.array([len(prompt) for prompt in five.prompts])[:, None]
    tokens = (asked + np.vectorize(len)(five.responses)) / CHARACTERS_PER_TOKEN
    usd = np.array([USD_BY_SIZE[name] for name in five.pool.names]) / 1e6
    replace(five, costs_usd=tokens * usd).to_parquet(out / "lookahead7.parquet")


if __name__ == "__main__":
    main()
