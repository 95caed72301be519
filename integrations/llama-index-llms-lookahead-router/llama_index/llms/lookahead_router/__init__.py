"""A LlamaIndex LLM that hands each call to the candidate that will answer it best."""

from llama_index.llms.lookahead_router.base import LookaheadRouterLLM
from lookahead_router.errors import is_transient

__all__ = ["LookaheadRouterLLM", "is_transient"]
