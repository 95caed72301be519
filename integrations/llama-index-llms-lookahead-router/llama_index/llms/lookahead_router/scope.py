"""What LlamaIndex knows around a call: the question, the conversation's thread, and who wants the routing records.

An LLM is handed messages alone. Query engines, chat engines and synthesizers know the question that a template
buries, chat memories know the session, and their responses have metadata. LlamaIndex reports all of them as spans.
"""

import inspect
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.dispatcher import active_instrument_tags
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.memory.types import DEFAULT_CHAT_STORE_KEY
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.response_synthesizers import BaseSynthesizer
from pydantic import PrivateAttr

from lookahead_router.threads import ProcessLock

RECORD_KEY = "lookahead_router"
"""Where responses of LLMs and of engines hold the routing record."""

THREAD_TAG = "thread_id"
CANDIDATE_TAG = "lookahead_candidate"
_RUN_TAG = "llamaindex.run_id"
_MAX_SESSIONS = 10_000

Item = TypeVar("Item")

_STREAMING = StreamingResponse | AsyncStreamingResponse
_QUESTION_VARIABLES = ("query_str", "question", "query")
"""What LlamaIndex's own templates call the user's question."""


class Records(list[dict[str, Any]]):
    """Routing records of the calls within a block, in the order in which they began.

    A record is there from the routing on, and follows its call until that has ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.summary: dict[str, Any] = {}
        """The last call's record, since that wrote the answer, with all of them under `calls`; follows them."""
        self._places: dict[object, int] = {}
        self._lock = ProcessLock()

    def note(self, call: object, record: dict[str, Any]) -> None:
        """Keeps the record of a call, in place of the one before."""
        with self._lock:
            place = self._places.setdefault(call, len(self))
            self[place:] = [record, *self[place + 1 :]]
            self.summary.update({**self[-1], "calls": list(self)})


@dataclass(frozen=True)
class Scope:
    """What holds for the calls of a block."""

    question: str | None = None
    """What the template of the call has as the question."""
    query: str | None = None
    """What the engine around the call was asked; the call need not be about it."""
    thread: str | None = None
    candidate: str | None = None
    context: tuple[str, ...] = ()
    """Texts of the nodes that were retrieved for the query."""
    records: tuple[Records, ...] = ()

    def question_in(self, text: str) -> str | None:
        """The question behind a text that holds it; `None` where none is known."""
        if self.question is not None:
            return self.question
        return self.query if self.query is not None and self.query in text else None


_sessions: dict[str, str] = {}
"""The memory's session by the id of an agent's run, whose steps know the run alone; of the last runs."""

_scope: ContextVar[Scope] = ContextVar("lookahead_router_scope", default=Scope())  # noqa: B039  (frozen)


def current_scope() -> Scope:
    """The innermost scope, with what the tags of `instrument_tags` say of thread and candidate."""
    scope, tags = _scope.get(), active_instrument_tags.get()
    thread = tags.get(THREAD_TAG) or scope.thread or _sessions.get(tags.get(_RUN_TAG))
    candidate = tags.get(CANDIDATE_TAG)
    return replace(
        scope,
        thread=None if thread is None else str(thread),
        candidate=None if candidate is None else str(candidate),
    )


@contextmanager
def routing_records() -> Iterator[Records]:
    """Collects the routing records of all calls within the block, those of tasks that it starts included.

    Example:
        ```python
        with routing_records() as records:
            river = llm.structured_predict(River, prompt)
        records[-1]["candidate"]
        ```
    """
    records, scope = recording()
    with within(scope):
        yield records


def recording() -> tuple[Records, Scope]:
    """New records, and a scope like the one that holds whose calls are noted in them."""
    records, outer = Records(), _scope.get()
    return records, replace(outer, records=(*outer.records, records))


def asking(template: BasePromptTemplate, variables: Mapping[str, Any]) -> Scope:
    """The scope of a call that asks what the template's variables call the question, else what it asked before."""
    known, outer = {**template.kwargs, **variables}, _scope.get()
    values = (_text(known.get(name)) for name in _QUESTION_VARIABLES)
    return replace(outer, question=next((value for value in values if value is not None), outer.question))


@contextmanager
def within(scope: Scope) -> Iterator[None]:
    """The scope holds in the block."""
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)


