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
from lookahead_router import Attempts, Holdback
from lookahead_router.errors import NoAnswerError
from lookahead_router.threads import off_loop

from langchain_lookahead_router._candidates import Binding, needs_of
from langchain_lookahead_router._messages import (
    RECORD_KEY,
    context_of,
    is_no_answer,
    query_of,
    reply_of,
    shows_something,
    stamp,
)
from langchain_lookahead_router._planner import Planner

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
        return self.planner.plan(
            self.messages,
            query=query_of(self.config),
            context=context_of(self.config),
            needs=[*(self.binding.needs if self.binding else ()), *needs_of(self.kwargs)],
            tools=self._tools,
            forced=self.forced,
            thread=self.thread,
            policy=self.policy,
        )

    @property
    def _tools(self) -> Any:
        given = self.binding.tools if self.binding else ()
        return given or self.kwargs.get("tools") or self.kwargs.get("functions")

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
            except Exception as error:
                if attempts.move_on(error):
                    continue
                if attempts.answer is None:
                    raise
                break  # a cascade has an answer in hand
            if _is_taken(answer, attempts):
                break
        answer = stamp(attempts.answer, attempts.record)
        run.on_chain_end(answer)
    return answer


async def acomplete(call: Call, ask: Callable[[Step], Awaitable[Any]]) -> Any:
    """Like `complete`."""
    async with call.arun() as run:
        attempts = await call.aplan()
        while True:
            try:
                answer = await ask(call.step(attempts, run))
            except Exception as error:
                if attempts.move_on(error):
                    continue
                if attempts.answer is None:
                    raise
                break  # a cascade has an answer in hand
            if _is_taken(answer, attempts):
                break
        answer = stamp(attempts.answer, attempts.record)
        await run.on_chain_end(answer)
    return answer


def stream(call: Call) -> Iterator[Any]:
    """The chunks of the first candidate that shows something; a failure after that is raised.

    Where a cascade may still ask somebody else, the chunks wait until the answer is accepted.
    """
    with call.run() as run:
        attempts = call.plan()
        while True:
            step, chunks = call.step(attempts, run), _Chunks(attempts)
            try:
                with closing(step.target.stream(step.messages, step.config, **call.kwargs)) as source:
                    for chunk in source:
                        yield from chunks.add(chunk)
            except Exception as error:
                if attempts.move_on(error, has_begun=chunks.has_begun):
                    continue
                if chunks.has_begun or attempts.answer is None:
                    raise
                break
            if chunks.is_taken():
                break
        chunks = attempts.answer
        yield from chunks.rest()
        run.on_chain_end(chunks.whole())


async def astream(call: Call) -> AsyncIterator[Any]:
    """Like `stream`."""
    async with call.arun() as run:
        attempts = await call.aplan()
        while True:
            step, chunks = call.step(attempts, run), _Chunks(attempts)
            try:
                async with aclosing(step.target.astream(step.messages, step.config, **call.kwargs)) as source:
                    async for chunk in source:
                        for each in chunks.add(chunk):
                            yield each
            except Exception as error:
                if attempts.move_on(error, has_begun=chunks.has_begun):
                    continue
                if chunks.has_begun or attempts.answer is None:
                    raise
                break
            if chunks.is_taken():
                break
        chunks = attempts.answer
        for each in chunks.rest():
            yield each
        await run.on_chain_end(chunks.whole())


def _is_taken(answer: Any, attempts: Attempts) -> bool:
    """Whether the answer is the call's: it holds something, or nobody else is to be asked."""
    if is_no_answer(answer):
        return _is_end(answer, attempts)
    return attempts.settles(answer, lambda: reply_of(answer))


def _is_end(empty: Any, attempts: Attempts) -> bool:
    """Whether nobody else is to be asked after an empty answer, which is the call's if there is none in hand."""
    if attempts.move_on(NoAnswerError(attempts.name)):
        return False
    attempts.answer = empty if attempts.answer is None else attempts.answer
    return True


class _Chunks:
    """One candidate's stream. The record goes into the first chunk only, since adding chunks joins strings."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._is_live = attempts.is_final
        self._held = Holdback()
        self._is_stamped = False
        self._chunks: list[Any] = []

    @property
    def has_begun(self) -> bool:
        """Whether something was shown."""
        return self._held.has_begun

    def add(self, chunk: Any) -> list[Any]:
        """What is to be passed on now."""
        self._chunks.append(chunk)
        if len(self._chunks) > 1 and not isinstance(chunk, AIMessageChunk):
            del self._chunks[:-1]  # parsed objects grow, so the last one is the whole
        if not self._is_live:
            return []
        return self._stamped(self._held.add(chunk, shows=shows_something(chunk)))

    def is_taken(self) -> bool:
        """Whether the stream, now at its end, is the call's answer.

        Raises:
            NoAnswerError: there was no chunk at all, and nobody else is to be asked.
        """
        if not self._chunks:
            error = NoAnswerError(self._attempts.name)
            if self._attempts.move_on(error):
                return False
            if self._attempts.answer is None:
                raise error
            return True
        whole = self._sum()
        if is_no_answer(whole):
            return _is_end(self, self._attempts)
        return self._attempts.settles(self, lambda: reply_of(whole))

    def rest(self) -> list[Any]:
        """What was held back to the end."""
        return self._stamped(self._held.rest() if self._is_live else self._chunks)

    def whole(self) -> Any:
        """The answer, with the record."""
        return stamp(self._sum(), self._attempts.record)

    def _sum(self) -> Any:
        first, *others = self._chunks
        return first + others if others else first

    def _stamped(self, chunks: list[Any]) -> list[Any]:
        if self._is_stamped or not chunks:
            return chunks
        self._is_stamped = True
        return [stamp(chunks[0], self._attempts.record), *chunks[1:]]
