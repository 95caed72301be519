"""What chat models can do, each alone and all together."""

from collections.abc import Iterable
from typing import Any

from langchain_core.language_models import BaseChatModel
from lookahead_router import Abilities

# Capability, as `Candidate.capabilities` calls it, and the key of LangChain's model profiles.
_PROFILE_KEYS = {
    "tools": "tool_calling",
    "images": "image_inputs",
    "audio": "audio_inputs",
    "video": "video_inputs",
    "files": "pdf_inputs",
}


def abilities_of(model: BaseChatModel) -> Abilities:
    """What a model's profile and its class say of it; what neither says is not known."""
    profile = model.profile or {}
    can = {need: profile[key] for need, key in _PROFILE_KEYS.items() if isinstance(profile.get(key), bool)}
    binds = type(model).bind_tools is not BaseChatModel.bind_tools
    if not binds:
        can["tools"] = False
        can["structured output"] = type(model).with_structured_output is not BaseChatModel.with_structured_output
    return Abilities(can, profile.get("max_input_tokens"))


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
