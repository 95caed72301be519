"""From a prompt or a conversation to the text that is routed, and to what the request needs."""

from lookahead_router.prompts.content import Message, Prompt
from lookahead_router.prompts.reading import NEEDS, Request, check_needs, clean_text, prompt_text, read_request
from lookahead_router.prompts.tokens import estimate_tokens

__all__ = [
    "NEEDS",
    "Message",
    "Prompt",
    "Request",
    "check_needs",
    "clean_text",
    "estimate_tokens",
    "prompt_text",
    "read_request",
]
