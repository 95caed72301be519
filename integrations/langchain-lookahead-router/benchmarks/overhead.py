"""What the router costs per call beyond predicting and answering, and what 200 calls at once do to the loop.

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
from lookahead_router import CandidatePool, Router

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

    def predict_scores(self, prompts):
        time.sleep(self.seconds)
        return np.tile(np.linspace(1.0, 0.5, len(self.pool)), (len(prompts), 1))


def beyond_predicting(message, seconds):
    """Milliseconds of a call less those that the predictor says it took."""
    record = message.response_metadata.get("lookahead_router", {})
    return (seconds - record.get("latency_seconds", 0.0)) * 1000


def median_ms(call, n_calls):
    """Of a call beyond predicting; the first few calls warm up."""
    times = []
    for _ in range(n_calls + 20):
        start = time.perf_counter()
        message = call()
        times.append(beyond_predicting(message, time.perf_counter() - start))
    return statistics.median(times[20:])


async def amedian_ms(call, n_calls):
    """Like `median_ms`."""
    times = []
    for _ in range(n_calls + 20):
        start = time.perf_counter()
        message = await call()
        times.append(beyond_predicting(message, time.perf_counter() - start))
    return statistics.median(times[20:])


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
    model = InstantModel()
    llm = ChatLookaheadRouter(candidates=dict.fromkeys(router.pool.names, model), router=router)
    direct, routed = (median_ms(lambda m=m: m.invoke(PROMPT), n_calls) for m in (model, llm))
    adirect, arouted = (asyncio.run(amedian_ms(lambda m=m: m.ainvoke(PROMPT), n_calls)) for m in (model, llm))
    for method, alone, through in (("invoke", direct, routed), ("ainvoke", adirect, arouted)):
        print(f"| {label}, {method} | {alone:.3f} | {through:.3f} | **{through - alone:.3f}** |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"langchain-core {version('langchain-core')}, Python {sys.version.split()[0]}; milliseconds, medians\n")
    print("| predictor, method | model alone | through the router, less the prediction | overhead |")
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
