"""Results of published benchmarks, in their own layouts, as routing datasets."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lookahead_router.errors import ConfigurationError, SchemaError

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset

FORMATS = {
    "routerbench": "routerbench",
    "llmrouterbench": "llmrouterbench",
    "alpaca-eval": "alpaca_eval",
}
"""Name of a format to the module here whose `read(path, models, skipped)` gives its examples."""


def import_dataset(
    name: str,
    path: str | Path,
    *,
    models: Sequence[str] | None = None,
    fractions: Sequence[float] | None = None,
    seed: int = 0,
) -> "RoutingDataset":
    """Reads the results of a published benchmark into a `RoutingDataset`.

    Args:
        name: one of `FORMATS`.
        path: the file or folder as published.
        models: the candidates and their order; those of the format's own choice when absent. Rows that lack a
            candidate keep it as missing.
        fractions: shares of train, validation and test among the rows whose format has no splits.
        seed: of the splits.

    Raises:
        ConfigurationError: an unknown format, or impossible fractions.
        UnknownCandidateError: a model that has no results there.
        DataError: results that do not follow the format; says where. A few stray rows are left out with a warning.
    """
    from lookahead_router.data.checks import checked_prompt
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.data.importers.skipped import Skipped
    from lookahead_router.data.splits import FRACTIONS, split_of
    from lookahead_router.types import CandidatePool

    if name not in FORMATS:
        raise ConfigurationError(f"unknown format {name!r}; there are {', '.join(FORMATS)}")
    fractions = FRACTIONS if fractions is None else fractions
    split_of("", fractions, seed)  # fails before the reading, which takes a while
    pool = None if models is None else CandidatePool(models)
    path = Path(path)
    if not path.exists():
        raise SchemaError("no such file or folder", path=str(path))
    skipped, examples = Skipped(), []
    read = import_module(f"{__name__}.{FORMATS[name]}").read
    for row, example in enumerate(read(path, pool and pool.names, skipped)):
        with skipped.row_of(path / "examples"):
            checked_prompt(example, path=str(path), row=row)
            examples.append(example)
    skipped.report()
    return RoutingDataset.from_examples(examples, pool=pool, path=str(path)).with_splits(fractions, seed=seed)
