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

from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.training.open_pool import expected_of_everyone, foresee_all, read_code, with_code

EVERYDAY = Path(__file__).parents[2] / "recipes" / "everyday"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("data", type=Path, help="Folder with the openpool files and lookahead7.parquet.")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    table = pq.read_table(arguments.data / "openpool_prompts.parquet", columns=["prompt_id", "prompt", "split"])
    prompts = table.to_pydict()
    foreseen = foresee_all(
        arguments.network, prompts["prompt"], lambda step, share: print(f"{share:4.0%} {step}", flush=True)
    )
    asked, chances = expected_of_everyone(EVERYDAY / "prompts.jsonl")
    public = OutcomeTable.concatenate([
        OutcomeTable.from_file(
            arguments.data / "openpool_outcomes.parquet", prompts=arguments.data / "openpool_prompts.parquet"
        ),
        OutcomeTable.from_file(arguments.data / "lookahead7.parquet"),
    ])  # fmt: skip
    code = read_code(arguments.network, [EVERYDAY / "prompts.jsonl", EVERYDAY / "requests.jsonl"], public)
    everyday = foresee_all(arguments.network, asked)
    np.savez(
        arguments.output,
        expected=chances,
        **{f"expected_{name}": np.asarray(values, dtype=np.float32) for name, values in vars(everyday).items()},
        code=with_code(code, foreseen, arguments.network, prompts["prompt"]).demands[:, -1],
        prompt_ids=np.array(prompts["prompt_id"]),
        split=np.array(prompts["split"]),
        **{name: np.asarray(values, dtype=np.float32) for name, values in vars(foreseen).items()},
    )


if __name__ == "__main__":
    main()
