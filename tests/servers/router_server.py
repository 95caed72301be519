"""A server in a process of its own, on a loopback port, in front of the tests' OpenAI servers."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from servers.openai_server import OpenAIServer

CANDIDATES = ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct")
STRONG, CHEAP = CANDIDATES
START_SECONDS = 60


def sum_of(figures: str, name: str, **labels: str) -> float:
    """Sum over what has these labels, of figures as Prometheus reads them."""
    total = 0.0
    for line in figures.splitlines():
        found = re.fullmatch(rf"lookahead_router_{name}(?:\{{(.*)\}})? (\S+)", line)
        if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
            total += float(found[2])
    return total


class ServerProcess:
    """`lookahead-router serve` with these options; `lines` are what it logs."""

    def __init__(self, pool: Path, *options: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "lookahead_router.cli.main", "serve", str(pool), "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
        self.pool = pool
        self.lines: list[str] = []
        self._is_up = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._is_up.wait(START_SECONDS), self.log
        self.url = next(found[1] for line in self.lines if (found := re.search(r"at (http://\S+)/v1", line)))
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            if " models at http" in line:
                self._is_up.set()
        self._is_up.set()

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def chat(self, text: str = "hello", **fields) -> httpx.Response:
        headers = {"content-type": "application/json", **(fields.pop("headers", None) or {})}
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
        return self.client.post("/v1/chat/completions", content=json.dumps(body), headers=headers)

    def metric(self, name: str, **labels: str) -> float:
        """Sum over what has these labels."""
        return sum_of(self.client.get("/metrics").text, name, **labels)

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Ends it as an init system does; its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        self.process.stdout.close()
        return code


def write_pool(folder: Path, urls: dict[str, str], **fields) -> Path:
    """A pool file of candidates by name and URL; `fields` are those of all candidates."""
    path = folder / "pool.json"
    entries = [{"name": name, "base_url": url, **fields} for name, url in urls.items()]
    path.write_text(json.dumps({"candidates": entries}))
    return path


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class World:
    """One server process, and a server behind it for each candidate."""

    def __init__(self, stack: ExitStack, folder: Path, *options: str, env=None, **fields) -> None:
        self.behind = {name: stack.enter_context(OpenAIServer()) for name in CANDIDATES}
        self._scripts = {name: server.script for name, server in self.behind.items()}
        self.pool = write_pool(folder, {name: server.url for name, server in self.behind.items()}, **fields)
        self.folder = folder
        self.server = ServerProcess(self.pool, *options, env=env)
        stack.callback(self.server.end)

    def reset(self) -> None:
        for name, server in self.behind.items():
            server.script = self._scripts[name]
            server.requests.clear()
            server.answered.clear()

    @property
    def n_requests(self) -> int:
        return sum(len(server.requests) for server in self.behind.values())

    def decisions(self) -> list[dict]:
        """What the log holds, but for a line that is just being written."""
        path = self.folder / "decisions.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def decision(self, decision_id: str) -> dict:
        """The logged decision of this id, once it is there."""
        found: list[dict] = []

        def is_there() -> bool:
            found[:] = [each for each in self.decisions() if each["id"] == decision_id and each["kind"] != "feedback"]
            return bool(found)

        until(is_there)
        return found[0]
