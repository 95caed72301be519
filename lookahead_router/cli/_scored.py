"""Scored answers from files: of `judge`, of an outcome table, or a routing dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lookahead_router.cli._output import note
from lookahead_router.data.splits import SPLITS
from lookahead_router.errors import DataError, SchemaError

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.data.outcomes import OutcomeTable

SCORED_HELP = "Scored answers: what judge wrote, or a routing dataset; Parquet or JSONL."
DATASET_HELP = "Scored answers, as judge writes them, or a routing dataset: Parquet, JSONL, or org/name on the Hub."


def read_scored(paths: Sequence[str]) -> "RoutingDataset":
    """The scored answers of all files together, with a row per prompt; of one dataset of the Hub, its rows.

    Raises:
        DataError: a file that cannot be read, or no scored answer.
        HubError: a repository that cannot be read.
    """
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.hub import is_repo_id

    if len(paths) == 1 and not Path(paths[0]).suffix and is_repo_id(paths[0]):
        return RoutingDataset.from_hub(paths[0])
    from lookahead_router.data.outcomes import OutcomeTable

    return OutcomeTable.concatenate([_read(Path(path)) for path in paths]).to_dataset()


def read_dataset(location: str, *, has_splits: bool = True) -> "RoutingDataset":
    """The routing dataset at a place, or what `judge` wrote there, with a row per prompt.

    Args:
        location: Parquet, JSONL, or `org/name` on the Hub.
        has_splits: whether rows have to be of a split. Scored answers whose prompts name none then get theirs by a
            hash of each prompt, which is said.

    Raises:
        DataError: a file that cannot be read, or no scored answer.
        HubError: a repository that cannot be read.
    """
    from lookahead_router.data.dataset import SUFFIXES, RoutingDataset
    from lookahead_router.data.outcomes import is_routing_dataset

    path = Path(location)
    if path.suffix.lower() not in SUFFIXES or not path.is_file() or is_routing_dataset(path):
        return RoutingDataset.from_file(location)
    dataset = read_scored([location])
    if not has_splits or any(dataset.splits):
        return dataset
    dataset = dataset.with_splits()
    counts = ", ".join(f"{(dataset.splits == name).sum():,} {name}" for name in SPLITS)
    note(f"no answer in {path.name} names a split, so each prompt has one by a hash of its text: {counts}")
    return dataset


def _read(path: Path) -> "OutcomeTable":
    from lookahead_router.data.outcomes import OutcomeTable, is_routing_dataset
    from lookahead_router.live.answers import outcome_table, read_answers

    if path.suffix.lower() not in (".jsonl", ".ndjson") or is_routing_dataset(path):
        return OutcomeTable.from_file(path)
    try:
        return outcome_table(read_answers(path))
    except SchemaError:
        raise
    except DataError as error:  # of no file's own
        raise DataError(f"{path}: {error}") from error
