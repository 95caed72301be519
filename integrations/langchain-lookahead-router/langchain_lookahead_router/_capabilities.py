"""What a request needs, what a candidate can do, and what all of them can do."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

if TYPE_CHECKING:
    from lookahead_router import Candidate

# Types of content blocks, LangChain's own and the providers', and the capability that each of them needs.
_BLOCKS = {
    "image": "images",
    "image_url": "images",
    "input_image": "images",
    "audio": "audio",
    "input_audio": "audio",
    "video": "video",
    "file": "files",
    "input_file": "files",
}

# Capability, as `Candidate.capabilities` calls it, and the key of LangChain's model profiles.
_PROFILE_KEYS = {
    "tools": "tool_calling",
    "images": "image_inputs",
    "audio": "audio_inputs",
    "video": "video_inputs",
    "files": "pdf_inputs",
}


def needs_of(messages: Sequence[BaseMessage], need: str | None = None) -> frozenset[str]:
    """The capabilities without which a request cannot be answered: those of its media, and `need`."""
    blocks = (block for message in messages if isinstance(message.content, list) for block in message.content)
    needs = {_BLOCKS.get(block.get("type", "")) for block in blocks if isinstance(block, dict)}
    return frozenset(name for name in (*needs, need) if name)


def unable_to(
    models: Mapping[str, BaseChatModel],
    pool: "Mapping[str, Candidate]",
    messages: Sequence[BaseMessage],
    need: str | None = None,
) -> dict[str, str]:
    """Why candidates cannot take a request, by name; the others are not named.

    What is not known does not exclude. Tokens are estimated, so where the conversation seems too long for
    everyone, those with the largest window stay in.

    Args:
        models: chat models by name.
        pool: what the router knows of them; may lack some.
        messages: the conversation.
        need: what is bound to the call: `tools` or `structured output`.
    """
    needs = needs_of(messages, need)
    reasons = {name: reason for name, model in models.items() if (reason := _lack(model, pool.get(name), needs))}
    windows = {name: _window(model, pool.get(name)) for name, model in models.items() if name not in reasons}
    known = [window for window in windows.values() if window is not None]
    if not known:
        return reasons
    n_tokens = count_tokens_approximately(messages)
    largest = float("inf") if None in windows.values() else max(known)
    for name, window in windows.items():
        if window is not None and window < min(n_tokens, largest):
            reasons[name] = f"takes {window} tokens, the conversation has about {n_tokens}"
    return reasons


def _lack(model: BaseChatModel, candidate: "Candidate | None", needs: frozenset[str]) -> str | None:
    for need in sorted(needs):
        if not _has_methods(type(model), need):
            return f"has no {need}"
        if need in _PROFILE_KEYS and (model.profile or {}).get(_PROFILE_KEYS[need]) is False:
            return f"has no {need}, says its profile"
        if need in _PROFILE_KEYS and candidate and candidate.capabilities and need not in candidate.capabilities:
            return f"has no {need}, says its entry in the pool"
    return None


def _has_methods(model: type[BaseChatModel], need: str) -> bool:
    binds = model.bind_tools is not BaseChatModel.bind_tools
    if need == "structured output":
        return binds or model.with_structured_output is not BaseChatModel.with_structured_output
    return binds or need != "tools"


def _window(model: BaseChatModel, candidate: "Candidate | None") -> int | None:
    window = (model.profile or {}).get("max_input_tokens")
    return window if window is not None or candidate is None else candidate.context_window_tokens


def shared_profile(models: Iterable[BaseChatModel]) -> dict[str, Any] | None:
    """What holds of every model: booleans that all share, the smallest of each number.

    `None` if a model has no profile, since nothing is known to hold of it.
    """
    profiles = [model.profile for model in models]
    if not all(profiles):
        return None
    shared: dict[str, Any] = {}
    for key in profiles[0]:
        values = [profile.get(key) for profile in profiles]
        if all(isinstance(value, bool) for value in values):
            shared[key] = all(values)
        elif all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            shared[key] = min(values)
    return shared
