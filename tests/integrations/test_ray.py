"""Rows routed and predicted by workers of a Ray cluster, on this machine."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

WORK = """
import json, os, sys
import numpy as np
import pyarrow as pa, pyarrow.parquet as pq
import ray
from lookahead_router import LookaheadPredictor, Router
from lookahead_router.batch import decided
from lookahead_router.integrations.ray import ask_cluster, route_parquet

folder, names = sys.argv[1], ["gpt-4o-2024-08-06", "llama-3.1-8b-instruct"]
texts = [f"Name {k} rivers." if k % 2 else f"Prove that {k} is no prime." for k in range(40)]
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")

pq.write_table(pa.table({"prompt": texts}), f"{folder}/in.parquet", row_group_size=10)
assert route_parquet(f"{folder}/in.parquet", f"{folder}/out", {"candidates": names}) == 40
files = sorted(os.listdir(f"{folder}/out"))
assert len(files) == 4
found = pa.concat_tables(pq.read_table(f"{folder}/out/{file}") for file in files)
assert found.equals(decided(Router.from_pretrained(candidates=names), pa.table({"prompt": texts})))

learnt = Router.from_pretrained(candidates=names).observe(texts[0], names[0], 0.0).predictor
for predictor in (learnt, LookaheadPredictor.load()):
    blocks = [texts[at : at + 15] for at in range(0, 40, 15)]
    parts = list(ask_cluster(predictor, blocks))
    assert [len(part) for part in parts] == [15, 15, 10]
    here = predictor.predict(texts)
    assert parts[0].pool.names == here.pool.names
    for name in ("scores", "probabilities", "standard_errors", "output_tokens"):
        if getattr(here, name, None) is not None:
            assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(here, name)), name
print(json.dumps({"usage is reported": os.environ["RAY_USAGE_STATS_ENABLED"]}), flush=True)
ray.shutdown()
os._exit(0)
"""


@needs_ray
def test_a_cluster_decides_and_predicts_as_one_process_does_bit_for_bit(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"usage is reported": "0"}
