"""Decisions for tables of prompts: a Parquet file in, the same rows with a decision each out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookahead_router.errors import SchemaError
from lookahead_router.extras import require
from lookahead_router.files import replacing_file

if TYPE_CHECKING:
    import pyarrow

    from lookahead_router.router import Router

ROWS = 512
"""That are routed together."""
COLUMNS = ("candidate", "runner_up", "margin", "score", "probability", "standard_error", "expected_usd")
"""What a decision adds to a row; null where the prompt is no text or an empty one, and where it is not known."""


def decided(router: "Router", table: "pyarrow.Table", column: str = "prompt") -> "pyarrow.Table":
    """A table with a decision for each row, which depends on that row alone.

    Args:
        router: what decides.
        table: with the prompts as text.
        column: where they stand.

    Raises:
        SchemaError: no such column, one that holds no text, or one that a decision adds is there already.
    """
    pa = require("pyarrow", "eval")
    check_columns(table.schema, column)
    prompts = table.column(column).to_pylist()
    rows = [row for row, prompt in enumerate(prompts) if prompt is not None and prompt.strip()]
    found: list[dict[str, Any]] = [{} for _ in prompts]
    decisions = router.route_batch([prompts[row] for row in rows]) if rows else []
    for row, decision in zip(rows, decisions, strict=True):
        name = decision.name
        found[row] = {
            "candidate": name,
            "runner_up": decision.runner_up,
            "margin": decision.margin,
            "score": decision.scores[name],
            "probability": (decision.probabilities or {}).get(name),
            "standard_error": (decision.standard_errors or {}).get(name),
            "expected_usd": (decision.expected_usd or {}).get(name),
        }
    for name in COLUMNS:
        kind = pa.string() if name in ("candidate", "runner_up") else pa.float64()
        table = table.append_column(name, pa.array([each.get(name) for each in found], kind))
    return table


def check_columns(schema: "pyarrow.Schema", column: str, *, path: str | None = None) -> None:
    """Raises `SchemaError` where a table has no such prompts, or columns under a decision's names."""
    pa = require("pyarrow", "eval")
    if column not in schema.names:
        raise SchemaError(f"the column is missing; there are {', '.join(schema.names)}", path=path, column=column)
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise SchemaError(f"prompts are text, not {kind}", path=path, column=column)
    taken = [name for name in COLUMNS if name in schema.names]
    if taken:
        raise SchemaError("the decision would have this name; rename the column", path=path, column=taken[0])


def route_parquet(
    router: "Router",
    source: Path,
    output: Path,
    *,
    column: str = "prompt",
    told: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes a Parquet file with a decision for each row of another; its number of rows.

    Args:
        router: what decides.
        source: Parquet, however large: only some rows at a time are in memory.
        output: written whole or not at all.
        column: where the prompts stand.
        told: called with the rows that are done, and all of them.

    Raises:
        SchemaError: no such file, no Parquet, or not the columns.
        FileError: the output cannot be written.
    """
    return route_parquet_part(router, source, output, None, column, told)


def route_parquet_part(
    router: "Router",
    source: Path,
    output: Path,
    groups: list[int] | None,
    column: str = "prompt",
    told: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Decides for some row groups of the source, by their numbers; for all where it is `None`."""
    pa, pq = require("pyarrow", "eval"), require("pyarrow.parquet", "eval")
    if not source.is_file():
        raise SchemaError("no such file", path=str(source))
    try:
        with pq.ParquetFile(source) as file, replacing_file(output) as temporary:
            check_columns(file.schema_arrow, column, path=str(source))
            empty = decided(router, file.schema_arrow.empty_table(), column)
            total, done = file.metadata.num_rows, 0
            with pq.ParquetWriter(temporary, empty.schema) as writer:
                for batch in file.iter_batches(ROWS, row_groups=groups):
                    writer.write_table(decided(router, pa.Table.from_batches([batch]), column))
                    done += len(batch)
                    told(done, total)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"not a readable Parquet file ({error}); write it again", path=str(source)) from error
    return done
