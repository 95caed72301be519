"""A world in which the best candidate is known: `digits` answers prompts with numbers, `words` all others.

Both LlamaIndex distributions test with it. The router is the core's own; only the predictor is a rule.
"""

import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent
from llama_index.llms.openai_like import OpenAILike
from lookahead_router import CandidatePool, Prediction, Router
from pydantic import PrivateAttr

POOL = ("digits", "words", "lazy")
NUMBERS_QUERY = "What is 17 + 25, and is 43 prime?"
WORDS_QUERY = "Where does a river begin, and where does it end?"

DOCUMENTS = {
    "numbers": [
        "A prime number has exactly two divisors, one and itself. The first primes are 2, 3, 5, 7, 11 and 13.",
        "Every whole number above one is a product of primes in one way only, apart from their order.",
        "A fraction of whole numbers has digits that repeat from some place on; the root of 2 has none that do.",
        "The sum of the first n odd numbers is n squared: 1 + 3 + 5 + 7 makes 16, which is 4 times 4.",
    ],
    "rivers": [
        "A river begins at its source, often a spring high in the mountains, and ends at its mouth, where it meets "
        "the sea, a lake or another river.",
        "Where a slow river reaches the sea it drops the sand it carried and builds a delta of many arms.",
        "A meander is a bend of a river that grows as the outer bank wears away and the inner bank is built up.",
        "In spring the snow melts in the hills, and the rivers below them rise over their banks.",
    ],
}


class RulePredictor:
    """Scores by a rule: digits in the prompt favour `digits`; of a riddle, nobody knows the answer."""

    name = "rule"
    revision = "1"

    def __init__(self, names: Sequence[str] = POOL) -> None:
        self.pool = CandidatePool(names)
        self.prompts: list[str] = []
        """Texts predicted so far."""

    def predict(self, prompts: Sequence[str]) -> Prediction:
        self.prompts.extend(prompts)
        scores = np.array([self._scores(prompt)[: len(self.pool)] for prompt in prompts])
        return Prediction(self.pool, scores, scores**2)

    @staticmethod
    def _scores(prompt: str) -> tuple[float, float, float]:
        if "riddle" in prompt:
            return 0.2, 0.3, 0.1
        return (0.9, 0.4, 0.25) if re.search(r"\d", prompt) else (0.3, 0.8, 0.25)


class WaitingPredictor(RulePredictor):
    """Predicts only after `release` is set, which nobody can do who waits for the prediction."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def predict(self, prompts: Sequence[str]) -> Prediction:
        assert self.release.wait(timeout=10), "the thread that predicts is the one that should go on meanwhile"
        return super().predict(prompts)


class FailingPredictor(RulePredictor):
    def predict(self, prompts: Sequence[str]) -> Prediction:
        raise RuntimeError("out of memory")


def make_router(names: Sequence[str] = POOL[:2]) -> Router:
    return Router(RulePredictor(names))


class HashingEmbedding(BaseEmbedding):
    """A bag of hashed words: real retrieval of real text, without weights."""

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = np.zeros(256)
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % len(vector)] += 1.0
        return (vector / max(np.linalg.norm(vector), 1.0)).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def make_index(name: str, embed_model: BaseEmbedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents([Document(text=text) for text in DOCUMENTS[name]], embed_model=embed_model)


def make_llm(name: str, url: str, **options: Any) -> OpenAILike:
    """A client of the local server; the key is made up, so that a leak of it can be seen."""
    settings = {
        "is_chat_model": True,
        "is_function_calling_model": True,
        "context_window": 8000,
        "max_retries": 0,
        "default_headers": {"Connection": "close"},  # nobody closes the client, so it must not keep sockets
    }
    return OpenAILike(model=name, api_base=url, api_key=f"key-of-{name}", **{**settings, **options})


class EventRecorder(BaseEventHandler):
    """Keeps every instrumentation event of the block."""

    _events: list[BaseEvent] = PrivateAttr(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "EventRecorder"

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self._events.append(event)

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        return [event for event in self._events if isinstance(event, kind)]

    def names(self) -> list[str]:
        return [event.class_name() for event in self._events]


@contextmanager
def recorded_events() -> Iterator[EventRecorder]:
    recorder, root = EventRecorder(), get_dispatcher("root")
    root.add_event_handler(recorder)
    try:
        yield recorder
    finally:
        root.event_handlers.remove(recorder)


class CallbackRecorder(BaseCallbackHandler):
    """Keeps the legacy callbacks."""

    def __init__(self) -> None:
        super().__init__(event_starts_to_ignore=[], event_ends_to_ignore=[])
        self.calls: list[tuple[str, str]] = []

    def on_event_start(self, event_type: CBEventType, *args: Any, **kwargs: Any) -> str:
        self.calls.append(("start", event_type.value))
        return ""

    def on_event_end(self, event_type: CBEventType, *args: Any, **kwargs: Any) -> None:
        self.calls.append(("end", event_type.value))

    def start_trace(self, trace_id: str | None = None) -> None:
        self.calls.append(("start_trace", trace_id or ""))

    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        self.calls.append(("end_trace", trace_id or ""))