def each_within(scope: Scope, stream: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The items of a generator that computes them within the scope; between them the caller's own holds."""
    with closing(stream):
        while True:
            with within(scope):
                try:
                    item = next(stream)
                except StopIteration:
                    return
            yield item


async def aeach_within(scope: Scope, stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Like `each_within`."""
    async with aclosing(stream):
        while True:
            with within(scope):
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
            yield item


@dataclass(frozen=True)
class _Block:
    """A span that opened a scope."""

    outer: Scope
    inner: Scope


class ScopeSpans(BaseSpanHandler[BaseSpan]):
    """Opens a scope in the spans of engines, and writes the records of their calls into their responses."""

    _blocks: dict[str, _Block] = PrivateAttr(default_factory=dict)

    @classmethod
    def class_name(cls) -> str:
        return "ScopeSpans"

    @classmethod
    def install(cls) -> None:
        """Adds one to LlamaIndex's root dispatcher, unless there is one."""
        root = get_dispatcher("root")
        if not any(isinstance(handler, cls) for handler in root.span_handlers):
            root.add_span_handler(cls())

    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Opens a scope where the span is an engine's."""
        method = id_[: -len("-00000000-0000-0000-0000-000000000000")].rpartition(".")[2]
        if method == "init_run":
            _remember_session((tags or {}).get(_RUN_TAG), bound_args.arguments.get("ev"))
        known = _known(method, bound_args.arguments, instance)
        if known is not None:
            outer = _scope.get()
            inner = replace(outer, records=(*outer.records, Records()), **known)
            self._blocks[id_] = _Block(outer, inner)
            _scope.set(inner)

    def span_exit(self, id_: str, bound_args: inspect.BoundArguments, result: Any | None = None, **kwargs: Any) -> None:
        """Closes the scope, and tells the response who answered."""
        block = self._close(id_)
        if block is not None:
            _publish(result, block.inner)

    def span_drop(self, id_: str, bound_args: inspect.BoundArguments, **kwargs: Any) -> None:
        """Closes the scope."""
        self._close(id_)

    def _close(self, id_: str) -> _Block | None:
        block = self._blocks.pop(id_, None)
        if block is not None:
            _scope.set(block.outer)
        return block

    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """None: blocks are kept instead of spans."""

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


def _known(method: str, arguments: Mapping[str, Any], instance: Any) -> dict[str, Any] | None:
    """What a span says of the calls in it; `None` where it is none that asks something."""
    if isinstance(instance, BaseQueryEngine) and method in ("query", "aquery"):
        return {"query": _text(arguments.get("str_or_query_bundle")), "question": None}
    if isinstance(instance, BaseSynthesizer) and method in ("synthesize", "asynthesize"):
        context = tuple(_texts(arguments.get("nodes") or ()))
        return {"query": _text(arguments.get("query")), "question": None, "context": context}
    if isinstance(instance, BaseChatEngine) and method in ("chat", "achat", "stream_chat", "astream_chat"):
        session = _session_of(getattr(instance, "_memory", None))
        thread = {} if session is None else {"thread": session}
        return {"query": _text(arguments.get("message")), "question": None, **thread}
    if isinstance(instance, StructuredLLM) and method in ("chat", "achat", "complete", "acomplete"):
        return {}
    return None


def _session_of(memory: Any) -> str | None:
    """The conversation that a memory holds: its session or, in a store of chats, its key there, if it has its own."""
    key = getattr(memory, "chat_store_key", DEFAULT_CHAT_STORE_KEY)
    session = getattr(memory, "session_id", None if key == DEFAULT_CHAT_STORE_KEY else key)
    return None if session is None else str(session)


def _remember_session(run: str | None, start: Any) -> None:
    """An agent's memory is given with the event that starts a run."""
    session = _session_of(getattr(start, "memory", None))
    if run is not None and session is not None:
        _sessions[run] = session
        while len(_sessions) > _MAX_SESSIONS:
            _sessions.pop(next(iter(_sessions)), None)


def _texts(nodes: Any) -> Iterator[str]:
    for node in nodes:
        with suppress(ValueError, AttributeError):  # a node of pictures has no text
            if isinstance(node.text, str):
                yield node.text


def _text(query: Any) -> str | None:
    text = getattr(query, "query_str", query)
    return text if isinstance(text, str) and text.strip() else None


def _publish(response: Any, scope: Scope) -> None:
    """Writes the records into the response. A streaming one asks while it is read, so it is read in the scope."""
    summary = scope.records[-1].summary
    if isinstance(response, ChatResponse | CompletionResponse):
        if summary:
            response.additional_kwargs[RECORD_KEY] = summary
        return
    stream = getattr(response, "response_gen", None) if isinstance(response, _STREAMING) else None
    if isinstance(stream, Generator):
        response.response_gen = each_within(scope, stream)
    elif isinstance(stream, AsyncGenerator):
        response.response_gen = aeach_within(scope, stream)
    if summary or isinstance(response, _STREAMING | StreamingAgentChatResponse):
        response.metadata = {**(getattr(response, "metadata", None) or {}), RECORD_KEY: summary}
