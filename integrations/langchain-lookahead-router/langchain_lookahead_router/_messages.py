"""What is read from a conversation, what of it may be sent to whom, and what an answer holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.outputs import LLMResult
from langchain_core.prompt_values import PromptValue
from lookahead_router import read_reply
from lookahead_router.errors import ConfigurationError, PromptError

RECORD_KEY = "lookahead_router"
"""Where the routing record stands: in `response_metadata`, in run metadata and in agent state."""

QUERY_KEY = "lookahead_query"
"""Where a config says what to route on."""
CANDIDATE_KEY = "lookahead_candidate"
"""Where it names the candidate that answers."""
POLICY_KEY = "lookahead_policy"
"""Where it holds a policy."""

CONTEXT_KEY = "lookahead_context"
"""Where a config holds the documents that were retrieved."""

RouteOn = Callable[[list[BaseMessage]], str | None] | None
"""From the messages to the text to route on; `None` leaves it to the router."""


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


def check_route_on(value: Any) -> None:
    """Checks the option when something is built with it.

    Raises:
        ConfigurationError: neither a function nor `None`.
    """
    if value is not None and not callable(value):
        raise ConfigurationError(f"route_on must be a function from the messages to a text, not {type(value).__name__}")


def query_of(config: Mapping[str, Any]) -> str | None:
    """What a chain says to route on, in its config.

    Raises:
        ConfigurationError: something else than text.
    """
    for part in ("configurable", "metadata"):
        query = (config.get(part) or {}).get(QUERY_KEY)
        if query is not None:
            if not isinstance(query, str):
                raise ConfigurationError(f"{QUERY_KEY} must be the text to route on, got {type(query).__name__}")
            return query
    return None


def context_of(config: Mapping[str, Any]) -> Sequence[Any]:
    """The documents that a chain says were retrieved, in its config."""
    return (config.get("configurable") or {}).get(CONTEXT_KEY) or ()


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


def stamp(output: Any, record: dict[str, Any]) -> Any:
    """The output with the routing record in its message's `response_metadata`.

    Copies: the candidate's cache may hold the same message.

    Outputs without a message, such as parsed objects, come back as they are.
    """
    if isinstance(output, AIMessage):
        metadata = {**output.response_metadata, RECORD_KEY: record}
        return output.model_copy(update={"response_metadata": metadata})
    if isinstance(output, LLMResult):
        generations = [
            [generation.model_copy(update={"message": stamp(generation.message, record)}) for generation in row]
            for row in output.generations
        ]
        return output.model_copy(update={"generations": generations})
    if isinstance(output, dict) and isinstance(output.get("raw"), AIMessage):
        return {**output, "raw": stamp(output["raw"], record)}
    return output


def shows_something(chunk: Any) -> bool:
    """Whether a chunk of a stream holds anything that a user sees; a role, usage and metadata are nothing."""
    if isinstance(chunk, dict) and isinstance(chunk.get("raw"), AIMessage):
        chunk = chunk["raw"]
    if not isinstance(chunk, AIMessage):
        return bool(chunk)
    blocks = chunk.content if isinstance(chunk.content, list) else [chunk.content]
    calls = (*chunk.tool_calls, *chunk.invalid_tool_calls, *getattr(chunk, "tool_call_chunks", ()))
    return bool(calls) or any(map(_block_shows, blocks)) or any(map(_holds_text, chunk.additional_kwargs.values()))


def is_no_answer(output: Any) -> bool:
    """Whether a candidate's output is nothing: a message without content, of which not even a token is counted, or
    no object where one was asked for."""
    if isinstance(output, LLMResult):
        return all(is_no_answer(generation.message) for row in output.generations for generation in row)
    if output is None:
        return True
    if not isinstance(output, AIMessage) or shows_something(output):
        return False
    return not (output.usage_metadata or {}).get("output_tokens")


def reply_of(output: Any) -> Any:
    """A candidate's output as the checks of a cascade see it."""
    message = output.generations[0][0].message if isinstance(output, LLMResult) else output
    if not isinstance(message, AIMessage):
        return read_reply(str(message), None)
    usage = message.usage_metadata or {}
    return read_reply(
        message.text,
        message.response_metadata,
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
    )


def _block_shows(block: Any) -> bool:
    if isinstance(block, dict):
        return any(
            bool(value.strip()) if isinstance(value, str) else value
            for key, value in block.items()
            if key not in ("type", "index", "id", "status")
        )
    return bool(block.strip())


def _holds_text(value: Any) -> bool:
    """Whether there is text in what a provider sends beside the content, such as reasoning or a refusal."""
    if isinstance(value, Mapping):
        return any(map(_holds_text, value.values()))
    if isinstance(value, list):
        return any(map(_holds_text, value))
    return isinstance(value, str) and bool(value.strip())
