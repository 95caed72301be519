"""The event loop is never blocked by a prediction."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from fakes import RulePredictor, rule_models
from lookahead_router import Router

from langchain_lookahead_router import ChatLookaheadRouter

N_CALLS = 200
PREDICTION_SECONDS = 0.02


async def longest_stall(work):
    """Seconds for which the loop was not free at a time, while the work went on."""
    stalls, done = [0.0], asyncio.Event()

    async def tick():
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - before - 0.001)

    ticker = asyncio.create_task(tick())
    await work
    done.set()
    await ticker
    return max(stalls)


async def test_many_calls_at_once_leave_the_loop_free():
    llm = ChatLookaheadRouter(
        candidates=rule_models(seconds=0.05), router=Router(RulePredictor(seconds=PREDICTION_SECONDS))
    )
    answers = []

    async def ask(i):
        answers.append((await llm.ainvoke(f"{i}")).text)

    async def ask_all():
        await asyncio.gather(*(ask(i) for i in range(N_CALLS)))

    stall = await longest_stall(ask_all())
    assert sorted(answers) == sorted(f"digits: {i}" for i in range(N_CALLS))
    assert stall < N_CALLS * PREDICTION_SECONDS / 2  # on the loop, the predictions would take all of it at once


async def test_streams_and_events_predict_off_the_loop_too():
    llm = ChatLookaheadRouter(candidates=rule_models(), router=Router(RulePredictor(seconds=0.3)))

    async def stream():
        assert "".join([chunk.text async for chunk in llm.astream("7")]) == "digits: 7"

    async def events():
        stream = await llm.astream_events("7", version="v3")
        assert [event async for event in stream]

    async def generate():
        await llm.agenerate([llm._convert_input("7").to_messages()])

    async def everything():
        await asyncio.gather(stream(), events(), generate())

    assert await longest_stall(everything()) < 0.3


async def test_predictions_leave_the_executor_of_the_loop_to_others():
    release = threading.Event()

    class Waiting(RulePredictor):
        def predict(self, prompts):
            release.wait()
            return super().predict(prompts)

    llm = ChatLookaheadRouter(candidates=rule_models(), router=Router(Waiting()))
    calls = asyncio.gather(*(llm.ainvoke("7") for _ in range(64)))  # asyncio's executor has 32 threads at most
    await asyncio.sleep(0.1)
    try:
        await asyncio.wait_for(asyncio.to_thread(release.set), timeout=10)
    finally:
        release.set()
        assert {answer.text for answer in await calls} == {"digits: 7"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_routes_off_its_loop_after_its_parent_did():
    code = (
        "import asyncio, os, signal\n"
        "from fakes import rule_models, rule_router\n"
        "from langchain_lookahead_router import ChatLookaheadRouter\n"
        "llm = ChatLookaheadRouter(candidates=rule_models(), router=rule_router())\n"
        "asyncio.run(llm.ainvoke('7'))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    signal.alarm(20)\n"
        "    os._exit(0 if asyncio.run(llm.ainvoke('7')).text == 'digits: 7' else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "0", done.stderr
