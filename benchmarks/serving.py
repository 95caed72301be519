"""What the server adds to a call, beside asking the candidate directly and beside LiteLLM's proxy.

Every target is a process of its own on this machine. The candidate answers at once, or takes about so many seconds, as
LLMs do: what counts then is the time beyond those. The targets take turns, round by round, so that whatever else the
machine does falls on all of them. LiteLLM belongs in an environment of its own.

    python benchmarks/serving.py --litellm /path/to/venv/bin/litellm --rounds 5 --output serving.json
    python benchmarks/serving.py --answer-seconds 1 --rounds 5
"""

import argparse
import asyncio
import hashlib
import json
import math
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from lookahead_router import Router

CANDIDATES = ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct")
PROMPTS = (Path(__file__).parents[1] / "examples" / "prompts.txt").read_text().splitlines()
KEY = "sk-" + hashlib.sha256(b"benchmark").hexdigest()


FIGURES = ("p50", "p99", "rate", "cpu_ms")
"""Milliseconds of a request, requests a second, and what the asked process computes for one, in milliseconds."""
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "yes " * 100}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [CHOICE], "usage": USAGE}


def reply(slept: float) -> bytes:
    """An answer that says how long it took."""
    body = json.dumps({"slept": slept, **ANSWER}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


AT_ONCE = reply(0.0)


class Candidate(asyncio.Protocol):
    """Answers every request, at once or after a while, with little work of its own."""

    def __init__(self, seconds: float, rng: random.Random) -> None:
        self._seconds, self._rng = seconds, rng

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)content-length: *(\d+)", self.buffer[:end])
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            if not self._seconds:
                self.transport.write(AT_ONCE)
                continue
            loop, began = asyncio.get_running_loop(), time.perf_counter()
            # Of different lengths, so that clients do not come back all at once.
            loop.call_later(self._seconds * self._rng.uniform(0.5, 1.5), self._answer, began)

    def _answer(self, began: float) -> None:
        self.transport.write(reply(time.perf_counter() - began))


async def be_candidate(port: int, seconds: float) -> None:
    rng = random.Random(0)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Candidate(seconds, rng), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(stack: ExitStack, command: list[str], port: int, log: Path, more: dict[str, str] | None = None) -> int:
    """Starts a process, which is up once its port takes connections; its id."""
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", **(more or {})}
    process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT, env=environment)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    end = time.monotonic() + 120
    while True:
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.pid
        time.sleep(0.1)


