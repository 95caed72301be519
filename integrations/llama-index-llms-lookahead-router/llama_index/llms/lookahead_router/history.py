"""What of a conversation may be sent to whom: reasoning and signatures are read by the provider that wrote them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

from llama_index.core.base.llms.types import ChatMessage, MessageRole, ThinkingBlock
from llama_index.core.llms.llm import LLM

_CARRIED = ("tool_calls", "function_call", "tool_call_id", "name")
"""Fields beside the content that every provider's class writes and reads."""


def remember_author(message: ChatMessage, name: str, authors: MutableMapping[str, str]) -> None:
    """Notes whose reasoning a message holds, if it holds any.

    Args:
        message: as it was answered.
        name: the candidate that answered.
        authors: candidate by a hash of the reasoning.
    """
    for trace in _traces(message):
        authors[trace] = name


def portable(
    messages: Sequence[ChatMessage], to: LLM, llms: Mapping[str, LLM], authors: Mapping[str, str]
) -> list[ChatMessage]:
    """The history as one of the candidates can take it.

    What another provider's class wrote keeps its text and tool calls and loses its reasoning, signatures and
    whatever else only that class reads. Messages are copied, never changed; those of unknown origin stay as they are.

    Args:
        messages: a conversation, oldest first.
        to: the candidate that gets it.
        llms: all candidates by name.
        authors: what `remember_author` noted.
    """
    return [_bare(message) if _is_foreign(message, to, llms, authors) else message for message in messages]


def _is_foreign(message: ChatMessage, to: LLM, llms: Mapping[str, LLM], authors: Mapping[str, str]) -> bool:
    author = next((name for trace in _traces(message) if (name := authors.get(trace)) in llms), None)
    return author is not None and type(llms[author]) is not type(to)


def _bare(message: ChatMessage) -> ChatMessage:
    return ChatMessage(
        role=message.role,
        blocks=[block for block in message.blocks if not isinstance(block, ThinkingBlock)],
        additional_kwargs={name: value for name, value in message.additional_kwargs.items() if name in _CARRIED},
    )


def _traces(message: ChatMessage) -> Iterator[str]:
    """Hashes of what only its author's provider reads."""
    if message.role != MessageRole.ASSISTANT:
        return
    for block in message.blocks:
        if isinstance(block, ThinkingBlock):
            yield _hash([block.content, block.additional_information])
    for name, value in message.additional_kwargs.items():
        if name not in _CARRIED and value:
            yield _hash([name, value])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return f"reasoning {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
