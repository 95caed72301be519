"""`lookahead-router import`: a published benchmark's results in, a routing dataset out."""

from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.data.importers import FORMATS, import_dataset
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require


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
    seed: Annotated[int, typer.Option(help="Of the hash that splits prompts.")] = 0,
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
    names = None if models is None else [model.strip() for model in models.split(",")]
    dataset = import_dataset(name, path, models=names, fractions=fractions, seed=seed)
    if suffix == ".parquet":
        dataset.to_parquet(out)
    else:
        dataset.to_jsonl(out)
    _print_summary(dataset, out)


def _print_summary(dataset, out: Path) -> None:
    import numpy as np
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from lookahead_router.data.splits import SPLITS

    missing = np.isnan(dataset.scores)
    sources = Table("source", "prompts", *SPLITS, "missing scores")
    every = np.ones(len(dataset), dtype=bool)
    for source, rows in [*((name, dataset.sources == name) for name in np.unique(dataset.sources)), ("all", every)]:
        counts = [rows.sum(), *((dataset.splits[rows] == split).sum() for split in SPLITS), missing[rows].sum()]
        sources.add_row(escape(source), *map(str, counts), style="bold" if rows is every else None)
    candidates = Table("candidate", "mean score", "missing scores")
    for column, candidate in enumerate(dataset.pool.names):
        scores = dataset.scores[~missing[:, column], column]
        mean = f"{scores.mean():.3f}" if len(scores) else "–"
        candidates.add_row(escape(candidate), mean, str(missing[:, column].sum()))
    console = Console()
    console.print(sources, candidates)
    console.print(f"wrote {escape(str(out))}: {len(dataset)} prompts, {len(dataset.pool)} candidates", highlight=False)
