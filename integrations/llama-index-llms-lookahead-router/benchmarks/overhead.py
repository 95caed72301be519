"""What routing costs a caller, and how long it keeps the event loop waiting.

    python benchmarks/overhead.py [--calls 100] [--router FOLDER_OR_HUB_ID]

Candidates answer at once, so what is left is the predictor and the adapter. A stall is how late a timer of 1 ms
wakes up; the loop's own share is measured with the same calls sent to a candidate directly.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.llms.mock import MockLLM
from llama_index.core.tools import ToolMetadata
from llama_index.selectors.lookahead_router import LookaheadSelector
from lookahead_router import CandidatePool, Prediction, Router

from llama_index.llms.lookahead_router import LookaheadRouterLLM

PROMPT = "Write a Python function that merges two sorted lists, and explain why it takes linear time. "


class InstantPredictor:
    """Answers at once, so that what is left is the adapter."""

    name, revision = "instant", None

    def __init__(self, pool: CandidatePool) -> None:
        self.pool = pool

    def predict(self, prompts: Sequence[str]) -> Prediction:
        return Prediction(self.pool, np.full((len(prompts), len(self.pool)), 0.5))


def median_milliseconds(calls: Mapping[str, Callable[[], object]], n_rounds: int) -> dict[str, float]:
    """In turn, so that what else the machine does falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(n_rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(each) for name, each in times.items()}


async def concurrent(call: Callable[[int], Awaitable[object]], n_calls: int) -> tuple[float, float]:
    """Seconds for all calls at once, and the longest stall in milliseconds."""
    stalls = [0.0]

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - start - 0.001)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    start = time.perf_counter()
    await asyncio.gather(*(call(i) for i in range(n_calls)))
    seconds = time.perf_counter() - start
    await asyncio.sleep(0.01)
    watching.cancel()
    return seconds, 1000 * max(stalls)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--router", default=None)
    options = parser.parse_args()

    router = Router.from_pretrained(options.router, n_threads=1)
    direct: LLM = MockLLM(max_tokens=1)
    candidates = dict.fromkeys(router.pool.names, direct)
    llm, selector = LookaheadRouterLLM(candidates, router), LookaheadSelector(router)
    tools = [ToolMetadata(name=name, description="") for name in router.pool.names]
    messages = [ChatMessage(content=PROMPT)]
    llm.chat(messages)  # the first pass loads

    instant = Router(InstantPredictor(router.pool))
    instant_llm, instant_selector = LookaheadRouterLLM(candidates, instant), LookaheadSelector(instant)
    times = median_milliseconds(
        {
            "predict": lambda: router.route(PROMPT),
            "route": lambda: instant.route(PROMPT),
            "chat": lambda: direct.chat(messages),
            "routed": lambda: instant_llm.chat(messages),
            "select": lambda: instant_selector.select(tools, PROMPT),
        },
        options.calls,
    )
    print(f"medians of {options.calls}: Router.route with the real predictor {times['predict']:.2f} ms")
    print(f"adapter, LookaheadRouterLLM.chat: {times['routed'] - times['route'] - times['chat']:.2f} ms")
    print(f"adapter, LookaheadSelector.select: {times['select'] - times['route']:.2f} ms")

    for name, call in {
        "direct achat": lambda i: direct.achat([ChatMessage(content=f"{PROMPT} {i}")]),
        "routed achat": lambda i: llm.achat([ChatMessage(content=f"{PROMPT} {i}")]),
        "aselect": lambda i: selector.aselect(tools, f"{PROMPT} {i}"),
    }.items():
        seconds, stall = await concurrent(call, options.calls)
        print(f"{options.calls} concurrent {name}: {seconds:.2f} s, longest loop stall {stall:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
