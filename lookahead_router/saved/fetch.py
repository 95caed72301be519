"""Saved predictors from the Hugging Face Hub."""

from collections.abc import Sequence
from pathlib import Path

from lookahead_router.errors import ConfigurationError
from lookahead_router.hub import COMMIT, HubOptions, hub_errors
from lookahead_router.saved.folder import PredictorFolder


def fetch(repo_id: str, weights: Sequence[str], options: HubOptions) -> PredictorFolder:
    """The part of a repository that routing needs, in the cache of huggingface_hub.

    One commit: a branch that moves meanwhile cannot mix two. Nothing but files of the layout is
    fetched, and of the weights only the first that is there.

    Args:
        repo_id: `org/name`.
        weights: names of files of weights, the best first.
        options: how to reach it.

    Raises:
        HubError: the repository cannot be read; says what to do.
    """
    for name in weights:
        folder = _snapshot(repo_id, name, options)
        if (folder.path / name).is_file():
            break
        options = {**options, "revision": folder.commit}
    return folder


def _snapshot(repo_id: str, weights: str, options: HubOptions) -> PredictorFolder:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    from lookahead_router import __version__

    parts = [
        "config.json",
        "pool.json",
        "tokenizer.json",
        "calibration.json",
        "profiles.npz",
        "catalogue.json",
        weights,
    ]
    revision = options.get("revision")

    def snapshot(**changes) -> PredictorFolder:
        path = Path(
            huggingface_hub.snapshot_download(
                repo_id,
                allow_patterns=parts,
                library_name="lookahead-router",
                library_version=__version__,
                **{**options, **changes},
            )
        )
        # <cache>/models--org--name/snapshots/<commit>, whose files are links into models--org--name/blobs
        return PredictorFolder(path, root=path.parent.parent, commit=path.name)

    with hub_errors(repo_id, revision):
        if revision is not None and COMMIT.fullmatch(revision):
            try:  # a commit never changes
                cached = snapshot(local_files_only=True)
                if cached.is_whole(weights):
                    return cached
            except LocalEntryNotFoundError:
                pass
        return snapshot()


def refuse_options(options: HubOptions, location: str | Path | None) -> None:
    """Raises `ConfigurationError` where options of the Hub are given with a folder."""
    given = [name for name, value in options.items() if value]
    if given:
        where = "the embedded predictor" if location is None else f"the folder {location}"
        raise ConfigurationError(f"{', '.join(given)}: only for a repository of the Hub, not for {where}")
