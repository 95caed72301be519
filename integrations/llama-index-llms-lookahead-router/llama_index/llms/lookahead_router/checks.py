"""What a router LLM refuses."""

import pickle
from collections.abc import Mapping
from typing import Any

from llama_index.core.llms.llm import LLM

from lookahead_router import Router
from lookahead_router.errors import ConfigurationError, UnknownCandidateError


def check_candidates(candidates: Mapping[str, LLM], router: Router, default: str | None) -> None:
    """Every candidate of the router's pool has an LLM, and nobody else.

    Raises:
        ConfigurationError: a candidate without an LLM.
        UnknownCandidateError: an LLM or a default for a name that is not in the pool.
    """
    names = router.pool.names
    for name in (*candidates, *([] if default is None else [default])):
        if name not in names:
            raise UnknownCandidateError(name, names)
    missing = [name for name in names if candidates.get(name) is None]
    if missing:
        raise ConfigurationError(
            f"no LLM for {', '.join(missing)}; give one in candidates, or restrict the router to the others "
            "with router.restrict_to([...])"
        )
    for name, llm in candidates.items():
        if not isinstance(llm, LLM):
            raise ConfigurationError(f"the candidate {name!r} needs a LlamaIndex LLM, got {type(llm).__name__}")


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
