"""A LlamaIndex LLM that hands each call to the candidate that will answer it best."""

from llama_index.llms.lookahead_router.base import LookaheadRouterLLM

__all__ = ["LookaheadRouterLLM"]
