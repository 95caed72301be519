"""Batches of the embedded predictor for any pool beside those of its encoder alone, on the same tokens.

    python benchmarks/batches.py openpool_prompts.parquet --threads 2 --graphs FOLDER

The encoder's plain passes are fused as the embedded network is, and run as it does best: in batches of several sizes
by length, padded to the longest, as many passes beside each other as there are threads. All in turn. `--graphs` is that
of decision.py.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from decision import plain_graphs

from lookahead_router import Router
from lookahead_router.backends.runtime import Session
from lookahead_router.predictors.passes import passes
from lookahead_router.prompts import estimate_tokens

SIZES = (1, 2, 4, 8, 16)


def prompts_of(path: Path, n_prompts: int) -> list[str]:
    """Prompts of 20 to 2,000 tokens as estimated."""
    prompts = pq.read_table(path, columns=["prompt"])["prompt"].to_pylist()
    random.Random(0).shuffle(prompts)
    return [prompt for prompt in prompts if 20 <= estimate_tokens(prompt) <= 2000][:n_prompts]


class Plain:
    """The encoder as a backend: `passes` runs it as it runs ours."""

    def __init__(self, session: Session, size: int, n_threads: int) -> None:
        self.session, self.max_batch_size, self.n_threads, self.beside = session, size, n_threads, self

    def run(self, backend: object, ids: np.ndarray, mask: np.ndarray) -> None:
        self.session.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": mask})


def calls_of(prompts: list[str], graphs: Path, n_threads: int) -> dict[str, Callable[[], object]]:
    names = ["gpt-4o", "gpt-4o-mini", "llama-3.1-8b-instruct", "llama-3.1-70b-instruct", "claude-3-opus-20240229"]
    router = Router.from_pretrained(candidates=names, n_threads=n_threads)
    foresee = router.predictor.foresee
    rows, _ = foresee.tokenizer.encode(prompts)
    session = Session(plain_graphs(graphs)[1], n_threads=1)

    def plain(size: int) -> Callable[[], object]:
        backend = Plain(session, size, n_threads)
        return lambda: list(passes(backend, rows, foresee.tokenizer.pad_token_id, backend.run))

    def network(backend, ids: np.ndarray, mask: np.ndarray) -> None:
        backend.foresee(ids, mask)

    def tokenised() -> None:
        found, _ = foresee.tokenizer.encode(prompts)
        list(passes(Plain(session, 1, n_threads), found, 0, Plain(session, 1, n_threads).run))

    print(f"{len(rows)} prompts, {np.mean([len(row) for row in rows]):.0f} tokens in the mean", end=", ")
    return {
        **{f"encoder, passes of {size}": plain(size) for size in SIZES},
        "encoder, passes of 1, tokenised": tokenised,
        "the network": lambda: list(passes(foresee.backend, rows, foresee.tokenizer.pad_token_id, network)),
        "route_batch": lambda: router.route_batch(prompts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--graphs", type=Path, help="where the plain passes are kept; made anew if absent")
    arguments = parser.parse_args()
    prompts = prompts_of(arguments.data, arguments.prompts)
    with tempfile.TemporaryDirectory() as name:
        calls = calls_of(prompts, arguments.graphs or Path(name), arguments.threads)
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in calls}
        for number in range(arguments.rounds + 1):  # the first warms up
            for label, call in calls.items():
                start, used = time.perf_counter(), time.process_time()
                call()
                if number:
                    found[label].append((time.perf_counter() - start, time.process_time() - used))
    print(f"{arguments.threads} threads, load {os.getloadavg()[0]:.1f}\n")
    best = min(
        (f"encoder, passes of {size}" for size in SIZES), key=lambda each: statistics.median(c for c, _ in found[each])
    )
    print(f"| | prompts/s | of the best of the encoder ({best.split()[-1]}) | processor, ms a prompt | of the same |")
    print("|---|--:|--:|--:|--:|")
    for label, times in found.items():
        speed = [len(prompts) / clock for clock, _ in times]
        beside = [theirs[0] / mine[0] for mine, theirs in zip(times, found[best], strict=True)]
        used = [1e3 * processor / len(prompts) for _, processor in times]
        spared = [theirs[1] / mine[1] for mine, theirs in zip(times, found[best], strict=True)]
        cells = [f"{statistics.median(v):.{d}f} [{min(v):.{d}f}, {max(v):.{d}f}]" for v, d in ((speed, 0), (beside, 2))]
        print(f"| {label} | {' | '.join(cells)} | {statistics.median(used):.1f} | {statistics.median(spared):.2f} |")


if __name__ == "__main__":
    main()
