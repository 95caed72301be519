"""Saved predictors from the Hugging Face Hub."""

from collections.abc import Sequence

from lookahead_router.errors import CheckpointError, HubError
from lookahead_router.hub import COMMIT, HubOptions, Snapshot, fetch_snapshot
from lookahead_router.saved.folder import PredictorFolder

_PARTS = ("config.json", "pool.json", "tokenizer.json", "calibration.json", "profiles.npz", "catalogue.json")


def fetch(repo_id: str, weights: Sequence[str], options: HubOptions) -> PredictorFolder:
    """The part of a repository that routing needs, in the cache of huggingface_hub, whole and undamaged.

    One commit: a branch that moves meanwhile cannot mix two. Nothing but files of the layout is
    fetched, and of the weights only the first that is there. What is damaged in the cache is fetched again.

    Args:
        repo_id: `org/name`.
        weights: names of files of weights, the best first; none for the rest alone.
        options: how to reach it.

    Raises:
        HubError: the repository cannot be read; says what to do.
        CheckpointError: a file is damaged in the cache, and the Hub cannot be reached; says what to delete.
    """
    for name in weights or [""]:
        snapshot = _snapshot(repo_id, name, options)
        if (snapshot.path / name).is_file():
            break
        options = {**options, "revision": snapshot.commit}
    for _ in range(2):  # a config.json that is damaged hides what it records
        damaged = _damaged(snapshot)
        if damaged:
            snapshot.mend(damaged)
        if damaged != ["config.json"]:
            break
    return _folder(snapshot)


def _snapshot(repo_id: str, weights: str, options: HubOptions) -> Snapshot:
    parts = [*_PARTS, weights] if weights else list(_PARTS)
    revision = options.get("revision")
    if isinstance(revision, str) and COMMIT.fullmatch(revision):
        try:  # a commit never changes
            cached = fetch_snapshot(repo_id, parts, {**options, "local_files_only": True})
            if _folder(cached).is_whole(weights):
                return Snapshot(repo_id, cached.path, cached.patterns, options)
        except HubError:  # not there
            pass
    return fetch_snapshot(repo_id, parts, options)


def _folder(snapshot: Snapshot) -> PredictorFolder:
    name = f"{snapshot.repo_id}@{snapshot.commit[:12]}"
    return PredictorFolder(snapshot.path, root=snapshot.root, commit=snapshot.commit, name=name)


def _damaged(snapshot: Snapshot) -> list[str]:
    """The files that are not as `config.json` records; itself, where it is not as the Hub sent it."""
    folder = _folder(snapshot)
    if not folder.config.is_file():
        return []
    try:
        return folder.differing(snapshot.patterns)
    except CheckpointError:
        return [name for name in snapshot.damaged() if name == "config.json"]
