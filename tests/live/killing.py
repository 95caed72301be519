"""Runs a command against a server and kills it, again and again, until it ends by itself."""

import os
import random
import signal
import subprocess
import sys
import time

from servers.openai_server import OpenAIServer


def run(*arguments) -> subprocess.Popen:
    code = "import sys; from lookahead_router.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def kill_at_random(server: OpenAIServer, arguments, n_kills: int, seed: int, most_requests: int = 12) -> int:
    """Runs the command until it ends, having killed it up to so often; how often it was."""
    rng = random.Random(seed)
    killed = 0
    while True:
        before, wanted = len(server.requests), rng.randint(1, most_requests)
        with run(*arguments) as process:
            while killed < n_kills and process.poll() is None and len(server.requests) - before < wanted:
                time.sleep(0.002)
            if killed < n_kills and process.poll() is None:
                time.sleep(rng.random() * 0.03)
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            return killed
