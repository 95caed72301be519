"""What `Dispatcher` is told, checked when it is built."""

from collections.abc import Iterable
from typing import Any

from lookahead_router.dispatch.cooldowns import Cooldowns
from lookahead_router.errors import ConfigurationError
from lookahead_router.types import CandidatePool


def check_options(fallbacks: Any, fallback_on: Any, sticky: Any, threads: Any, cooldowns: Any) -> None:
    """Raises `ConfigurationError` for options outside their domain."""
    for name, value, domain in (
        ("fallbacks", fallbacks, ("next-best", None)),
        ("sticky", sticky, ("thread", "turn", "adaptive", None)),
    ):
        if value not in domain:
            choices = " or ".join(map(repr, domain))
            raise ConfigurationError(f"{name} must be {choices}, not {value!r}")
    if fallback_on is not None and not callable(fallback_on):
        raise ConfigurationError("fallback_on must be a function from an exception to a bool")
    if cooldowns is not None and not isinstance(cooldowns, Cooldowns):
        raise ConfigurationError(f"cooldowns must be Cooldowns(...), got {type(cooldowns).__name__}")
    if threads is not None and not (hasattr(threads, "get") and hasattr(threads, "__setitem__")):
        raise ConfigurationError(f"threads must be a mutable mapping, got {type(threads).__name__}")


def names_of(candidates: Iterable[str] | None) -> list[str] | None:
    """The names of candidates, each once; `None` where none are given.

    Raises:
        ConfigurationError: a lone text, or no name.
    """
    if candidates is None:
        return None
    if isinstance(candidates, str):
        raise ConfigurationError("expected a list of candidate names; wrap a single name in a list")
    names = list(candidates)
    if not names:
        raise ConfigurationError("no candidate is named; name at least one")
    return list(CandidatePool(list(dict.fromkeys(names))).names)  # several tools may be served by one
