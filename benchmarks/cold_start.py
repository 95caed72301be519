"""How long the command takes from nothing to a decision, beside `python -c pass`, and where that goes.

    python benchmarks/cold_start.py [--python VENV/bin/python] [--rounds 15]

Whole processes in turn, by the processor's time and the clock's; ratios are within a round. `--python` names that of an
environment in which the package is installed from its wheel, as it is for users. The shares are of one process each:
what modules take to import, the least of several runs, by package, and the steps of opening the router.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROUTE = ["-m", "lookahead_router", "route", "--candidates", "gpt-4o-mini,gpt-4o"]
LIBRARIES = """import gc, os
gc.disable()
os.environ.update(OPENBLAS_NUM_THREADS="1", ORT_DISABLE_TELEMETRY="1")
import numpy, onnxruntime, tokenizers
"""
OPENED = f"""{LIBRARIES}
from importlib.util import find_spec
from pathlib import Path
from lookahead_router.backends.runtime import Session
folder = Path(find_spec("lookahead_router").origin).parent / "pretrained" / "Llama-lookahead-any-pool-minilm"
tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
Session(folder / "onnx" / "model_int8.onnx", n_threads=1, is_installed=True)
gc.freeze()
"""
PYDANTIC = """import os
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
import pydantic
pydantic.create_model("Some", text=(str, ...))
"""
COMMANDS = {
    "`python -c pass`": ["-c", "pass"],
    "numpy, ONNX Runtime, tokenizers imported": ["-c", LIBRARIES],
    "the same, session and tokenizer opened: the floor": ["-c", OPENED],
    "pydantic imported, with a model, without its plugins": ["-c", PYDANTIC],
    "typer imported": ["-c", "import typer"],
    "rich's tables imported": ["-c", "import rich.console, rich.table"],
    "`import lookahead_router`": ["-c", "import lookahead_router"],
    "`lookahead-router --version`": ["-m", "lookahead_router", "--version"],
    "`lookahead-router route --candidates … --json hi`": [*ROUTE, "--json", "hi"],
    "`lookahead-router route --candidates … hi`": [*ROUTE, "hi"],
}
STEPS = """
import json, os, sys, time
os.environ["OPENBLAS_NUM_THREADS"] = "1"
found, last = {}, time.process_time()
def step(name):
    global last
    now = time.process_time()
    found[name], last = 1e3 * (now - last), time.process_time()
import numpy, onnxruntime, tokenizers, pydantic, typer, rich.console, rich.table
from lookahead_router import Router
from lookahead_router.cli import route
from lookahead_router.backends.runtime import Session
from lookahead_router.predictors.open_pool_folder import read_profiles
from lookahead_router.saved.find import OPEN_EMBEDDED, find
step("imports")
kept = tokenizers.Tokenizer.from_file(str(OPEN_EMBEDDED / "tokenizer.json"))
step("tokenizer")
session = Session(OPEN_EMBEDDED / "onnx" / "model_int8.onnx", n_threads=1, is_installed=True)
step("session")
read_profiles(find(None, OPEN_EMBEDDED).folder)
step("profiles and catalogue")
router = Router.from_pretrained(candidates=["gpt-4o-mini", "gpt-4o"], n_threads=1)
step("a router")
router.route("hi")
step("a decision")
found["a router"] -= sum(found[name] for name in ("tokenizer", "session", "profiles and catalogue"))
print(json.dumps(found))
"""


def run(python: str, arguments: list[str], folder: str) -> tuple[float, float]:
    """Seconds of a process, of the processor and by the clock."""
    hidden = ("PYTHONPATH", "OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    subprocess.run([python, *arguments], check=True, capture_output=True, cwd=folder, env=environment)
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, clock


def imports(python: str, rounds: int, folder: str) -> dict[str, tuple[float, int]]:
    """Milliseconds that the modules of every package take, and how many they are."""
    least: dict[str, float] = {}
    for _ in range(rounds):
        told = subprocess.run([python, "-X", "importtime", *ROUTE, "hi"], capture_output=True, text=True, cwd=folder)
        for line in told.stderr.splitlines():
            head, _, rest = line.partition(":")
            parts = rest.split("|")
            if head == "import time" and parts[0].strip().isdigit():
                name, taken = parts[2].strip(), int(parts[0]) / 1e3
                least[name] = min(taken, least.get(name, taken))
    shares: dict[str, tuple[float, int]] = {}
    for name, taken in least.items():
        package = name.partition(".")[0].replace("pydantic_core", "pydantic").replace("annotated_types", "pydantic")
        known = package in ("lookahead_router", "numpy", "onnxruntime", "tokenizers", "pydantic", "typer", "rich")
        total, count = shares.get(package if known else "Python's own", (0.0, 0))
        shares[package if known else "Python's own"] = total + taken, count + 1
    return dict(sorted(shares.items(), key=lambda each: -each[1][0]))


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[tuple[float, float]]] = {label: [] for label in COMMANDS}
        for number in range(arguments.rounds + 1):  # the first fills the machine's cache of files
            for label, command in COMMANDS.items():
                times = run(arguments.python, command, folder)
                if number:
                    found[label].append(times)
        base = next(iter(found.values()))
        print(f"load {os.getloadavg()[0]:.1f}\n")
        print("| | processor, ms | / `pass` | by the clock, / `pass` |\n|---|--:|--:|--:|")
        for label, times in found.items():
            ratios = [[mine[k] / theirs[k] for mine, theirs in zip(times, base, strict=True)] for k in (0, 1)]
            print(
                f"| {label} | {spread([1e3 * each[0] for each in times])} | {spread(ratios[0])} | {spread(ratios[1])} |"
            )
        print("\n| modules of | ms | how many |\n|---|--:|--:|")
        for package, (taken, count) in imports(arguments.python, 7, folder).items():
            print(f"| {package} | {taken:.1f} | {count} |")
        steps = [
            json.loads(subprocess.check_output([arguments.python, "-W", "ignore", "-c", STEPS], cwd=folder))
            for _ in range(7)
        ]
        print("\n| step | ms of the processor |\n|---|--:|")
        for name in steps[0]:
            print(f"| {name} | {min(each[name] for each in steps):.1f} |")


if __name__ == "__main__":
    main()
