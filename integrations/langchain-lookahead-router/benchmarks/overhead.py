"""What the adapter costs per call beyond routing and answering, and what 200 calls at once do to the loop.

Candidates answer at once, so that nothing but the adapter is left to measure:

    python benchmarks/overhead.py                  # a predictor that takes no time, then the embedded one
    python benchmarks/overhead.py --calls 2000
"""

import argparse
import asyncio
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from lookahead_router import CandidatePool, Prediction, Router

sys.path.insert(0, str(Path(__file__).parents[1]))
from langchain_lookahead_router import ChatLookaheadRouter

PROMPT = "Write a Python function that returns the n-th Fibonacci number."
CONCURRENT = 200


class InstantModel(BaseChatModel):
    """Answers at once, or after a wait that leaves the loop free."""

    seconds: float = 0.0

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done"))])

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        await asyncio.sleep(self.seconds)
        return self._generate(messages)

    @property
    def _llm_type(self):
        return "instant"


class InstantPredictor:
    """Takes no time, or sleeps as a predictor computes: without holding the interpreter."""

    name, revision = "instant", None

    def __init__(self, names, seconds=0.0):
        self.pool, self.seconds = CandidatePool(names), seconds

    def predict(self, prompts):
        time.sleep(self.seconds)
        return Prediction(self.pool, np.tile(np.linspace(1.0, 0.5, len(self.pool)), (len(prompts), 1)))


def medians_ms(calls, n_calls):
    """Of calls made in turn, each of which returns the seconds it spent predicting; those do not count."""
    times = [[] for _ in calls]
    for _ in range(n_calls + 20):  # the first few warm up
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            predicting = call()
            own.append(time.perf_counter() - start - predicting)
    return [statistics.median(own[20:]) * 1000 for own in times]


async def amedians_ms(calls, n_calls):
    """Like `medians_ms`."""
    times = [[] for _ in calls]
    for _ in range(n_calls + 20):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter()
            predicting = await call()
            own.append(time.perf_counter() - start - predicting)
    return [statistics.median(own[20:]) * 1000 for own in times]


async def at_once(model):
    """Seconds of the calls together, and the longest time for which the loop was not free."""
    stalls, done = [0.0], asyncio.Event()

    async def tick():
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - before - 0.001)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    start = time.perf_counter()
    await asyncio.gather(*(model.ainvoke(f"{PROMPT} {i}") for i in range(CONCURRENT)))
    seconds = time.perf_counter() - start
    done.set()
    await ticker
    return seconds, max(stalls)


def measure(label, router, n_calls):
    """Routing by hand, then calling the model, against the same through the adapter.

    The model's call belongs to both: after a prediction it finds the processor's caches cold.
    """
    model = InstantModel()
    llm = ChatLookaheadRouter(candidates=dict.fromkeys(router.pool.names, model), router=router)

    def by_hand():
        decision = router.route(PROMPT)
        model.invoke(PROMPT)
        return decision.latency_seconds

    def through():
        return llm.invoke(PROMPT).response_metadata["lookahead_router"]["latency_seconds"]

    async def aby_hand():
        decision = await asyncio.to_thread(router.route, PROMPT)
        await model.ainvoke(PROMPT)
        return decision.latency_seconds

    async def athrough():
        return (await llm.ainvoke(PROMPT)).response_metadata["lookahead_router"]["latency_seconds"]

    times = {
        "invoke": medians_ms((by_hand, through), n_calls),
        "ainvoke": asyncio.run(amedians_ms((aby_hand, athrough), n_calls)),
    }
    for method, (hand, adapter) in times.items():
        print(f"| {label}, {method} | {hand:.3f} | {adapter:.3f} | **{adapter - hand:.3f}** |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"langchain-core {version('langchain-core')}, Python {sys.version.split()[0]}")
    print("\n| milliseconds, medians, less the prediction | by hand | through the adapter | overhead |")
    print("|---|--:|--:|--:|")
    embedded = Router.from_pretrained()
    names = embedded.pool.names
    measure("no time", Router(InstantPredictor(names)), arguments.calls)
    measure("embedded", embedded, max(arguments.calls // 10, 20))
    print(
        f"\n| {CONCURRENT} ainvoke at once, answers after 50 ms | seconds | calls/s | longest stall of the loop, ms |"
    )
    print("|---|--:|--:|--:|")
    slow = InstantModel(seconds=0.05)
    for label, router in (
        ("the model alone", None),
        ("predictor of no time", Router(InstantPredictor(names))),
        ("predictor of 25 ms", Router(InstantPredictor(names, seconds=0.025))),
        ("embedded predictor", embedded),
    ):
        llm = slow if router is None else ChatLookaheadRouter(candidates=dict.fromkeys(names, slow), router=router)
        seconds, stall = min(asyncio.run(at_once(llm)) for _ in range(3))
        print(f"| {label} | {seconds:.2f} | {CONCURRENT / seconds:.0f} | {stall * 1000:.0f} |")


if __name__ == "__main__":
    main()
