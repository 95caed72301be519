"""Memory of the server's replicas on one machine of a Ray cluster: the proportional share (PSS) of each process.

python benchmarks/replicas.py --replicas 1 2 4
"""

import argparse
import json
import os
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

import ray
from ray import serve

from lookahead_router.server.ray import Options, app

CANDIDATES = ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct")
TITLES = {"replica": b"ray::ServeReplica:default:Router", "commons": b"ray::ServeReplica:default:Commons"}
PORT = 8417
MARK = f"lookahead-replicas-{uuid.uuid4()}"


def processes(title: bytes) -> list[int]:
    """Ids of this run's processes of that title."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = MARK.encode() in (folder / "environ").read_bytes()
            if is_ours and title in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return int(dict(line.split(":", 1) for line in lines)["Pss"].split()[0]) / 1024


def ask(n: int) -> None:
    """Decisions, so that every replica has made some."""
    for k in range(n):
        body = json.dumps({"prompt": f"Prove that there are more than {k} primes."}).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v1/route", body).read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "LOOKAHEAD_BENCHMARK": MARK}
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.json"
        entries = [{"name": name, "base_url": "http://127.0.0.1:9/v1"} for name in CANDIDATES]
        pool.write_text(json.dumps({"candidates": entries}))
        for n in arguments.replicas:
            n_cores = max(arguments.replicas) + 1
            ray.init("local", num_cpus=n_cores, include_dashboard=False, log_to_driver=False)
            try:
                serve.start(http_options={"host": "127.0.0.1", "port": PORT})
                serve.run(app(Options(pool=pool, min_replicas=n, max_replicas=n)), route_prefix="/")
                ask(20 * n)
                time.sleep(1)
                sizes = {name: [round(pss_mb(pid), 1) for pid in processes(title)] for name, title in TITLES.items()}
                print(f"{n} replicas: mean {sum(sizes['replica']) / n:.1f} MB", sizes, flush=True)
            finally:
                serve.shutdown()
                ray.shutdown()


if __name__ == "__main__":
    main()
