"""A LlamaIndex selector over lookahead-router, and the event that it shares with the router LLM."""

from llama_index.selectors.lookahead_router.base import LookaheadSelector
from llama_index.selectors.lookahead_router.result import LookaheadSelectorResult, NoSuitableChoiceError
from llama_index.selectors.lookahead_router.routing import LookaheadRoutingEvent

__all__ = ["LookaheadRoutingEvent", "LookaheadSelector", "LookaheadSelectorResult", "NoSuitableChoiceError"]
