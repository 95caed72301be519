"""Routing datasets from the Hugging Face Hub."""

from pathlib import Path

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError
from lookahead_router.hub import hub_errors
from lookahead_router.types import CandidatePool


def read_hub(name: str, revision: str | None, pool: CandidatePool | None) -> RoutingDataset:
    """All Parquet and JSONL files of a dataset repository, in the order of their paths.

    Raises:
        HubError: the repository cannot be read; says what to do.
        DataError: no file of the schema in it.
    """
    import huggingface_hub

    with hub_errors(name, revision, instead="file"):
        folder = huggingface_hub.snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=["*.parquet", "*.jsonl"]
        )
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".parquet", ".jsonl"})
    if not paths:
        raise DataError(f"the dataset {name!r} of the Hugging Face Hub holds no .parquet and no .jsonl file")
    return RoutingDataset.concatenate([RoutingDataset.from_file(path, pool=pool) for path in paths])
