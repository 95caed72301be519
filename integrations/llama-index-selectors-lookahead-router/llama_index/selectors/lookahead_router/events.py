"""The event of a selection."""

import hashlib

from llama_index.core.instrumentation.events.base import BaseEvent


class LookaheadSelectionEvent(BaseEvent):
    """A selector has selected. Holds a hash of the routed text, never the text."""

    candidates: list[str | None]
    """The candidate of each selection, best first; `None` for a tool that stands for none."""
    scores: dict[str, float]
    """Predicted score by candidate name, in [0, 1], higher is better; of the candidates that took part."""
    predictor: str
    revision: str | None
    prompt_sha256: str
    """Hex SHA-256 of the routed text."""

    @classmethod
    def class_name(cls) -> str:
        return "LookaheadSelectionEvent"


def sha256(text: str) -> str:
    """Hex SHA-256 of any text, lone surrogates included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
