"""What a demand network foresees of the prompts of the open-pool corpus and of everyday ones, for the study.

    python research/any_pool/features.py NETWORK DATA --output features.npz

NETWORK is the folder that `lookahead-router train` leaves for a recipe of kind demands; its int8 graph is asked, as
routing asks it. The ablations of the study are settings of the recipe:

    lookahead-router train recipes/Llama-lookahead-any-pool-minilm.yaml --data ... --prompts ... --set SETTING
    optimizer.n_steps=0 with network.references=[] and refit=null   the frozen encoder under a head
    network.references=[]                                           no foreseen answers
    data.exclude_candidates='[claude*, yi*, ...]'                   candidates kept for the study
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lookahead_router.training.open_pool import expected_of_everyone, foresee_all

EVERYDAY = Path(__file__).parents[2] / "recipes" / "everyday" / "prompts.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("data", type=Path, help="Folder with openpool_prompts.parquet.")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    table = pq.read_table(arguments.data / "openpool_prompts.parquet", columns=["prompt_id", "prompt", "split"])
    prompts = table.to_pydict()
    foreseen = foresee_all(
        arguments.network, prompts["prompt"], lambda step, share: print(f"{share:4.0%} {step}", flush=True)
    )
    asked, chances = expected_of_everyone(EVERYDAY)
    everyday = foresee_all(arguments.network, asked)
    np.savez(
        arguments.output,
        expected=chances,
        **{f"expected_{name}": np.asarray(values, dtype=np.float32) for name, values in vars(everyday).items()},
        prompt_ids=np.array(prompts["prompt_id"]),
        split=np.array(prompts["split"]),
        **{name: np.asarray(values, dtype=np.float32) for name, values in vars(foreseen).items()},
    )


if __name__ == "__main__":
    main()
