"""Routing datasets on the Hugging Face Hub."""

from pathlib import Path

from lookahead_router.errors import DataError
from lookahead_router.hub import hub_errors


def dataset_files(name: str, revision: str | None) -> list[Path]:
    """All Parquet and JSONL files of a dataset repository, fetched, in the order of their paths.

    Raises:
        HubError: the repository cannot be read; says what to do.
        DataError: it holds no such file.
    """
    import huggingface_hub

    with hub_errors(name, revision, instead="file"):
        folder = huggingface_hub.snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=["*.parquet", "*.jsonl"]
        )
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".parquet", ".jsonl"})
    if not paths:
        raise DataError(f"the dataset {name!r} of the Hugging Face Hub holds no .parquet and no .jsonl file")
    return paths
