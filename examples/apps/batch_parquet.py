"""Decisions for a table of prompts, and what they would cost beside sending all to the better model.

    pip install 'lookahead-router[eval]'
    python batch_parquet.py prompts.parquet decided.parquet

The table needs a column `prompt`. In a shell, `lookahead-router route --file prompts.parquet` does the same.
"""

import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lookahead_router import Router
from lookahead_router.batch import decided

MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18")


def main(source: str, target: str) -> None:
    """Writes the table with a decision in each row."""
    table = decided(Router.from_pretrained(candidates=MODELS, quality=0.95), pq.read_table(source))
    pq.write_table(table, target)
    alone = decided(Router.from_pretrained(candidates=MODELS[:1]), pq.read_table(source))
    for count in table["candidate"].value_counts().to_pylist():
        print(f"{count['counts']} prompts to {count['values']}")
    print(f"expected {pc.sum(table['expected_usd']).as_py():.4f} dollars; all to {MODELS[0]}: "
          f"{pc.sum(alone['expected_usd']).as_py():.4f}")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:3])