async def one_client(port: int, model: str, n: int, first: int, seconds: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for k in range(n):
        text = PROMPTS[(first + k) % len(PROMPTS)]
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", answer)
        if b" 200 " not in answer[:20] or length is None:
            raise SystemExit(f"port {port} answered {answer!r}")
        content = await reader.readexactly(int(length[1]))
        elapsed = time.perf_counter() - started
        slept = re.search(rb'"slept": *([0-9.e-]+)', content)
        seconds.append(elapsed - (float(slept[1]) if slept else 0.0))
    writer.close()


async def measure(port: int, model: str, n_clients: int, n_requests: int) -> tuple[np.ndarray, float]:
    """Milliseconds of each request, and requests a second."""
    seconds: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(one_client(port, model, n_requests // n_clients, 7 * k, seconds) for k in range(n_clients)))
    return 1e3 * np.array(seconds), len(seconds) / (time.perf_counter() - started)


def routing_alone(n: int, rate: float = math.inf) -> np.ndarray:
    """Milliseconds of the decision in a process that does nothing else.

    Args:
        n: decisions.
        rate: of them a second, at random moments: a core that slept in between, and its caches, make each one slower.
    """
    router = Router.from_pretrained(candidates=CANDIDATES, n_threads=1)  # as the server does
    rng, times = random.Random(0), []
    n_warm = 20 if rate == math.inf else 3
    for k in range(n + n_warm):
        time.sleep(rng.expovariate(rate) if rate < math.inf else 0.0)
        started = time.perf_counter()
        router.route(PROMPTS[k % len(PROMPTS)])
        times.append(1e3 * (time.perf_counter() - started))
    return np.array(times[n_warm:])


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far; of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def targets(
    stack: ExitStack, folder: Path, litellm: str | None, answer_seconds: float, beside: Path | None
) -> dict[str, tuple[int, str, int]]:
    """Port and model of everything that is asked, and the process behind it."""
    behind, ours = free_port(), free_port()
    be = [sys.executable, __file__, "--be-candidate", str(behind), "--answer-seconds", str(answer_seconds)]
    candidate = start(stack, be, behind, folder / "candidate.log")
    url = f"http://127.0.0.1:{behind}/v1"
    pool = folder / "pool.json"
    entries = [{"name": name, "base_url": url, "max_concurrency": 1000} for name in CANDIDATES]
    pool.write_text(json.dumps({"candidates": entries}))
    command = [sys.executable, "-m", "lookahead_router.cli.main", "serve", str(pool), "--port", str(ours)]
    server = start(stack, [*command, "--log-level", "warning"], ours, folder / "ours.log")
    found = {
        "the candidate itself": (behind, CANDIDATES[1], candidate),
        "our server, candidate named": (ours, CANDIDATES[1], server),
        "our server, auto": (ours, "auto", server),
    }
    if beside is not None:
        port = free_port()
        command = [sys.executable, "-m", "lookahead_router.cli.main", "serve", str(pool), "--port", str(port)]
        paths = {"PYTHONPATH": str(beside.resolve())}
        other = start(stack, [*command, "--log-level", "warning"], port, folder / "beside.log", paths)
        found["the other checkout, auto"] = (port, "auto", other)
    if litellm is not None:
        port = free_port()
        config = folder / "litellm.json"
        group = [
            {"model_name": "group", "litellm_params": {"model": f"openai/{name}", "api_base": url, "api_key": KEY}}
            for name in CANDIDATES
        ]
        config.write_text(json.dumps({"model_list": group, "litellm_settings": {"telemetry": False}}))
        command = [litellm, "--config", str(config), "--port", str(port), "--telemetry", "False"]
        proxy = start(stack, command, port, folder / "litellm.log", {"LITELLM_MASTER_KEY": KEY, "PYTHONPATH": ""})
        found["LiteLLM's proxy, plain routing"] = (port, "group", proxy)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", help="its command, in an environment of its own")
    parser.add_argument("--beside", type=Path, help="another checkout of this repository, whose server takes part")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--answer-seconds", type=float, default=0.0, help="mean of what an answer takes")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--be-candidate", type=int)
    arguments = parser.parse_args()
    if arguments.be_candidate:
        asyncio.run(be_candidate(arguments.be_candidate, arguments.answer_seconds))
        return
    results: dict[str, dict] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asked = targets(stack, folder, arguments.litellm, arguments.answer_seconds, arguments.beside)
        alone: list[float] = []
        for n_clients in (1, 10, 100):
            for port, model, _ in asked.values():  # warm
                asyncio.run(measure(port, model, n_clients, 2 * n_clients))
        for number in range(arguments.rounds):
            alone.append(float(np.median(routing_alone(100))))
            for n_clients in (1, 10, 100):
                for name, (port, model, pid) in asked.items():
                    n = arguments.requests if n_clients < 100 else 3 * arguments.requests
                    if arguments.answer_seconds:
                        n = max(20, 10 * n_clients)
                    before = cpu_seconds(pid)
                    times, rate = asyncio.run(measure(port, model, n_clients, n))
                    cpu_ms = 1e3 * (cpu_seconds(pid) - before) / len(times)
                    figures = results.setdefault(name, {}).setdefault(str(n_clients), {each: [] for each in FIGURES})
                    figures["p50"].append(float(np.percentile(times, 50)))
                    figures["p99"].append(float(np.percentile(times, 99)))
                    figures["rate"].append(rate)
                    figures["cpu_ms"].append(cpu_ms)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    for name, by_clients in results.items():
        for n_clients, figures in by_clients.items():
            medians = {key: round(statistics.median(values), 2) for key, values in figures.items()}
            print(f"{name:32} {n_clients:>4} clients {medians}")
    pass_ms = statistics.median(alone)
    print(f"routing alone, one after the other: {pass_ms:.2f} ms; a routed request may add {1.3 * pass_ms + 3:.2f} ms")
    if arguments.answer_seconds:
        for n_clients in (1, 10, 100):
            pass_ms = float(np.median(routing_alone(max(20, n_clients), n_clients / arguments.answer_seconds)))
            print(f"at the pace of {n_clients} clients: {pass_ms:.2f} ms; it may add {1.3 * pass_ms + 3:.2f} ms")
    itself = results["the candidate itself"]
    for name in (name for name in results if name.endswith("auto")):
        for n_clients in itself:
            added = statistics.median(results[name][n_clients]["p50"]) - statistics.median(itself[n_clients]["p50"])
            print(f"added by {name}, {n_clients} clients: {added:.2f} ms")
    if arguments.output:
        arguments.output.write_text(json.dumps({"targets": results, "routing_alone_ms": alone}, indent=2))


if __name__ == "__main__":
    main()
