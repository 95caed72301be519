"""What the selector and the router LLM share: where a router comes from, and the event of a decision."""

import hashlib
from pathlib import Path

from llama_index.core.instrumentation.events.base import BaseEvent

from lookahead_router import Decision, Router
from lookahead_router.errors import ConfigurationError

RouterLike = Router | str | Path | None
"""A router; a folder or Hub id to load one from; or `None` for the embedded predictor."""


def load_router(router: RouterLike) -> Router:
    """The router itself, or the one of a folder or a Hub id.

    Raises:
        CheckpointError: the folder is missing or damaged.
        HubError: the repository cannot be read.
        ConfigurationError: neither a router nor a place to load one from.
    """
    if isinstance(router, Router):
        return router
    if router is None or isinstance(router, str | Path):
        return Router.from_pretrained(router)
    raise ConfigurationError(f"router must be a Router, a folder or a Hub id, got {type(router).__name__}")


class LookaheadRoutingEvent(BaseEvent):
    """A router has decided. Holds a hash of the routed text, never the text."""

    candidate: str
    """The best candidate; after a fallback, another one may have answered."""
    scores: dict[str, float]
    """Predicted score by candidate name, in [0, 1], higher is better."""
    policy: str
    predictor: str
    revision: str | None
    latency_seconds: float
    prompt_sha256: str
    """Hex SHA-256 of the routed text: the query, or the last user message."""

    @classmethod
    def class_name(cls) -> str:
        return "LookaheadRoutingEvent"

    @classmethod
    def of(cls, decision: Decision, text: str) -> "LookaheadRoutingEvent":
        """The event of a decision on a text."""
        return cls(
            candidate=decision.name,
            scores=decision.scores,
            policy=decision.policy,
            predictor=decision.predictor,
            revision=decision.revision,
            latency_seconds=decision.latency_seconds,
            prompt_sha256=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        )
