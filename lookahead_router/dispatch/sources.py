"""Where a router comes from: given, or loaded once per process; and how it comes to the names of an adapter."""

import functools
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.threads import PerProcess
from lookahead_router.types import Candidate, CandidatePool, check_mapping

if TYPE_CHECKING:
    from lookahead_router.router import Router

_lock = PerProcess(threading.Lock)
Aliases = Mapping[str, str | Candidate]
Prices = Mapping[str, float | tuple[float, float]]


@functools.lru_cache(maxsize=8)
def _load(location: str | Path | None, revision: str | None) -> "Router":
    from lookahead_router.router import Router

    return Router.from_pretrained(location, **({} if revision is None else {"revision": revision}))


def open_router(
    source: "Router | str | Path | None",
    *,
    revision: str | None = None,
    aliases: Aliases | None = None,
    names: Iterable[str] | None = None,
    profiles: Mapping[str, str] | None = None,
) -> "Router":
    """The router of a location, or the given one, with whoever it lacks; under its own names and policy.

    Locations are loaded once per process, so building an object again costs no reading of weights. Where its
    predictor is for any pool, names that its pool lacks join; a name that it holds keeps its profile, unless
    `profiles` gives another one.

    Args:
        source: a `Router`, a folder, a Hub id, or `None` for the embedded predictor.
        revision: commit or tag of a Hub repository.
        aliases: `{name in the router's pool, or that joins it: the name here, or a Candidate with prices}`.
        names: the candidates to decide among, under the names here.
        profiles: `{name here: the known name whose profile it starts from}`.

    Raises:
        ConfigurationError: neither a router nor a location, a revision of something without one, or profiles for a
            predictor whose pool is fixed.
        UnknownCandidateError: a profile for a name that is no candidate, or of one that is not known.
        CheckpointError, HubError: nothing to load at the location.
    """
    from lookahead_router.predictors.load import embedded_location
    from lookahead_router.predictors.open_pool import OpenPoolPredictor

    names = None if names is None else list(names)
    check_mapping(profiles or {}, "profiles")
    if source is None and revision is None and names is not None:
        theirs = names_behind(aliases or {})
        source = embedded_location([theirs.get(name, name) for name in names])
    router, aliases = _found(source, revision), aliases or {}
    if not isinstance(router.predictor, OpenPoolPredictor):
        if profiles:
            raise ConfigurationError(f"profiles: the pool of {router.predictor!r} is fixed by its training")
        return router
    theirs = names_behind(aliases)
    joining = {name: _as_candidate(name, alias) for name, alias in aliases.items() if name not in router.pool.names}
    wanted = [name for name in names or () if name not in theirs]
    joining |= {name: Candidate(name=name) for name in wanted if name not in router.pool.names}
    profiles = {theirs.get(name, name): known for name, known in (profiles or {}).items()}
    if not joining and not profiles:
        return router
    return router.with_candidates([*router.pool, *joining.values()], profiles=profiles)


def arrange_router(
    router: "Router",
    *,
    aliases: Aliases | None = None,
    names: Iterable[str] | None = None,
    prices: Prices | None = None,
    policy: Any = None,
    routes: Any = None,
    privacy: Any = None,
) -> "Router":
    """The router among the named candidates, at their prices, under the policy and with the routes.

    Args:
        router: what `open_router` gave.
        aliases: `{name in the router's pool: the name here, or a Candidate with prices}`.
        names: the candidates to decide among; all when absent.
        prices: as `Router.with_prices` takes them, under the names here.
        policy: scores to utilities; the router's own when absent.
        routes: as `Router.with_routes` takes them, under the names here; the router's own when absent.
        privacy: as `Router.with_privacy` takes it, under the names here; the router's own when absent.

    Raises:
        ConfigurationError: a policy that cannot decide among the candidates, or a price that is none.
        UnknownCandidateError: an alias, a name or a price that the pool does not hold.
    """
    if routes is not None:
        router = router.with_routes(None)  # which may know candidates that are none here
    if aliases:
        router = router.with_aliases(aliases)
    if names is not None:
        names = list(names)
        _check_names(names, router.pool)
        router = router.restrict_to(names)
    if prices:
        router = router.with_prices(prices)
    if policy is not None:
        router = router.with_policy(policy)
    if routes is not None:
        router = router.with_routes(routes)
    return router if privacy is None else router.with_privacy(privacy)


def _found(source: "Router | str | Path | None", revision: str | None) -> "Router":
    from lookahead_router.router import Router

    if isinstance(source, Router):
        if revision is not None:
            raise ConfigurationError("a loaded Router has its revision already; leave out `revision`")
        return source
    if source is None or isinstance(source, str | Path):
        if revision is not None and source is None:
            raise ConfigurationError("the embedded predictor has no revisions; name a repository in `router`")
        with _lock():  # two threads must not load the same weights twice
            return _load(source, revision)
    raise ConfigurationError(
        f"router must be a Router, a folder, a Hub id or None for the embedded one, not {type(source).__name__}"
    )


def names_behind(aliases: Aliases) -> dict[str, str]:
    """The names in the router's pool, by those that stand for them here."""
    check_mapping(aliases, "aliases")
    return {alias.name if isinstance(alias, Candidate) else alias: name for name, alias in aliases.items()}


def _as_candidate(name: str, alias: str | Candidate) -> Candidate:
    """Whoever joins under a name, with what its alias tells of it."""
    return replace(alias, name=name) if isinstance(alias, Candidate) else Candidate(name=name)


def _check_names(names: list[str], pool: CandidatePool) -> None:
    for name in names:
        if name not in pool.names:
            raise UnknownCandidateError(
                name,
                pool.names,
                hint=f"Give the pool's candidates your names with aliases={{{pool.names[0]!r}: {name!r}, ...}}, "
                "or name a predictor for any pool in router=, or none for the embedded one, which take the names "
                "that you use.",
            )
