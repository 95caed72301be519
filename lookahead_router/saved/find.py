"""From a location to the folder of a saved predictor: here, on the Hugging Face Hub, or in the wheel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.hub import HubOptions, is_repo_id
from lookahead_router.saved.fetch import fetch
from lookahead_router.saved.folder import BACKENDS, PRETRAINED, WEIGHTS, PredictorFolder
from lookahead_router.threads import check_n_threads

EMBEDDED = PRETRAINED / "Llama-lookahead-mlm-minilm"
"""The predictor in the wheel."""
OPEN_EMBEDDED = PRETRAINED / "Llama-lookahead-any-pool-minilm"
"""The predictor for any pool, beside it."""


class LoadOptions(HubOptions, total=False):
    """How a predictor is run, and how a repository is reached that holds it."""

    backend: str
    """`onnx-int8`, `onnx`, `torch`, `static`, or `auto`, the default, for the first of them that is there."""
    n_threads: int | None
    """Threads of one ONNX pass; the physical cores that this process may use when absent."""


@dataclass(frozen=True)
class Found:
    """The folder of a saved predictor, and what finds it again: pickling stores a location, and no token."""

    folder: PredictorFolder
    backend: str
    n_threads: int | None
    hub: HubOptions
    repo_id: str | None
    """`org/name`; `None` for a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        if self.repo_id is None:
            path = Path(self.folder.path.name) if self.folder.is_installed else self.folder.path.absolute()
            return _folder_again, (path, self.backend, self.n_threads)
        # Another process may stand elsewhere and be online. A token is a secret, but `False` is a choice.
        again: dict[str, Any] = {**self.hub, "revision": self.folder.commit, "local_files_only": False}
        if self.hub.get("cache_dir") is not None:
            again["cache_dir"] = Path(self.hub["cache_dir"]).absolute()
        if self.hub.get("token") is not False:
            again.pop("token", None)
        return _in_repository, (self.repo_id, self.backend, self.n_threads, again)


def find(location: str | Path | None, embedded: Path = EMBEDDED, **options: Unpack[LoadOptions]) -> Found:
    """The folder of a saved predictor of any kind, fetched if need be; what it holds is not looked at.

    Args:
        location: folder, or `org/name` on the Hub.
        embedded: the folder in the wheel that is meant without a location.
        options: see `LoadOptions`.

    Raises:
        ConfigurationError: no location, an unknown backend, no count of threads, or options of the Hub for a folder.
        HubError: the repository cannot be read.
        CheckpointError: a file is damaged in the cache, and the Hub cannot be reached.
    """
    backend, n_threads = options.pop("backend", "auto"), options.pop("n_threads", None)
    if not isinstance(location, str | Path | None):
        raise ConfigurationError(f"expected a folder or org/name on the Hub, got {type(location).__name__}")
    if backend not in BACKENDS:
        raise ConfigurationError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    check_n_threads(n_threads)
    if is_repo_id(location):
        return _in_repository(location, backend, n_threads, options)
    given = [name for name, value in options.items() if value]
    if given:
        where = "the embedded predictor" if location is None else f"the folder {location}"
        raise ConfigurationError(f"{', '.join(given)}: only for a repository of the Hub, not for {where}")
    return Found(PredictorFolder(embedded if location is None else Path(location)), backend, n_threads, {}, None)


def _in_repository(repo_id: str, backend: str, n_threads: int | None, hub: HubOptions) -> Found:
    weights = list(WEIGHTS.values()) if backend == "auto" else [WEIGHTS[backend]]
    return Found(fetch(repo_id, weights, hub), backend, n_threads, hub, repo_id)


def _folder_again(path: Path, backend: str, n_threads: int | None) -> Found:
    return Found(PredictorFolder(PRETRAINED / path), backend, n_threads, {}, None)  # an absolute path stands alone


def check_unchanged(found: Found, was: str | None, now: str | None) -> None:
    """Raises `CheckpointError` where a pickle comes back as another revision than it was of: columns that it
    remembers would go by other candidates."""
    if now != was:
        raise CheckpointError(
            f"changed since it was pickled: it was {was} and is {now}; load it anew", location=found.folder.location
        )
