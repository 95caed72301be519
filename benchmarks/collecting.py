"""How close `collect` comes to the ideal time, beside a bare loop of aiohttp and OpenAI's own client.

    python benchmarks/collecting.py [--prompts 1000] [--candidates 5] [--delay 0.05] [--concurrency 1,2,4,8]

The server runs in a process of its own and answers every call after the delay. Ideal is the time of the calls alone at
that concurrency. Neither peer retries, keeps a budget or writes anything. Beside them, `collect` of functions that wait
as long, without HTTP.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lookahead_router.live import Completion, PoolConfig, collect


async def serve(delay: float) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line)
                model = json.loads(await reader.readexactly(length))["model"]
                await asyncio.sleep(delay)
                message = {"role": "assistant", "content": "An answer of a few words."}
                body = {
                    "id": "x", "object": "chat.completion", "created": 0, "model": model,
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16},
                }  # fmt: skip
                content = json.dumps(body).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def ours(url: str, prompts: list[str], n_candidates: int, concurrency: int) -> None:
    settings = {"base_url": url, "input_price": 1, "output_price": 2, "max_concurrency": concurrency}
    pool = PoolConfig(candidates=[{"name": f"candidate-{k}", **settings} for k in range(n_candidates)])
    with tempfile.TemporaryDirectory() as folder:
        assert collect(prompts, pool, output=Path(folder, "answers.jsonl"), budget_usd=1000).is_complete


def functions(url: str, prompts: list[str], n_candidates: int, concurrency: int, delay: float = 0.05) -> None:
    """Without HTTP: what `collect` adds by itself."""

    async def answer(prompt: str) -> Completion:
        await asyncio.sleep(delay)
        return Completion("An answer of a few words.", input_tokens=10, output_tokens=6)

    names = [f"candidate-{k}" for k in range(n_candidates)]
    settings = {name: {"input_price": 1, "output_price": 2, "max_concurrency": concurrency} for name in names}
    pool = dict.fromkeys(names, answer)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "answers.jsonl")
        assert collect(prompts, pool, settings=settings, output=output, budget_usd=1000).is_complete


def bare(url: str, prompts: list[str], n_candidates: int, concurrency: int) -> None:
    import aiohttp

    async def ask(client: aiohttp.ClientSession, model: str, prompt: str) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        async with client.post(f"{url}/chat/completions", json=body) as answer:
            await answer.json()

    asyncio.run(_each(lambda: aiohttp.ClientSession(), ask, prompts, n_candidates, concurrency))


def openai(url: str, prompts: list[str], n_candidates: int, concurrency: int) -> None:
    from openai import AsyncOpenAI

    async def ask(client: AsyncOpenAI, model: str, prompt: str) -> None:
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])

    asyncio.run(_each(lambda: AsyncOpenAI(base_url=url, api_key="none"), ask, prompts, n_candidates, concurrency))


async def _each(make: Callable, ask: Callable, prompts: list[str], n_candidates: int, concurrency: int) -> None:
    async def work(client, model: str, waiting: list[str]) -> None:
        while waiting:
            await ask(client, model, waiting.pop())

    async def of(model: str) -> None:
        waiting = list(prompts)
        async with make() as client:
            await asyncio.gather(*(work(client, model, waiting) for _ in range(concurrency)))

    await asyncio.gather(*(of(f"candidate-{k}") for k in range(n_candidates)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=5)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--concurrency", default="1,2,4,8")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.delay))
    command = [sys.executable, __file__, "--serve", "--delay", str(options.delay)]
    prompts = [f"Prompt {n} of the measurement: what is there to say about it?" for n in range(options.prompts)]
    print(f"{options.prompts} prompts x {options.candidates} candidates, {options.delay * 1000:.0f} ms a call")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        runs = (ours, partial(functions, delay=options.delay), bare, openai)
        for run in runs:  # imports and connections
            run(url, prompts[:5], options.candidates, 1)
        for concurrency in map(int, options.concurrency.split(",")):
            ideal = options.prompts * options.delay / concurrency
            for name, run in zip(("collect", "collect, functions", "bare aiohttp", "openai"), runs, strict=True):
                start, cpu = time.perf_counter(), time.process_time()
                run(url, prompts, options.candidates, concurrency)
                seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
                load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
                print(
                    f"{concurrency} at a time each: {name:18} {seconds:6.1f} s, {seconds / ideal:.2f} x ideal "
                    f"({ideal:.1f} s), {cpu:.1f} s of CPU; {load}",
                    flush=True,
                )
        server.kill()


if __name__ == "__main__":
    main()
