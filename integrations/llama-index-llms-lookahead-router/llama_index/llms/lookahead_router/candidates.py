"""The LLMs behind the candidates: what they can do, what they share, what answers depend on."""

import hashlib
import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

from llama_index.core.base.llms.types import LLMMetadata, MessageRole
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM

from lookahead_router import Abilities, Candidate
from lookahead_router.errors import ConfigurationError

MODEL_NAME = "lookahead-router"
"""No provider's: LlamaIndex must not conclude anything from it."""

_SECRET = re.compile(r"api_?key|secret|password|headers|auth|credential|access_?token|^token$", re.IGNORECASE)


def llms(candidates: Any) -> dict[str, LLM]:
    """The candidates, as a dict of one's own.

    Raises:
        ConfigurationError: no mapping, an empty one, or one to something else than LLMs.
    """
    if not isinstance(candidates, Mapping) or not candidates:
        raise ConfigurationError("candidates must be a mapping {name: LLM}, and not empty")
    for name, llm in candidates.items():
        if not isinstance(name, str):
            raise ConfigurationError(f"candidate names must be strings, got {type(name).__name__}")
        if not isinstance(llm, LLM):
            raise ConfigurationError(f"the candidate {name!r} needs a LlamaIndex LLM, got {type(llm).__name__}")
    return dict(candidates)


def abilities_of(candidates: Mapping[str, LLM]) -> dict[str, Abilities]:
    """What the LLMs say of themselves. LlamaIndex's default window stands for one that nobody stated."""
    found = {}
    for name, llm in candidates.items():
        metadata = llm.metadata
        window = metadata.context_window
        found[name] = Abilities(
            can={"tools": isinstance(llm, FunctionCallingLLM) and metadata.is_function_calling_model},
            window_tokens=None if window == DEFAULT_CONTEXT_WINDOW else window,
        )
    return found


def intersect(metadata: Sequence[LLMMetadata]) -> LLMMetadata:
    """What holds whoever answers: the smallest limits, and functions if anyone calls them, who then gets the call.

    A `num_output` below 1 means that the candidate does not say. Where system roles differ, it is the
    user's, which every LLM takes.
    """
    roles = {each.system_role for each in metadata}
    return LLMMetadata(
        context_window=min(each.context_window for each in metadata),
        num_output=min((each.num_output for each in metadata if each.num_output > 0), default=-1),
        is_chat_model=all(each.is_chat_model for each in metadata),
        is_function_calling_model=any(each.is_function_calling_model for each in metadata),
        model_name=MODEL_NAME,
        system_role=roles.pop() if len(roles) == 1 else MessageRole.USER,
    )


def settings_of(llm: LLM, entry: Candidate) -> dict[str, str]:
    """Class, model and fingerprints: of all settings but keys, on which answers depend, and of the entry in the pool,
    such as prices, on which decisions do."""
    return {
        "class_name": llm.class_name(),
        "model": llm.metadata.model_name,
        "settings": _fingerprint(json.dumps(_without_secrets(llm.to_dict()), sort_keys=True, default=str)),
        "entry": _fingerprint(json.dumps(entry.to_dict(), sort_keys=True)),
    }


def function_id(function: Callable) -> str:
    """A name of a function for keys of caches: another one for another code, as two lambdas of a module have."""
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(function)
    bound = [getattr(function, "__defaults__", None), *(cell.cell_contents for cell in function.__closure__ or ())]
    name = f"{function.__module__}.{function.__qualname__}"
    return f"{name} {_fingerprint(repr([*_parts(code), *bound]))}"


def _parts(code: CodeType) -> Iterator[Any]:
    yield from (code.co_code, code.co_names)
    for constant in code.co_consts:
        yield from _parts(constant) if isinstance(constant, CodeType) else [constant]


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def check_pickles(name: str, value: Any) -> None:
    """The part of a router LLM can be pickled.

    Raises:
        ConfigurationError: it cannot; says which part it is.
    """
    try:
        pickle.dumps(value)
    except Exception as error:
        raise ConfigurationError(
            f"LookaheadRouterLLM cannot be pickled: its {name} cannot, by {type(error).__name__}: {error}. "
            "Build it anew in the other process"
        ) from error


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_secrets(each) for key, each in value.items() if not _SECRET.search(str(key))}
    return [_without_secrets(each) for each in value] if isinstance(value, list | tuple) else value
