"""A saved predictor of any kind from its folder."""

from collections.abc import Iterable
from pathlib import Path

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.files import read_json
from lookahead_router.hub import is_repo_id
from lookahead_router.predictors.base import Predictor
from lookahead_router.predictors.fitted import FITTED, fitted_class
from lookahead_router.predictors.lookahead import EMBEDDED, LookaheadPredictor
from lookahead_router.saved.fetch import fetch
from lookahead_router.saved.folder import PredictorFolder

OPEN_EMBEDDED = Path(__file__).parent.parent / "pretrained" / "Llama-lookahead-any-pool-minilm"
"""The predictor for any pool in the wheel, beside the one of the paper's five candidates."""
_GONE = ("kl", "routerdc", "matrix-factorization")
"""Kinds that earlier versions wrote."""


def load_predictor(location: str | Path | None = None, **options) -> Predictor:
    """The predictor of any kind in a folder or a repository of the Hub; the embedded one without a location.

    Args:
        location: folder, or `org/name` on the Hub; the embedded default when absent.
        options: those of `LookaheadPredictor.load`, for one of these.

    Raises:
        CheckpointError: the folder is missing, damaged or of another kind.
        ConfigurationError: a backend, threads or options of the Hub for a fitted predictor.
        HubError: the repository cannot be read.
    """
    if not isinstance(location, str | Path | None):
        raise ConfigurationError(f"expected a folder or org/name on the Hub, got {type(location).__name__}")
    kind = _kind(location, options)
    if kind in _GONE:
        raise CheckpointError(
            f"it is a {kind} predictor, which this version no longer has; fit another kind ({', '.join(FITTED)}), "
            "or load it with the version that wrote it",
            location=str(location),
        )
    if kind == "open-pool":
        from lookahead_router.predictors.open_pool import OpenPoolPredictor

        return OpenPoolPredictor.load(location, **options)
    if kind not in FITTED:
        return LookaheadPredictor.load(location, **options)
    given = [name for name, value in options.items() if value and (name, value) != ("backend", "auto")]
    if given:
        raise ConfigurationError(f"{', '.join(given)}: {location} is a {kind} predictor, which has no such option")
    return fitted_class(kind).load(location)


def embedded_location(names: Iterable[str] | None) -> Path | None:
    """Which of the embedded predictors decides among these names, as `load_predictor` takes it.

    `None`, the one of the paper's five candidates, where no names are given or all are among these; the one for any
    pool otherwise.
    """
    if names is None or set(names) <= set(PredictorFolder(EMBEDDED).read_pool().names):
        return None
    return OPEN_EMBEDDED


def _kind(location: str | Path | None, options: dict) -> str | None:
    """What a folder or repository says it is; `None` where it says nothing, which the loader of Lookahead explains."""
    if location is None:
        return None
    if is_repo_id(location):
        hub = {name: value for name, value in options.items() if name not in ("backend", "n_threads")}
        folder = fetch(location, [], hub)
        options["revision"] = folder.commit  # what was looked at is what is loaded
        location = folder.path
    try:
        return read_json(Path(location) / "config.json").get("predictor")
    except CheckpointError:
        return None
