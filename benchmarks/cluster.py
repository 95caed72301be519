"""Rows a second of `route --engine ray` on one and on two nodes, and with one of two killed in the middle.

The nodes are processes of this machine, of one core each. One process without Ray comes first: what it decides, the
others have to decide too, bit for bit. What is done stays in the folder, so a run that was broken off is gone on with.

    python benchmarks/cluster.py --prompts prompts.parquet --column text --rows 100000 --folder runs/cluster
"""

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ["gpt-4o-2024-08-06", "llama-3.1-8b-instruct"]
ROWS_IN_FILE, ROWS_IN_GROUP = 10_000, 500
WAYS = {"one process": None, "1 node": (1, False), "2 nodes": (2, False), "2 nodes, one killed": (2, True)}


def draw(source: Path, column: str, n_rows: int, folder: Path) -> Path:
    """Prompts of a file, each drawn as often as chance has it."""
    drawn = folder / "prompts"
    if drawn.exists():
        return drawn
    texts = sorted({text for text in pq.read_table(source, columns=[column]).column(column).to_pylist() if text})
    rng = random.Random(0)
    picked = [rng.choice(texts) for _ in range(n_rows)]
    lengths = sorted(map(len, picked))
    quantiles = [lengths[n_rows * percent // 100] for percent in (5, 50, 95)]
    print(f"{n_rows} prompts, {len(set(picked))} different ones; characters at 5, 50, 95 %: {quantiles}", flush=True)
    partial = folder / ".prompts"
    partial.mkdir(parents=True, exist_ok=True)
    for start in range(0, n_rows, ROWS_IN_FILE):
        part = picked[start : start + ROWS_IN_FILE]
        table = pa.table({"n": range(start, start + len(part)), "prompt": part})
        pq.write_table(table, partial / f"{start:09d}.parquet", row_group_size=ROWS_IN_GROUP)
    partial.rename(drawn)
    return drawn


def route_here(source: Path, output: Path) -> None:
    from lookahead_router import Router
    from lookahead_router.batch import route_parquet

    router = Router.from_pretrained(candidates=NAMES, quality=0.95, n_threads=1)
    output.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.glob("*.parquet")):
        if not (output / file.name).exists():
            route_parquet(router, file, output / file.name)


def route_on_cluster(source: Path, output: Path, n_nodes: int, kills: bool, note) -> None:
    """Routes; `note` is told after how many seconds the second node was killed, if it was."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    from lookahead_router.integrations.ray import route_parquet

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    others = [cluster.add_node(num_cpus=1) for _ in range(n_nodes - 1)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    n_groups = sum(pq.read_metadata(file).num_row_groups for file in source.glob("*.parquet"))
    killed: list[float] = []
    started = time.monotonic()

    def kill() -> None:
        while len(list(output.glob("part-*"))) < n_groups // 2:
            time.sleep(0.5)
        cluster.remove_node(others[0], allow_graceful=False)
        killed.append(time.monotonic() - started)

    if kills:
        threading.Thread(target=kill, daemon=True).start()
    route_parquet(source, output, {"candidates": NAMES, "quality": 0.95})
    note(time.monotonic() - started, killed[0] if killed else None)
    ray.shutdown()
    cluster.shutdown()


def one_way(way: str, source: Path, folder: Path) -> None:
    """Runs a way, and notes what it took."""
    output, setting = folder / way.replace(" ", "-").replace(",", ""), WAYS[way]
    n_there = len(list(output.glob("*.parquet"))) if output.exists() else 0
    started = time.monotonic()

    def note(seconds: float, killed: float | None = None) -> None:
        record = {"seconds": seconds, "killed": killed, "parts there before": n_there, "load": os.getloadavg()}
        (folder / f"{output.name}.json").write_text(json.dumps(record))

    if setting is None:
        route_here(source, output)
        note(time.monotonic() - started)
    else:
        route_on_cluster(source, output, *setting, note)
    os._exit(0)  # Ray's own threads may end with an error once the cluster is gone


def decisions(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(file) for file in sorted(folder.glob("[!.]*.parquet"))).combine_chunks()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, required=True, help="Parquet")
    parser.add_argument("--column", default="prompt")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True, help="keeps what is done")
    parser.add_argument("--way", choices=WAYS)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    source = draw(arguments.prompts, arguments.column, arguments.rows, folder)
    if arguments.way:
        one_way(arguments.way, source, folder)
        return
    expected = None
    for way in WAYS:
        name = way.replace(" ", "-").replace(",", "")
        if not (folder / f"{name}.json").exists():
            subprocess.run([sys.executable, *sys.argv, "--way", way], check=True)
        told = json.loads((folder / f"{name}.json").read_text())
        found = decisions(folder / name)
        expected = found if expected is None else expected
        is_whole = "begun anew" if told["parts there before"] else f"{len(found) / told['seconds']:.0f} rows/s"
        killed = f", one killed after {told['killed']:.0f} s" if told["killed"] else ""
        is_same = "equal" if found.equals(expected) else "NOT EQUAL"
        print(
            f"{way}: {len(found)} rows in {told['seconds']:.0f} s ({is_whole}){killed}; {is_same} to one process; "
            f"load {told['load'][0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
