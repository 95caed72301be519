"""A LlamaIndex LLM that hands each call to the candidate that will answer it best."""

from llama_index.llms.lookahead_router.base import LookaheadRouterLLM
from llama_index.llms.lookahead_router.events import LookaheadRoutingEvent
from llama_index.llms.lookahead_router.scope import routing_records
from lookahead_router.errors import is_transient

__all__ = ["LookaheadRouterLLM", "LookaheadRoutingEvent", "is_transient", "routing_records"]
