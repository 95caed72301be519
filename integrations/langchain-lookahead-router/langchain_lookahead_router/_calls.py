"""One call of the router: planned, handed to a candidate, and to the next one where that fails.

Each call is one chain run, and the candidate's run is its child.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, BaseCallbackManager, CallbackManagerForChainRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import (
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
    patch_config,
)

from langchain_lookahead_router._candidates import Binding
from langchain_lookahead_router._messages import RECORD_KEY
from langchain_lookahead_router._planning import Attempts, Planner, stamp
from langchain_lookahead_router._threads import off_loop

ChainRun = CallbackManagerForChainRun | AsyncCallbackManagerForChainRun


@dataclass(frozen=True)
class Step:
    """One candidate's turn: what to call, and with what."""

    model: BaseChatModel
    target: Runnable
    """The model, with whatever was bound to the router."""
    messages: list[BaseMessage]
    config: RunnableConfig


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was asked of the router, taken apart."""

    llm: BaseChatModel
    planner: Planner
    input: Any
    messages: list[BaseMessage]
    config: RunnableConfig
    kwargs: dict[str, Any]
    """What the candidate's method gets."""
    binding: Binding | None = None
    forced: str | None = None
    policy: Any = None

    @property
    def thread(self) -> str | None:
        """The conversation's id in LangGraph's key."""
        thread = self.config.get("configurable", {}).get("thread_id")
        return None if thread is None else str(thread)

    def plan(self) -> Attempts:
        """The candidates in the order of trying. Computes."""
        return self.planner.attempts(
            self.messages,
            need=self.binding and self.binding.need,
            forced=self.forced,
            thread=self.thread,
            policy=self.policy,
        )

    async def aplan(self) -> Attempts:
        """The same, off the event loop."""
        return await off_loop(self.plan)

    def step(self, attempts: Attempts, run: ChainRun) -> Step:
        """The turn of the candidate that is to be asked now."""
        model = self.planner.candidates[attempts.name]
        config = patch_config(self.config, callbacks=run.get_child())
        config["metadata"] = {**config.get("metadata", {}), RECORD_KEY: attempts.record}
        return Step(
            model=model,
            target=model if self.binding is None else self.binding.to(model),
            messages=list(self.planner.portable(self.messages, attempts.name)),
            config=config,
        )

    @contextmanager
    def run(self) -> Iterator[CallbackManagerForChainRun]:
        """The chain run around the call; whoever opens it reports its output."""
        manager = self._with_own(get_callback_manager_for_config(self.config))
        run = manager.on_chain_start(None, self.input, name=self._run_name, run_id=self.config.get("run_id"))
        try:
            yield run
        except BaseException as error:  # also where a stream is closed half-read
            run.on_chain_error(error)
            raise

    @asynccontextmanager
    async def arun(self) -> AsyncIterator[AsyncCallbackManagerForChainRun]:
        """Like `run`."""
        manager = self._with_own(get_async_callback_manager_for_config(self.config))
        run = await manager.on_chain_start(None, self.input, name=self._run_name, run_id=self.config.get("run_id"))
        try:
            yield run
        except BaseException as error:
            await run.on_chain_error(error)
            raise

    @property
    def _run_name(self) -> str:
        return self.config.get("run_name") or self.llm.get_name()

    def _with_own(self, manager: Any) -> Any:
        """Callbacks, tags and metadata of the router itself hold for the candidate's run too."""
        callbacks = self.llm.callbacks or []
        handlers = callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else callbacks
        for handler in handlers:
            manager.add_handler(handler, inherit=True)
        manager.add_tags(self.llm.tags or [], inherit=True)
        manager.add_metadata(self.llm.metadata or {}, inherit=True)
        return manager


def complete(call: Call, ask: Callable[[Step], Any]) -> Any:
    """The first answer that a candidate gives, with the routing record."""
    with call.run() as run:
        attempts = call.plan()
        while True:
            try:
                answer = ask(call.step(attempts, run))
                break
            except Exception as error:
                if not attempts.move_on(error):
                    raise
        answer = stamp(answer, attempts.record)
        call.planner.remember(call.thread, attempts.name)
        run.on_chain_end(answer)
    return answer


async def acomplete(call: Call, ask: Callable[[Step], Awaitable[Any]]) -> Any:
    """Like `complete`."""
    async with call.arun() as run:
        attempts = await call.aplan()
        while True:
            try:
                answer = await ask(call.step(attempts, run))
                break
            except Exception as error:
                if not attempts.move_on(error):
                    raise
        answer = stamp(answer, attempts.record)
        call.planner.remember(call.thread, attempts.name)
        await run.on_chain_end(answer)
    return answer


def stream(call: Call) -> Iterator[Any]:
    """The chunks of the first candidate that gives one; a failure after that is raised."""
    with call.run() as run:
        attempts = call.plan()
        chunks = _Chunks()
        while True:
            step = call.step(attempts, run)
            try:
                with closing(step.target.stream(step.messages, step.config, **call.kwargs)) as source:
                    for chunk in source:
                        yield chunks.add(chunk, attempts)
                break
            except Exception as error:
                if chunks.has_begun or not attempts.move_on(error):
                    raise
        call.planner.remember(call.thread, attempts.name)
        run.on_chain_end(chunks.whole())


async def astream(call: Call) -> AsyncIterator[Any]:
    """Like `stream`."""
    async with call.arun() as run:
        attempts = await call.aplan()
        chunks = _Chunks()
        while True:
            step = call.step(attempts, run)
            try:
                async with aclosing(step.target.astream(step.messages, step.config, **call.kwargs)) as source:
                    async for chunk in source:
                        yield chunks.add(chunk, attempts)
                break
            except Exception as error:
                if chunks.has_begun or not attempts.move_on(error):
                    raise
        call.planner.remember(call.thread, attempts.name)
        await run.on_chain_end(chunks.whole())


class _Chunks:
    """What was streamed. The record goes into the first chunk only, since adding chunks joins strings."""

    def __init__(self) -> None:
        self.has_begun = False
        self._chunks: list[Any] = []

    def add(self, chunk: Any, attempts: Attempts) -> Any:
        if not self.has_begun:
            self.has_begun = True
            chunk = stamp(chunk, attempts.record)
        if not isinstance(chunk, AIMessageChunk):
            self._chunks.clear()  # parsed objects grow, so the last one is the whole
        self._chunks.append(chunk)
        return chunk

    def whole(self) -> Any:
        if not self._chunks:
            return None
        first, *others = self._chunks
        return first + others if others else first
