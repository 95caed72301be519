"""Predictors that are fitted on a routing dataset in seconds; see `base.py`. All names here are public.

Like the package's, they are loaded when first used: a saved predictor of one kind needs no other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router.predictors.fitted.base import FittedPredictor

_KINDS = {
    "random": ("random_choice", "RandomChoice"),
    "best-single": ("best_single", "BestSingle"),
    "rule": ("rule", "Rule"),
    "knn": ("knn", "NearestNeighbors"),
    "clusters": ("clusters", "Clusters"),
    "leaders": ("leaders", "Leaders"),
    "classifier": ("classifier", "Classifier"),
    "documents": ("documents", "Documents"),
    "irt": ("irt", "ItemResponse"),
    "uniroute": ("uniroute", "UniRoute"),
    "in-context": ("in_context", "InContext"),
}
FITTED = tuple(_KINDS)
"""Every kind, as the command line calls it."""
_HOMES = {
    **{name: f"fitted.{module}" for module, name in _KINDS.values()},
    "FittedPredictor": "fitted.base",
    "Embedder": "embedder",
}
__all__ = ["FITTED", "fitted_class", *sorted(_HOMES)]


def fitted_class(kind: str) -> "type[FittedPredictor]":
    """The class of a kind.

    Raises:
        ConfigurationError: no such kind.
    """
    if kind not in _KINDS:
        raise ConfigurationError(f"unknown kind of predictor {kind!r}; choose one of {', '.join(FITTED)}")
    return __getattr__(_KINDS[kind][1])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lookahead_router.predictors.{_HOMES[name]}"), name)
