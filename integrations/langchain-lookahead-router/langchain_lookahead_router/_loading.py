"""The router that decides: loaded once per process, fitted to the candidates at hand."""

import functools
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router import Candidate, Router

_lock = threading.Lock()


@functools.lru_cache(maxsize=8)
def _load(location: str | Path | None, revision: str | None) -> "Router":
    from lookahead_router import Router

    return Router.from_pretrained(location, **({} if revision is None else {"revision": revision}))


def check_source(source: Any, revision: str | None) -> None:
    """Holds that `source` and `revision` can name a router, without loading it.

    Raises:
        ConfigurationError: neither a router nor a location, or a revision of something without one.
    """
    if isinstance(source, str | Path) or source is None:
        if revision is not None and source is None:
            raise ConfigurationError("the embedded predictor has no revisions; name a repository in `router`")
        return
    from lookahead_router import Router

    if not isinstance(source, Router):
        raise ConfigurationError(
            f"router must be a Router, a folder, a Hub id or None for the embedded one, not {type(source).__name__}"
        )
    if revision is not None:
        raise ConfigurationError("a loaded Router has its revision already; leave out `revision`")


def resolve_router(
    source: Any,
    *,
    revision: str | None = None,
    aliases: "Mapping[str, str | Candidate] | None" = None,
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
        UnknownCandidateError: an alias or a name that the pool does not hold.
        CheckpointError: nothing to load at the location.
    """
    check_source(source, revision)
    if isinstance(source, str | Path) or source is None:
        with _lock:  # two threads must not load the same weights twice
            router = _load(source, revision)
    else:
        router = source
    if aliases:
        router = router.with_aliases(aliases)
    if names is not None:
        router = router.restrict_to(names)
    return router if policy is None else router.with_policy(policy)
