"""Routes in plain words: kinds of requests, each with the candidates that they may go to."""

from lookahead_router.routes.definition import Route, Routes
from lookahead_router.routes.matching import Match, RouteMatcher

__all__ = ["Match", "Route", "RouteMatcher", "Routes"]
