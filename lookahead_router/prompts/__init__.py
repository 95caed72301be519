"""From a prompt or a conversation to the text that is routed, and to what the request needs."""

from lookahead_router.prompts.content import Message, Passage, Prompt
from lookahead_router.prompts.reading import (
    NEEDS,
    Request,
    check_context_chars,
    check_needs,
    clean_text,
    prompt_text,
    read_context,
    read_request,
)
from lookahead_router.prompts.tokens import MESSAGE_TOKENS, estimate_tokens

__all__ = [
    "MESSAGE_TOKENS",
    "NEEDS",
    "Message",
    "Passage",
    "Prompt",
    "Request",
    "check_context_chars",
    "check_needs",
    "clean_text",
    "estimate_tokens",
    "prompt_text",
    "read_context",
    "read_request",
]
