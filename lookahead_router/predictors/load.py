"""The baselines by the names that the command line knows, and any saved predictor from its folder."""

import json
from importlib import import_module
from pathlib import Path

from lookahead_router.errors import ConfigurationError
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.fitted.base import Baseline
from lookahead_router.predictors.lookahead import LookaheadPredictor

_HOMES = {
    "random": "random_choice.RandomChoice",
    "best-single": "best_single.BestSingle",
    "rule": "rule.Rule",
    "knn": "knn.NearestNeighbors",
    "clusters": "clusters.Clusters",
    "classifier": "classifier.Classifier",
    "routerdc": "routerdc.RouterDC",
    "kl": "kl.Distillation",
    "matrix-factorization": "matrix_factorization.MatrixFactorization",
    "irt": "irt.ItemResponse",
    "uniroute": "uniroute.UniRoute",
}
BASELINES = tuple(_HOMES)
"""Every kind of baseline."""


def baseline_class(kind: str) -> type[Baseline]:
    """The class of a baseline.

    Raises:
        ConfigurationError: no such kind.
    """
    if kind not in _HOMES:
        raise ConfigurationError(f"unknown baseline {kind!r}; choose one of {', '.join(BASELINES)}")
    module, name = _HOMES[kind].split(".")
    return getattr(import_module(f"lookahead_router.predictors.fitted.{module}"), name)


def load_predictor(location: str | Path | None = None, **options) -> Predictor:
    """The predictor of any kind in a folder; of a repository of the Hub, or none, a `LookaheadPredictor`.

    Args:
        location: folder, or `org/name` on the Hub; the embedded default when absent.
        options: those of `LookaheadPredictor.load`, for one of these.

    Raises:
        CheckpointError: the folder is missing, damaged or of another kind.
        ConfigurationError: a backend, threads or options of the Hub for a baseline.
        HubError: the repository cannot be read.
    """
    kind = None if location is None else _kind(Path(location))
    if kind not in BASELINES:
        return LookaheadPredictor.load(location, **options)
    given = [name for name, value in options.items() if value and (name, value) != ("backend", "auto")]
    if given:
        raise ConfigurationError(f"{', '.join(given)}: {location} is a {kind} baseline, which has no such option")
    return baseline_class(kind).load(location)


def _kind(folder: Path) -> str | None:
    """What a folder says it is; `None` where it says nothing, which the loader of Lookahead explains."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    return config.get("predictor") if isinstance(config, dict) else None
