"""Routing datasets on the Hugging Face Hub."""

from pathlib import Path

from lookahead_router.errors import DataError
from lookahead_router.hub import fetch_snapshot


def dataset_files(name: str, revision: str | None) -> list[Path]:
    """All Parquet and JSONL files of a dataset repository, fetched, in the order of their paths.

    Raises:
        HubError: the repository cannot be read; says what to do.
        DataError: it holds no such file.
        CheckpointError: a file is damaged in the cache, and the Hub cannot be reached.
    """
    snapshot = fetch_snapshot(
        name, ["*.parquet", "*.jsonl"], {"revision": revision}, repo_type="dataset", instead="file"
    )
    damaged = snapshot.damaged()  # a file that lost its end may read well
    if damaged:
        snapshot.mend(damaged)
    paths = [snapshot.path / name for name in snapshot.names() if name.endswith((".parquet", ".jsonl"))]
    if not paths:
        raise DataError(f"the dataset {name!r} of the Hugging Face Hub holds no .parquet and no .jsonl file")
    return paths
