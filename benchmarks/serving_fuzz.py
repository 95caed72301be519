"""10,000 malformed requests at the server: what it answers, whether it lives, and whether a key or a prompt leaks.

python benchmarks/serving_fuzz.py --requests 10000 --seed 0
"""

import argparse
import copy
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from serving import CANDIDATES, free_port, start

from lookahead_router.server.keys import new_key

MARK = "PRIVATE-PROMPT-5f3a"
PATIENCE_SECONDS = 4.0
"""After which a client whose request is not whole gives up."""
UPSTREAM = "sk-upstream-PRIVATE-KEY-91c2"
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/route", "/v1/feedback")
VALID = {
    "/v1/chat/completions": {
        "model": "auto",
        "messages": [
            {"role": "system", "content": "x"},
            {"role": "user", "content": [{"type": "text", "text": MARK}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
            {"role": "tool", "tool_call_id": "c", "content": MARK},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "stream": False,
        "n": 1,
        "response_format": {"type": "json_object"},
    },
    "/v1/completions": {"model": CANDIDATES[0], "prompt": MARK, "max_tokens": 5},
    "/v1/responses": {"model": "auto", "input": [{"role": "user", "content": MARK}], "previous_response_id": "r"},
    "/v1/route": {"messages": [{"role": "user", "content": MARK}], "curve": True, "model": "auto:0.9"},
    "/v1/feedback": {"decision_id": "dec_0", "score": 0.5},
}
ODD = (
    None, True, 0, -1, 1.5, 10**30, -(10**300), 1e308, "", " ", MARK, "\ud800", "\x00", "\u202e", "a" * 99_999, [], {},
    [[]], [None], [{}], {"": None}, {"role": MARK}, {"type": {"type": []}}, {"content": {"content": 3}}, ["user", MARK],
    "data:image/png;base64,AAAA", {"type": "image_url", "image_url": 3}, "auto:", "auto:nan", "auto:inf", "auto:-1",
)  # fmt: skip

EXTRAS = (
    "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "Content-Encoding: gzip\r\n", "X: \x01\x02\r\n",
    "Upgrade: websocket\r\nConnection: upgrade\r\n", "Origin: http://evil\r\n", ": \r\n",
    "x-lookahead-thread: \xff\r\n", "A" * 70_000 + ": b\r\n",
)  # fmt: skip
ODD_PATHS = (
    "/v1/%ff", "/v1/../../etc/passwd", "//", "*", "/v1/chat/completions/", "/v1/models/%00", "/" + "a" * 9000
)  # fmt: skip


def places(value, at=()):
    """The way to every value in a JSON value."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def bent(rng: random.Random, record):
    """The record with some of its values replaced, taken out, repeated or wrapped."""
    record, odd = copy.deepcopy(record), copy.deepcopy(ODD)  # what is put in may be bent in its turn
    for _ in range(rng.randint(1, 3)):
        at = rng.choice(list(places(record)))
        if not at:
            record = rng.choice((record, rng.choice(odd)))
            continue
        inner = record
        for key in at[:-1]:
            inner = inner[key]
        old, how = inner[at[-1]], rng.randrange(4)
        if how == 0 and isinstance(inner, dict):
            del inner[at[-1]]
        else:
            inner[at[-1]] = copy.deepcopy((rng.choice(odd), [old], [old] * 50, rng.choice(odd))[how])
    return record


def body_of(rng: random.Random, path: str) -> bytes:
    """A body that is not as it should be."""
    text = json.dumps(bent(rng, VALID[path])).encode()
    how = rng.randrange(12)
    if how == 0:
        return text[: rng.randrange(len(text) + 1)]
    if how == 1:
        return rng.randbytes(rng.randrange(300)) + MARK.encode()
    if how == 2:
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.randbytes(3) + text[at:]
    if how == 3:
        depth = rng.choice((100, 900, 990, 5000, 200_000))
        return b'{"model":"auto","messages":[{"role":"user","content":"x"}],"a":' + b"[" * depth + b"]" * depth + b"}"
    if how == 4:
        return rng.choice(
            (b"NaN", b"[1e999]", b'{"a":NaN}', b'{"a":1' + b"0" * 5000 + b"}", b"\xef\xbb\xbf{}", b"\xff\xfe{}")
        )
    return text


def request_of(rng: random.Random, key: str) -> bytes:
    """A request, of which at least one thing is wrong as a rule."""
    path = rng.choice(PATHS)
    body = body_of(rng, path)
    method, length, extra, version = "POST", str(len(body)), "", "HTTP/1.1"
    authorization = f"Bearer {key}"
    how = rng.randrange(30)
    if how == 0:
        method = rng.choice(("GET", "PUT", "DELETE", "BREW", "post", "P\x00ST", ""))
    elif how == 1:
        path = rng.choice(ODD_PATHS)
    elif how == 2:
        length = rng.choice(("-1", "abc", "9" * 30, str(len(body) + 1), "0", str(max(0, len(body) - 3)), "1, 2"))
    elif how == 3:
        extra = rng.choice(EXTRAS)
    elif how == 4:
        version = rng.choice(("HTTP/0.9", "HTTP/2.0", "HTTP/1.0", "", "ICY"))
    elif how == 5:
        authorization = rng.choice(("", "Bearer ", "Bearer wrong", "Basic " + key, "Bearer " + "x" * 5000, "\x7f"))
    elif how == 6:
        return rng.randbytes(rng.randrange(1, 400))
    head = (
        f"{method} {path} {version}\r\nHost: localhost\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {length}\r\n{extra}Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body


def ask(port: int, content: bytes, pause: float = 0.0) -> str:
    """The status of the answer, or how there was none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
            if pause:
                half = len(content) // 2
                connection.sendall(content[:half])
                time.sleep(pause)
                content = content[half:]
            connection.sendall(content)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
    except (ConnectionError, BrokenPipeError):
        return "connection ended"
    except TimeoutError:
        return "still waiting for the rest"
    return answer[9:12].decode("latin-1") if answer else "connection ended"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = new_key(folder / "keys.json", "fuzz")
        behind, port = free_port(), free_port()
        benchmark = str(Path(__file__).with_name("serving.py"))
        start(stack, [sys.executable, benchmark, "--be-candidate", str(behind)], behind, folder / "candidate.log")
        url = f"http://127.0.0.1:{behind}/v1"
        entries = [{"name": name, "base_url": url, "api_key_env": "BENCH_KEY"} for name in CANDIDATES]
        (folder / "pool.json").write_text(json.dumps({"candidates": entries}))
        options = [
            "--keys",
            "keys.json",
            "--decisions",
            "decisions.jsonl",
            "--header-seconds",
            "1",
            "--port",
            str(port),
        ]
        options = [str(folder / each) if each.endswith((".json", ".jsonl")) else each for each in options]
        command = [sys.executable, "-m", "lookahead_router.cli.main", "serve", str(folder / "pool.json"), *options]
        start(stack, command, port, folder / "server.log", {"BENCH_KEY": UPSTREAM})
        outcomes: Counter[str] = Counter()
        whole = json.dumps(VALID["/v1/chat/completions"]).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
        good = f"{head}Content-Length: {len(whole)}\r\n\r\n".encode() + whole
        huge = good.replace(b"Content-Length: %d" % len(whole), b"Content-Length: 30000000") + b"x" * 3_000_000
        for n in range(arguments.requests):
            if n % 500 == 499:
                outcomes["huge: " + ask(port, huge)] += 1
                outcomes["in two halves, 2 s apart: " + ask(port, good, 2.0)] += 1
                print(f"{n + 1} of {arguments.requests}", file=sys.stderr, flush=True)
            else:
                outcomes[ask(port, request_of(rng, key))] += 1
        alive = ask(port, good)
        written = "".join(path.read_text(errors="replace") for path in folder.iterdir() if path.suffix != ".db")
        log = (folder / "server.log").read_text(errors="replace")
    print(json.dumps(dict(sorted(outcomes.items())), indent=2))
    print(f"a good request afterwards: {alive}")
    for name, secret in (("prompt", MARK), ("client's key", key), ("candidate's key", UPSTREAM)):
        print(f"{name} in a log or a file: {secret in written}")
    print(f"errors nobody expected, in the log: {sum(' ERROR ' in line for line in log.splitlines())}")
    print("".join(line + "\n" for line in log.splitlines() if " ERROR " in line)[:3000])


if __name__ == "__main__":
    main()
