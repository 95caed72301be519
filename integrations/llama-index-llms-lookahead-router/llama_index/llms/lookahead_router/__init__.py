"""A LlamaIndex LLM that hands each call to the candidate that will answer it best."""

from llama_index.llms.lookahead_router.base import LookaheadRouterLLM
from llama_index.llms.lookahead_router.failures import is_transient

__all__ = ["LookaheadRouterLLM", "is_transient"]
