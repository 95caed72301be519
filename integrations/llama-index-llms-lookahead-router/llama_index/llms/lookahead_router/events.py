"""The event of a routed call."""

import hashlib
from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.instrumentation.events.base import BaseEvent


class LookaheadRoutingEvent(BaseEvent):
    """A call has been routed. Holds a hash of the routed text, never the text."""

    candidate: str
    """Who is asked first; after a fallback, another one may have answered."""
    reason: str
    """`routed`, `forced`, `sticky` or `default`."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Predicted score by candidate name, in [0, 1], higher is better; empty where nothing was predicted."""
    policy: str | None = None
    predictor: str | None = None
    revision: str | None = None
    latency_seconds: float | None = None
    prompt_sha256: str
    """Hex SHA-256 of the routed text."""

    @classmethod
    def class_name(cls) -> str:
        return "LookaheadRoutingEvent"

    @classmethod
    def of(cls, record: Mapping[str, Any], text: str) -> "LookaheadRoutingEvent":
        """The event of a call by its record and the text that it was routed on."""
        told = {name: record[name] for name in cls.model_fields if name in record}
        return cls(**told, prompt_sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
