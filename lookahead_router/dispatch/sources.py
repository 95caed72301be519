"""Where a router comes from: given, or loaded once per process."""

import functools
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.threads import PerProcess
from lookahead_router.types import Candidate, CandidatePool

if TYPE_CHECKING:
    from lookahead_router.router import Router

_lock = PerProcess(threading.Lock)


@functools.lru_cache(maxsize=8)
def _load(location: str | Path | None, revision: str | None) -> "Router":
    from lookahead_router.router import Router

    return Router.from_pretrained(location, **({} if revision is None else {"revision": revision}))


def resolve_router(
    source: "Router | str | Path | None",
    *,
    revision: str | None = None,
    aliases: Mapping[str, str | Candidate] | None = None,
    names: Iterable[str] | None = None,
    policy: Any = None,
) -> "Router":
    """The router of a location, or the given one, among the named candidates and under the policy.

    Locations are loaded once per process, so building an object again costs no reading of weights.

    Args:
        source: a `Router`, a folder, a Hub id, or `None` for the embedded predictor.
        revision: commit or tag of a Hub repository.
        aliases: `{name in the router's pool: the name here, or a Candidate with prices}`.
        names: the candidates to decide among; all when absent.
        policy: scores to utilities; the router's own when absent.

    Raises:
        ConfigurationError: neither a router nor a location, a revision of something without one, or a policy that
            cannot decide among the candidates.
        UnknownCandidateError: an alias or a name that the pool does not hold.
        CheckpointError, HubError: nothing to load at the location.
    """
    from lookahead_router.router import Router

    if isinstance(source, Router):
        if revision is not None:
            raise ConfigurationError("a loaded Router has its revision already; leave out `revision`")
        router = source
    elif source is None or isinstance(source, str | Path):
        if revision is not None and source is None:
            raise ConfigurationError("the embedded predictor has no revisions; name a repository in `router`")
        with _lock():  # two threads must not load the same weights twice
            router = _load(source, revision)
    else:
        raise ConfigurationError(
            f"router must be a Router, a folder, a Hub id or None for the embedded one, not {type(source).__name__}"
        )
    if aliases:
        router = router.with_aliases(aliases)
    if names is not None:
        names = list(names)
        _check_names(names, router.pool)
        router = router.restrict_to(names)
    return router if policy is None else router.with_policy(policy)


def _check_names(names: list[str], pool: CandidatePool) -> None:
    for name in names:
        if name not in pool.names:
            raise UnknownCandidateError(
                name,
                pool.names,
                hint=f"Give the pool's candidates your names with aliases={{{pool.names[0]!r}: {name!r}, ...}}, "
                "or name a predictor that was trained on your own candidates in router=.",
            )
