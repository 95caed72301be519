"""Routes in plain words: kinds of requests, each with the candidates that they may go to."""

from lookahead_router.routes.definition import Match, Route, Routes
from lookahead_router.routes.matching import RouteMatcher

__all__ = ["Match", "Route", "RouteMatcher", "Routes"]
