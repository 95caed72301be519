"""What foresight costs: the embedded predictor's latency, throughput and memory beside the floor.

The floor is one plain pass of the same backbone over the same prompt, exported and quantised in the
same way: a `LookaheadMLM` without slots. Both are measured in turn in the same process.

    python benchmarks/latency.py lookahead7.parquet --threads 2
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from lookahead_router import LookaheadPredictor, Router, RoutingDataset
from lookahead_router.backends.export import export_onnx
from lookahead_router.backends.onnx import OnnxBackend
from lookahead_router.backends.quantize import quantize_onnx
from lookahead_router.networks.mlm import LookaheadMLM

WEIGHT_BITS = 4
"""Of the embedded predictor, and so of the floor."""


def floor_backends(predictor: LookaheadPredictor, folder: Path, n_threads: int) -> dict[str, OnnxBackend]:
    """Plain passes of the predictor's backbone (fresh weights: timing does not depend on them)."""
    config = predictor.network.model_copy(update={"n_slots": 0})
    export_onnx(LookaheadMLM(config), folder / "floor.onnx")
    quantize_onnx(folder / "floor.onnx", folder / "floor_int8.onnx", WEIGHT_BITS)
    return {
        "fp32": OnnxBackend(folder / "floor.onnx", n_threads=n_threads),
        "int8": OnnxBackend(folder / "floor_int8.onnx", n_threads=n_threads),
    }


def timed(call, repeats: int) -> np.ndarray:
    """Milliseconds of each call, after a warm-up."""
    for _ in range(10):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()

    dataset = RoutingDataset.from_file(arguments.data)
    router = Router.from_pretrained(n_threads=arguments.threads)
    predictor = router.predictor
    rows, _ = predictor.tokenizer.encode(list(dataset.prompts))
    prompt = dataset.prompts[int(np.argmin([abs(len(row) - 102) for row in rows]))]
    ids = predictor.tokenizer.encode([prompt])[0][0][None]
    mask = np.ones_like(ids)

    # Memory first: the export below needs torch, which would hide what routing takes.
    mixed = dataset.prompts[np.random.default_rng(0).choice(len(dataset), size=1000, replace=False)]
    router.route("warm up")
    start = time.perf_counter()
    router.route_batch(mixed)
    seconds = time.perf_counter() - start
    report = {
        "batch": {
            "prompts_per_second": round(1000 / seconds, 1),
            "process_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    }
    with tempfile.TemporaryDirectory() as name:
        floors = floor_backends(predictor, Path(name), arguments.threads)
        calls = {
            "Router.route": lambda: router.route(prompt),
            "network alone, int8": lambda: predictor.backend.score_logits(ids, mask),
            "plain pass, int8": lambda: floors["int8"].score_logits(ids, mask),
            "plain pass, fp32": lambda: floors["fp32"].score_logits(ids, mask),
        }
        rounds = {label: [] for label in calls}
        for _ in range(5):  # in turn, so that a drift of the machine meets all of them
            for label, call in calls.items():
                rounds[label].append(timed(call, arguments.repeats // 5))
    report["prompt_tokens"] = ids.shape[1] - 2
    report["threads"] = arguments.threads
    floor = np.median(np.concatenate(rounds["plain pass, int8"]))
    for label, times in rounds.items():
        p50, p95 = np.percentile(np.concatenate(times), [50, 95])
        report[label] = {
            "p50_ms": round(p50, 2),
            "p95_ms": round(p95, 2),
            "ratio_to_plain_int8": round(p50 / floor, 2),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
