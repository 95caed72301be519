"""From routes as they were written to what a router matches by."""

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import Policy, check_policy
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.routes.definition import Routes
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


def embedder_of(predictor: Predictor) -> TextEmbedder:
    """What embeds texts: the predictor's own embedder or network, or the network for any pool that is embedded."""
    if isinstance(predictor, OpenPoolPredictor):
        return NetworkEmbedder(predictor)
    own = getattr(predictor, "embedder", None)
    return NetworkEmbedder(OpenPoolPredictor.load()) if own is None else own
