"""From a prompt or a conversation to the text that is routed."""

from collections.abc import Mapping, Sequence
from typing import Any

from lookahead_router.errors import PromptError

Message = Mapping[str, Any] | Any
"""A chat message: a mapping or an object with `role` (or LangChain's `type`) and `content`."""

Prompt = str | Sequence[Message]
"""What the user sends: a text, or the messages of a conversation."""

_USER_ROLES = frozenset({"user", "human"})


def prompt_text(prompt: Prompt) -> str:
    """The text to route on: the string itself, or the last user message's text.

    Text is stripped; surrogate pairs are joined and lone surrogates replaced, since no tokenizer
    takes them. Of multimodal content the text parts count, joined by newlines.

    Raises:
        PromptError: wrong type, no user message, or no text left.
    """
    if isinstance(prompt, str):
        text = prompt
    elif isinstance(prompt, Sequence) and not isinstance(prompt, bytes | bytearray):
        text = _last_user_text(prompt)
    else:
        hint = "; wrap a single message in a list" if isinstance(prompt, Mapping) else ""
        raise PromptError(f"expected a string or a list of chat messages, got {type(prompt).__name__}{hint}")
    text = clean_text(text.strip())
    if not text:
        raise PromptError("the prompt is empty; send at least one character that is not whitespace")
    return text


def clean_text(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _last_user_text(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        if isinstance(message, str):
            raise PromptError("a list of strings is not a conversation; route several prompts with route_batch")
        role = _field(message, "role")
        if role is None:
            role = _field(message, "type")
        if role is None:
            raise PromptError(f"a {type(message).__name__} message has neither role nor type")
        if str(getattr(role, "value", role)).lower() in _USER_ROLES:
            return _content_text(_field(message, "content"))
    raise PromptError(f"none of the {len(messages)} messages is the user's; add one with role 'user'")


def _content_text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and not isinstance(content, bytes | bytearray):
        texts = (part if isinstance(part, str) else _field(part, "text") for part in content)
        return "\n".join(text for text in texts if isinstance(text, str))
    raise PromptError(f"message content must be text or a list of parts, got {type(content).__name__}")


def _field(message: Message, name: str) -> Any:
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)
