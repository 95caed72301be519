"""Metadata that holds for every candidate."""

from collections.abc import Sequence

from llama_index.core.base.llms.types import LLMMetadata, MessageRole

MODEL_NAME = "lookahead-router"
"""No provider's: LlamaIndex must not conclude anything from it."""


def intersect(metadata: Sequence[LLMMetadata]) -> LLMMetadata:
    """What all have in common: the smallest limits, abilities that none lacks.

    A `num_output` below 1 means that the candidate does not say. Where system roles differ, it is the
    user's, which every LLM takes.
    """
    roles = {each.system_role for each in metadata}
    return LLMMetadata(
        context_window=min(each.context_window for each in metadata),
        num_output=min((each.num_output for each in metadata if each.num_output > 0), default=-1),
        is_chat_model=all(each.is_chat_model for each in metadata),
        is_function_calling_model=all(each.is_function_calling_model for each in metadata),
        model_name=MODEL_NAME,
        system_role=roles.pop() if len(roles) == 1 else MessageRole.USER,
    )
