"""Routing datasets from the Hugging Face Hub."""

from pathlib import Path

from lookahead_router._optional import require
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError
from lookahead_router.types import CandidatePool


def read_hub(name: str, revision: str | None, pool: CandidatePool | None) -> RoutingDataset:
    """All Parquet and JSONL files of a dataset repository, in the order of their paths.

    Raises:
        DataError: no such repository, no connection, or no file of the schema in it.
        MissingDependencyError: huggingface_hub is not installed.
    """
    hub = require("huggingface_hub", "train")
    errors = require("huggingface_hub.errors", "train")
    try:
        folder = Path(
            hub.snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=["*.parquet", "*.jsonl"])
        )
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError, OSError) as error:
        raise DataError(f"cannot fetch the dataset {name!r} from the Hugging Face Hub: {error}") from error
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".parquet", ".jsonl"})
    if not paths:
        raise DataError(f"the dataset {name!r} of the Hugging Face Hub holds no .parquet and no .jsonl file")
    return RoutingDataset.concatenate([RoutingDataset.from_file(path, pool=pool) for path in paths])
