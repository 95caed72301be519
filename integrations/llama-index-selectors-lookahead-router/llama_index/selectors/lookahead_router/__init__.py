"""A LlamaIndex selector that picks the tool whose LLM will answer the query best."""

from llama_index.selectors.lookahead_router.base import LookaheadSelector
from llama_index.selectors.lookahead_router.events import LookaheadSelectionEvent
from llama_index.selectors.lookahead_router.result import LookaheadSelectorResult, NoSuitableChoiceError

__all__ = ["LookaheadSelectionEvent", "LookaheadSelector", "LookaheadSelectorResult", "NoSuitableChoiceError"]
