"""What is read from a conversation, and what of it may be sent to whom."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from lookahead_router.errors import PromptError

RECORD_KEY = "lookahead_router"
"""Where the routing record stands: in `response_metadata`, in run metadata and in agent state."""

CONTEXT_CHARS = 600
"""Characters of a conversation that are read at most, about the window of the embedded predictor."""


def to_messages(value: Any) -> list[BaseMessage]:
    """The messages of a string, a prompt value, a list of messages, or a mapping with `messages`.

    Raises:
        PromptError: another type.
    """
    if isinstance(value, Mapping) and "messages" in value:
        value = value["messages"]
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, str):
        return convert_to_messages([("human", value)])
    if isinstance(value, BaseMessage):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return convert_to_messages(value)
    raise PromptError(
        f"expected a string, a prompt value, messages, or a mapping with 'messages', got {type(value).__name__}"
    )


def routing_text(messages: Sequence[BaseMessage], context_chars: int = CONTEXT_CHARS) -> str:
    """The last human message, with as many of the turns before it as fit.

    The last message stands at the end, is never shortened here, and earlier human and AI turns are
    taken whole, newest first. System and tool messages are not read.

    Args:
        messages: a conversation, oldest first.
        context_chars: characters, at least 0, that the turns and the last message may have together.

    Raises:
        PromptError: no human message, or no text in the last one.
    """
    last = last_human(messages)
    if last is None:
        raise PromptError(f"none of the {len(messages)} messages is the user's; there is nothing to route on")
    texts = [str(messages[last].text).strip()]
    if not texts[0]:
        raise PromptError("the last human message has no text to route on")
    room = context_chars - len(texts[0])
    for message in reversed(messages[:last]):
        if not (is_human(message) or isinstance(message, AIMessage)):
            continue
        text = str(message.text).strip()
        room -= len(text) + 2
        if room < 0:
            break
        if text:
            texts.append(text)
    return "\n\n".join(reversed(texts))


def last_human(messages: Sequence[BaseMessage]) -> int | None:
    """The index of the last human message."""
    return next((i for i in range(len(messages) - 1, -1, -1) if is_human(messages[i])), None)


def is_human(message: BaseMessage) -> bool:
    """Whether the user wrote it; `ChatMessage` says so in its role."""
    return message.type == "human" or getattr(message, "role", None) in ("user", "human")


def recorded_candidate(message: BaseMessage) -> str | None:
    """The candidate that wrote the message, where a router noted it."""
    record = message.response_metadata.get(RECORD_KEY)
    return record.get("candidate") if isinstance(record, dict) else None


def provider_of(model: BaseChatModel) -> str | None:
    """The provider under which LangChain traces the model."""
    return model._get_ls_params().get("ls_provider")


def portable(
    messages: Sequence[BaseMessage], to: str, candidates: Mapping[str, BaseChatModel]
) -> Sequence[BaseMessage]:
    """The history as candidate `to` can take it.

    Where another provider wrote part of it, that part keeps its text and tool calls and loses what only
    its provider reads: reasoning and signatures, server tools, raw arguments. Cache markers go as well.
    Messages are copied, never changed; without a switch of provider the list comes back as it is.

    Args:
        messages: a conversation, oldest first.
        to: name of the candidate that gets it.
        candidates: chat models by name.
    """
    target = provider_of(candidates[to])
    foreign = {i for i, message in enumerate(messages) if _is_foreign(message, target, candidates)}
    if not foreign:
        return messages
    return [
        _bare(message) if i in foreign else _without_cache_markers(message)
        for i, message in enumerate(messages)
        if i not in foreign or message.text or message.tool_calls
    ]


def _is_foreign(message: BaseMessage, target: str | None, candidates: Mapping[str, BaseChatModel]) -> bool:
    if not isinstance(message, AIMessage):
        return False
    name = recorded_candidate(message)
    if name in candidates:
        return provider_of(candidates[name]) != target
    return message.response_metadata.get("model_provider", target) != target


def _bare(message: AIMessage) -> AIMessage:
    return AIMessage(content=str(message.text), tool_calls=message.tool_calls, id=message.id, name=message.name)


def _without_cache_markers(message: BaseMessage) -> BaseMessage:
    if isinstance(message.content, str) or not any("cache_control" in block for block in message.content):
        return message
    content = [
        {key: value for key, value in block.items() if key != "cache_control"} if isinstance(block, dict) else block
        for block in message.content
    ]
    return message.model_copy(update={"content": content})
