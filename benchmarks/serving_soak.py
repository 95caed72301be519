"""Mixed load while candidates fail on purpose: whether requests get lost, are answered twice, or memory grows.

Every candidate answers 5 % of its calls with 429, 2 % with 500, cuts 1 % of its streams off at a random place, and is
slow in 1 %. A prompt holds a number, which answers repeat.

    python benchmarks/serving_soak.py --minutes 30 --rate 20
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path

from serving import free_port, start

NAMES = ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct", "mistral-7b-instruct-v0.3")
SLOW_SECONDS = 1.5
TEXTS = ("Say it again", "Prove that there are infinitely many primes", "hi", "Write a sorting function in Go " * 20)
WORDS = 8


async def answer(reader, writer, rng: random.Random, notes) -> None:
    """One connection of a candidate."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
            body = json.loads(await reader.readexactly(length))
            number, name = re.search(r"#(\d+)#", json.dumps(body))[1], body["model"]
            fault = rng.random()
            if fault < 0.07:
                status = b"429 Too Many Requests\r\nretry-after: 0" if fault < 0.05 else b"500 Oops"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 2\r\n\r\n{}")
                notes.write(f"{name} {number} {'429' if fault < 0.05 else '500'}\n")
                continue
            if fault < 0.08:
                await asyncio.sleep(SLOW_SECONDS)
            text = " ".join([f"#{number}#", *["word"] * WORDS])
            if not body.get("stream"):
                message = {"role": "assistant", "content": text}
                usage = {"prompt_tokens": 5, "completion_tokens": WORDS, "total_tokens": 5 + WORDS}
                content = json.dumps(
                    {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
                ).encode()
                notes.write(f"{name} {number} whole\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))
                continue
            pieces = [{"role": "assistant", "content": ""}, *({"content": f"{word} "} for word in text.split())]
            events = [{"choices": [{"delta": piece}]} for piece in pieces]
            events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
            lines = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"]
            cut = rng.randrange(len(lines) - 2) if 0.08 <= fault < 0.09 else None
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for line in lines[:cut]:
                writer.write(b"%x\r\n%s\r\n" % (len(line), line))
                await writer.drain()
            if cut is not None:
                notes.write(f"{name} {number} {'cut' if cut > 1 else 'cut before a word'}\n")
                return
            notes.write(f"{name} {number} whole\n")
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        notes.flush()
        writer.close()


async def be_candidates(port: int, notes: Path) -> None:
    rng = random.Random(1)
    with notes.open("w", buffering=1) as file:  # a note is there as soon as the answer is
        server = await asyncio.start_server(lambda r, w: answer(r, w, rng, file), "127.0.0.1", port, backlog=512)
        await server.serve_forever()


async def ask(port: int, number: int, rng: random.Random) -> str:
    """What became of a request, in a word."""
    stream = rng.random() < 0.5
    text = f"{rng.choice(TEXTS)} #{number}#"
    body = {"model": rng.choice(("auto", "auto", "auto:0.9", "auto:cheap")), "stream": stream}
    content = json.dumps({**body, "messages": [{"role": "user", "content": text}]}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        async with asyncio.timeout(60):
            answered = (await reader.read()).decode()
    except (TimeoutError, ConnectionError) as error:
        return type(error).__name__
    finally:
        writer.close()
    if " 200 " not in answered[:15]:
        return f"status {answered[9:12]}"
    if f"#{number}#" not in answered:
        return (
            "another one's answer"
            if "#" in answered
            else "cut before the number"
            if "broke off" in answered
            else "nothing"
        )
    if not stream:
        return "whole"
    if "data: [DONE]" in answered:
        return "stream whole"
    return "stream ended with an error" if "stream_interrupted" in answered else "STREAM WITHOUT END"


async def load(port: int, seconds: float, rate: float, outcomes: dict[int, str]) -> None:
    rng, tasks = random.Random(2), set()
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1

        async def one(number: int = number) -> None:
            outcomes[number] = await ask(port, number, rng)

        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(rng.expovariate(rate))
    await asyncio.gather(*tasks)


async def watch(pid: int, sizes: list[float], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        sizes.append(pages * 4096 / 1e6)
        print(f"{len(sizes) * every:.0f} s, {sizes[-1]:.1f} MB", file=sys.stderr, flush=True)


async def run(port: int, pid: int, arguments, outcomes: dict[int, str], sizes: list[float]) -> None:
    watching = asyncio.create_task(watch(pid, sizes, 15.0))
    await load(port, 60 * arguments.minutes, arguments.rate, outcomes)
    watching.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--be-candidates", nargs=2)
    arguments = parser.parse_args()
    if arguments.be_candidates:
        asyncio.run(be_candidates(int(arguments.be_candidates[0]), Path(arguments.be_candidates[1])))
        return
    outcomes: dict[int, str] = {}
    sizes: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        behind, port, notes = free_port(), free_port(), folder / "notes.txt"
        be = [sys.executable, __file__, "--be-candidates", str(behind), str(notes)]
        start(stack, be, behind, folder / "candidates.log")
        url = f"http://127.0.0.1:{behind}/v1"
        prices = {"input_price": 1, "output_price": 1}
        entries = [{"name": name, "base_url": url, "timeout": 10, "max_concurrency": 100, **prices} for name in NAMES]
        (folder / "pool.json").write_text(json.dumps({"candidates": entries}))
        command = [sys.executable, "-m", "lookahead_router.cli.main", "serve", str(folder / "pool.json")]
        options = ["--port", str(port), "--decisions", str(folder / "decisions.jsonl"), "--log-level", "warning"]
        pid = start(stack, [*command, *options], port, folder / "server.log")
        asyncio.run(run(port, pid, arguments, outcomes, sizes))
        time.sleep(1)
        given: dict[str, Counter[str]] = defaultdict(Counter)
        faults: Counter[str] = Counter()
        for line in notes.read_text().splitlines():
            _, number, what = line.split(" ", 2)
            given[number][what] += 1
            faults[what] += 1
        log = (folder / "server.log").read_text()
    print(f"{len(outcomes)} requests in {arguments.minutes:g} minutes; the candidates' calls: {dict(faults)}")
    print(f"outcomes: {dict(Counter(outcomes.values()))}")
    print(f"numbers that two calls answered whole: {sum(each['whole'] > 1 for each in given.values())}")
    refused = [str(number) for number, what in outcomes.items() if what.startswith("status")]
    n_lost = sum(sum(given[number].values()) < len(NAMES) for number in refused)
    print(f"refused though some candidate had not been asked: {n_lost} of {len(refused)} refused")
    print(f"begun anew after a cut: {sum(bool(each['cut before a word']) for each in given.values())}")
    quarter = max(1, len(sizes) // 4)
    parts = [sizes[k * quarter : (k + 1) * quarter] for k in range(4)]
    print(f"resident memory by quarters of the time: {[round(sum(part) / max(1, len(part)), 1) for part in parts]} MB")
    print(f"errors in the server's log: {log.count(' ERROR ')}\n{log[-500:]}")


if __name__ == "__main__":
    main()
