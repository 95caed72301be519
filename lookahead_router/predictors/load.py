"""A saved predictor of any kind from its folder."""

import json
from pathlib import Path

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.lookahead import LookaheadPredictor

_GONE = ("kl", "routerdc", "matrix-factorization")
"""Kinds that earlier versions wrote."""


def load_predictor(location: str | Path | None = None, **options) -> Predictor:
    """The predictor of any kind in a folder; of a repository of the Hub, or none, a `LookaheadPredictor`.

    Args:
        location: folder, or `org/name` on the Hub; the embedded default when absent.
        options: those of `LookaheadPredictor.load`, for one of these.

    Raises:
        CheckpointError: the folder is missing, damaged or of another kind.
        ConfigurationError: a backend, threads or options of the Hub for a fitted predictor.
        HubError: the repository cannot be read.
    """
    kind = None if location is None else _kind(Path(location))
    if kind in _GONE:
        raise CheckpointError(
            f"it is a {kind} predictor, which this version no longer has; fit another kind ({', '.join(FITTED)}), "
            "or load it with the version that wrote it",
            location=str(location),
        )
    if kind not in FITTED:
        return LookaheadPredictor.load(location, **options)
    given = [name for name, value in options.items() if value and (name, value) != ("backend", "auto")]
    if given:
        raise ConfigurationError(f"{', '.join(given)}: {location} is a {kind} predictor, which has no such option")
    return fitted_class(kind).load(location)


def _kind(folder: Path) -> str | None:
    """What a folder says it is; `None` where it says nothing, which the loader of Lookahead explains."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return config.get("predictor") if isinstance(config, dict) else None
