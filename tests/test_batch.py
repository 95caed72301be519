"""Tables of prompts, routed here and on a cluster of two nodes."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from lookahead_router import Router
from lookahead_router.batch import COLUMNS, decided, route_parquet
from lookahead_router.errors import SchemaError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
NAMES = ["gpt-4o-2024-08-06", "llama-3.1-8b-instruct"]


@pytest.fixture(scope="module")
def router():
    return Router.from_pretrained(candidates=NAMES, n_threads=1)


def prompts(n):
    texts = ("hi", "Prove that {} is irrational.", "Write a function that sorts {} numbers in Go.", "Name {} rivers.")
    return [texts[k % 4].format(k) for k in range(n)]


def test_every_row_gets_its_own_decision_and_keeps_its_columns(router, tmp_path):
    texts = [*prompts(6), "", None, "  "]
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"n": range(9), "question": texts}), source)
    seen = []
    assert route_parquet(router, source, output, column="question", told=lambda *done: seen.append(done)) == 9
    table = pq.read_table(output)
    assert table.column("n").to_pylist() == list(range(9))
    for row, text in zip(table.to_pylist(), texts, strict=True):
        if text is None or not text.strip():
            assert all(row[name] is None for name in COLUMNS)
            continue
        decision = router.route(text)
        assert (row["candidate"], row["runner_up"]) == (decision.name, decision.runner_up)
        assert row["probability"] == decision.probabilities[decision.name]
        assert row["expected_usd"] == decision.expected_usd[decision.name]
    assert seen == [(9, 9)]


def test_a_table_without_rows_stays_one(router, tmp_path):
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "in.parquet")
    assert route_parquet(router, tmp_path / "in.parquet", tmp_path / "out.parquet") == 0
    assert pq.read_schema(tmp_path / "out.parquet").names == ["prompt", *COLUMNS]


def test_what_is_no_such_table_is_told(router, tmp_path):
    for table, match in (
        (pa.table({"x": ["a"]}), "the column is missing"),
        (pa.table({"prompt": [1]}), "prompts are text"),
        (pa.table({"prompt": ["a"], "score": [1.0]}), "would have this name"),
    ):
        with pytest.raises(SchemaError, match=match):
            decided(router, table)
    (tmp_path / "x.parquet").write_text("no Parquet")
    with pytest.raises(SchemaError, match="not a readable Parquet file"):
        route_parquet(router, tmp_path / "x.parquet", tmp_path / "y.parquet")
    assert not (tmp_path / "y.parquet").exists()


CLUSTER = """
import json, os, sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from lookahead_router.integrations.ray import route_parquet

source, output, names, kills = json.loads(sys.argv[1])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
assert len([node for node in ray.nodes() if node["Alive"]]) == 2

started, killed = time.monotonic(), []

def kill():
    while len(list(Path(output).glob("part-*"))) < 4:  # both are at work
        time.sleep(0.05)
    killed.append(time.monotonic() - started)
    cluster.remove_node(other, allow_graceful=False)

thread = threading.Thread(target=kill, daemon=True)
if kills:
    thread.start()
n = route_parquet(source, output, {"candidates": names})
seconds = time.monotonic() - started
if kills:
    thread.join(60)
    while len([node for node in ray.nodes() if node["Alive"]]) > 1:
        time.sleep(0.2)
alive = len([node for node in ray.nodes() if node["Alive"]])
print(json.dumps({"rows": n, "seconds": seconds, "killed": killed, "nodes": alive}), flush=True)
ray.shutdown()
cluster.shutdown()
os._exit(0)  # Ray's own threads may end with an error once the cluster is gone
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.parametrize("kills", [False, True])
def test_a_cluster_decides_as_one_process_does_and_loses_no_row_with_a_node(router, tmp_path, kills):
    source = tmp_path / "in"
    source.mkdir()
    for part in range(6):
        table = pa.table({"n": range(part * 500, (part + 1) * 500), "prompt": prompts(500)})
        pq.write_table(table, source / f"{part}.parquet", row_group_size=125)
    arguments = json.dumps([str(source), str(tmp_path / "out"), NAMES, kills])
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", CLUSTER, arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))  # Ray speaks too
    assert (told["rows"], told["nodes"]) == (3000, 1 if kills else 2)
    assert all(at < told["seconds"] for at in told["killed"])
    found = pa.concat_tables(pq.read_table(file) for file in sorted((tmp_path / "out").glob("part-*")))
    assert found.column("n").to_pylist() == list(range(3000))
    expected = decided(router, pq.read_table(source)).sort_by("n")
    assert found.equals(expected)
