"""A saved predictor of any kind from its folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.saved.find import EMBEDDED, OPEN_EMBEDDED, LoadOptions, find
from lookahead_router.saved.folder import PredictorFolder

_GONE = ("kl", "routerdc", "matrix-factorization")
"""Kinds that earlier versions wrote."""


def load_predictor(location: str | Path | None = None, **options: Unpack[LoadOptions]) -> Predictor:
    """The predictor of any kind in a folder or a repository of the Hub; without a location the embedded one.

    Args:
        location: folder, or `org/name` on the Hub; the embedded default, for any pool, when absent.
        options: those of `LookaheadPredictor.load`.

    Raises:
        CheckpointError: the folder is missing, damaged or of another kind.
        ConfigurationError: a backend, threads or options of the Hub for a fitted predictor.
        HubError: the repository cannot be read.
    """
    found = find(location, OPEN_EMBEDDED, **options)
    kind = found.folder.kind()
    if kind in _GONE:
        raise CheckpointError(
            f"it is a {kind} predictor, which this version no longer has; fit another kind ({', '.join(FITTED)}), "
            "or load it with the version that wrote it",
            location=found.folder.location,
        )
    if kind in FITTED:
        given = [name for name, value in options.items() if value and (name, value) != ("backend", "auto")]
        if given or found.repo_id:
            what = ", ".join(given) or "a repository of the Hub"
            raise ConfigurationError(
                f"{what}: {location} is a {kind} predictor, which is loaded from a folder and without options"
            )
        return fitted_class(kind).load(found.folder.path)
    if kind != "open-pool":
        from lookahead_router.predictors.lookahead import LookaheadPredictor

        return LookaheadPredictor.from_found(found)
    from lookahead_router.predictors.open_pool import OpenPoolPredictor

    return OpenPoolPredictor.from_found(found)


def embedded_location(names: Iterable[str] | None) -> Path:
    """Which of the embedded predictors decides among these names: the paper's where all are among its five candidates,
    and the one for any pool otherwise, and where no names are given."""
    if names is not None and set(names) <= set(PredictorFolder(EMBEDDED).read_pool().names):
        return EMBEDDED
    return OPEN_EMBEDDED
