"""`lookahead-router import`: a published benchmark's results in, a routing dataset out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import split_names
from lookahead_router.cli._output import UNKNOWN, progress, show, show_table
from lookahead_router.data.importers import FORMATS, import_dataset
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset


def import_(
    name: Annotated[str, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(FORMATS)}.")],
    path: Annotated[Path, typer.Argument(help="File or folder as published.")],
    out: Annotated[Path, typer.Argument(help="Routing dataset to write: .parquet or .jsonl.")],
    models: Annotated[
        str | None, typer.Option(help="Candidates to keep, comma-separated, in the order of the pool.")
    ] = None,
    split_fractions: Annotated[
        str, typer.Option(help="Shares of train, validation and test, where the format has no splits.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="Seed of the hash that splits prompts.")] = 0,
) -> None:
    """Turn the results of a published benchmark into a routing dataset."""
    suffix = out.suffix.lower()
    if suffix not in {".parquet", ".jsonl"}:
        raise ConfigurationError(f"expected OUT to end in .parquet or .jsonl, got {suffix or 'no suffix'!r}")
    if suffix == ".parquet":
        require("pyarrow", "eval")  # before the reading, which takes a while
    try:
        fractions = [float(share) for share in split_fractions.split(",")]
    except ValueError as error:
        raise ConfigurationError(f"expected numbers in --split-fractions, got {split_fractions!r}") from error
    names = None if models is None else split_names(models)
    with progress(f"reading {path}") as update:
        dataset = import_dataset(name, path, models=names, fractions=fractions, seed=seed)
        update(f"writing {len(dataset)} prompts to {out}", None)
        if suffix == ".parquet":
            dataset.to_parquet(out)
        else:
            dataset.to_jsonl(out)
    _show_summary(dataset, out)


def _show_summary(dataset: "RoutingDataset", out: Path) -> None:
    import numpy as np

    from lookahead_router.data.splits import SPLITS

    missing = np.isnan(dataset.scores)
    every = np.ones(len(dataset), dtype=bool)
    rows = []
    for source, mask in [*((name, dataset.sources == name) for name in np.unique(dataset.sources)), ("all", every)]:
        counts = [mask.sum(), *((dataset.splits[mask] == split).sum() for split in SPLITS), missing[mask].sum()]
        rows.append((source or UNKNOWN, *map(str, counts)))
    styles = [*[""] * (len(rows) - 1), "bold"]
    show_table(("source", "prompts", *SPLITS, "missing scores"), rows, styles=styles)
    rows = []
    for column, candidate in enumerate(dataset.pool.names):
        scores = dataset.scores[~missing[:, column], column]
        mean = f"{scores.mean():.3f}" if len(scores) else UNKNOWN
        rows.append((candidate, mean, str(missing[:, column].sum())))
    show_table(("candidate", "mean score", "missing scores"), rows)
    show(f"wrote {out}: {len(dataset)} prompts, {len(dataset.pool)} candidates")
