"""From routes as they were written to what a router matches by."""

from collections.abc import Sequence
from dataclasses import replace

from lookahead_router.errors import ConfigurationError, PrivacyError
from lookahead_router.policies import Policy, Restricted, check_policy
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.privacy.guard import Privacy
from lookahead_router.prompts import Request
from lookahead_router.routes.definition import Match, Routes
from lookahead_router.routes.matching import RouteMatcher, TextEmbedder
from lookahead_router.types import CandidatePool


def open_routes(
    routes: Routes | RouteMatcher, predictor: Predictor, policy: Policy, pool: CandidatePool
) -> RouteMatcher:
    """The matcher, in whose routes the policy can decide; of routes that were not fitted, one on the predictor's own
    embeddings.

    Raises:
        UnknownCandidateError: a route names a candidate that is not in the pool.
        ConfigurationError: no routes, a route without an example, or one in which the policy cannot decide.
    """
    if isinstance(routes, Routes):
        routes.check(pool)  # before the network runs
        routes = routes.fit(embedder_of(predictor))
    if isinstance(routes, type) or not isinstance(routes, RouteMatcher):
        raise ConfigurationError(f"routes must be Routes(...), fitted or not, got {type(routes).__name__}")
    check_routes(routes.routes, policy, pool)
    return routes


def check_routes(routes: Routes, policy: Policy, pool: CandidatePool) -> None:
    """Tries the policy within every route.

    Raises:
        UnknownCandidateError: a route names a candidate that is not in the pool.
        ConfigurationError: the policy cannot decide within one.
    """
    routes.check(pool)
    for name in (None, *routes.names):
        try:
            check_policy(routes.policy(name, policy), pool)
        except ConfigurationError as error:
            whose = "requests of no route" if name is None else f"the route {name!r}"
            raise ConfigurationError(f"{whose}: {error}") from None


def matches_of(
    requests: Sequence[Request], private: Sequence[tuple[str, ...]], matcher: RouteMatcher | None
) -> list[Match]:
    """What each request belongs to; none for one without text, or with something private that the matcher may not see.

    Args:
        requests: what is sent.
        private: kinds of what is private in each.
        matcher: `None` where there are no routes.
    """
    found = [Match(private=kinds) for kinds in private]
    rows = [
        row
        for row, (request, kinds) in enumerate(zip(requests, private, strict=True))
        if matcher is not None and request.text.strip() and not (kinds and matcher.asks_elsewhere)
    ]
    if rows:
        for row, match in zip(rows, matcher.match([requests[row] for row in rows]), strict=True):
            found[row] = replace(match, private=private[row])
    return found


def policy_within(
    match: Match, policy: Policy, routes: Routes | None, privacy: Privacy | None, pool: CandidatePool
) -> Policy:
    """The policy by which a router of some policy decides for requests of a match.

    What is private goes to local candidates of its route and, where the route has none, to any local one.

    Raises:
        PrivacyError: no local candidate may answer what is private.
    """
    within = policy if routes is None else routes.policy(match.route, policy)
    if not match.private:
        return within
    local = [candidate.name for candidate in pool if candidate.local]
    for inner in (within, policy) if local and not (privacy is not None and privacy.refuse) else ():
        because = f"is not local, and the request holds private data ({', '.join(match.private)})"
        restricted = Restricted(inner, allow=local, because=because)
        try:
            restricted.excluded(pool)
        except ConfigurationError:  # everybody is
            continue
        return restricted
    raise PrivacyError(match.private)


def embedder_of(predictor: Predictor) -> TextEmbedder:
    """What embeds texts: the predictor's own embedder or network, or the network for any pool that is embedded."""
    if isinstance(predictor, OpenPoolPredictor):
        return NetworkEmbedder(predictor)
    own = getattr(predictor, "embedder", None)
    return NetworkEmbedder(OpenPoolPredictor.load()) if own is None else own
