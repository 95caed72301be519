"""Where the time of one decision goes: the embedded predictor for any pool beside plain passes of its encoder.

    python benchmarks/decision.py --tokens 100

The encoder is exported with fresh weights, whose time is that of others; this needs the development environment, unless
`--graphs` names a folder where it was done before. One thread, everything in turn, processor time: other work on the
machine moves it less than the clock. The plain passes are the encoder's as quantised, with what ONNX Runtime fuses when
it opens a graph, and fused as the embedded network is.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lookahead_router import Router
from lookahead_router.backends.runtime import Session, onnxruntime
from lookahead_router.saved.find import OPEN_EMBEDDED


def plain_graphs(folder: Path) -> tuple[Path, Path]:
    """The encoder's int8 graph, as quantised and fused; made where they are not there."""
    graphs = folder / "plain.onnx", folder / "fused.onnx"
    if all(path.is_file() for path in graphs):
        return graphs
    import torch
    import transformers

    from lookahead_router.backends import quantize
    from lookahead_router.backends.export import export_encoder

    folder.mkdir(parents=True, exist_ok=True)
    shape = json.loads((OPEN_EMBEDDED / "config.json").read_text())["network"]["backbone_config"]
    torch.manual_seed(0)
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**shape)).save_pretrained(folder)
    export_encoder(folder, folder / "fp32.onnx")
    fuse, quantize.fuse_onnx = quantize.fuse_onnx, lambda path: None
    quantize.quantize_rowwise(folder / "fp32.onnx", graphs[0])
    quantize.fuse_onnx = fuse
    quantize.quantize_rowwise(folder / "fp32.onnx", graphs[1])
    return graphs


def prompt_of(router: Router, n_tokens: int) -> str:
    encode, text = router.predictor.foresee.tokenizer.encode, "Design a limiter of rates for an API of many nodes."
    while len(encode([text])[0][0]) < n_tokens + 2:
        text += " And why?"
    return text


def calls_of(folder: Path, n_tokens: int) -> dict[str, Callable[[], object]]:
    first = Router.from_pretrained(candidates=["gpt-4o"], n_threads=1)
    entries = first.predictor.catalogue.search()
    names = [entry.name for entry in entries if entry.output_usd_per_million_tokens is not None]
    router, many = (first.with_candidates(names[:n]) for n in (5, 50))
    foresee, prompt = first.predictor.foresee, prompt_of(first, n_tokens)
    ids = foresee.tokenizer.encode([prompt])[0][0][None]
    mask = np.ones_like(ids)
    plain, fused = plain_graphs(folder)
    options = onnxruntime().SessionOptions()
    options.intra_op_num_threads = 1
    as_others_run_it = onnxruntime().InferenceSession(str(plain), options)
    session, feed = Session(fused, n_threads=1), {"input_ids": ids, "attention_mask": mask}

    def with_tokens(run: Callable[[dict], object]) -> Callable[[], object]:
        def call():
            ids = foresee.tokenizer.encode([prompt])[0][0][None]
            return run({"input_ids": ids, "attention_mask": np.ones_like(ids)})

        return call

    return {
        "plain pass, as quantised": lambda: as_others_run_it.run(None, feed),
        "plain pass, as quantised, tokenised": with_tokens(lambda feed: as_others_run_it.run(None, feed)),
        "plain pass, fused, tokenised": with_tokens(lambda feed: session.run(["last_hidden_state"], feed)),
        "the network alone": lambda: foresee.backend.foresee(ids, mask),
        "the network, tokenised and checked": lambda: foresee([prompt]),
        "route, 5 candidates": lambda: router.route(prompt),
        "route, 50 candidates": lambda: many.route(prompt),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--graphs", type=Path, help="where the plain passes are kept; made anew if absent")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        calls = calls_of(arguments.graphs or Path(name), arguments.tokens)
        times: dict[str, list[float]] = {label: [] for label in calls}
        for number in range(arguments.rounds + 3):  # the first warm up
            for label, call in calls.items():
                found = []
                for _ in range(5):
                    start = time.thread_time()
                    call()
                    found.append(1e3 * (time.thread_time() - start))
                if number >= 3:
                    times[label].append(statistics.median(found))
    bases = [label for label in calls if label.endswith(", tokenised")]
    print(f"{arguments.tokens} tokens, load {os.getloadavg()[0]:.1f}\n")
    print(f"| | ms | {' | '.join(f'/ {base}' for base in bases)} |\n|---|--:|{'--:|' * len(bases)}")
    for label, values in times.items():
        cells = [f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"]
        for base in bases:
            ratios = [mine / other for mine, other in zip(values, times[base], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f}")
        print(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
