"""RouterBench (Hu et al., arXiv 2403.12031): one wide table, three columns a candidate.

`sample_id`, `prompt`, `eval_name`; then per candidate `NAME` with the score, `NAME|model_response` and
`NAME|total_cost` in dollars.
"""

import ast
import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.importers.joining import choose
from lookahead_router.data.importers.records import Record, read_jsonl
from lookahead_router.data.importers.skipped import Skipped
from lookahead_router.errors import SchemaError
from lookahead_router.extras import require

_RESPONSE, _COST = "|model_response", "|total_cost"


def read(path: Path, models: Sequence[str] | None, skipped: Skipped) -> Iterator[RoutingExample]:
    """The examples of the table, in its order.

    Raises:
        SchemaError: a pickle, another kind of file, or a missing column.
        UnknownCandidateError: a model without columns.
    """
    records = _records(path)
    columns = list(records[0].entries()) if records else []
    found = [column.rpartition("|")[0] for column in columns if column.endswith((_RESPONSE, _COST))]
    names = choose(models, list(dict.fromkeys(found)), f"columns that end with {_RESPONSE} or {_COST}", path)
    for record in records:
        with skipped.row_of(path):
            yield _example(record, names)


def _example(record: Record, names: list[str]) -> RoutingExample:
    return RoutingExample(
        prompt=_text(record, "prompt") or "",
        outcomes={
            name: Outcome(
                response=_text(record, name + _RESPONSE) if name + _RESPONSE in record else None,
                score=record.number(name),
                cost_usd=record.number(name + _COST) if name + _COST in record else None,
            )
            for name in names
        },
        id=str(record.get("sample_id")),
        source=record.text("eval_name"),
    )


def _records(path: Path) -> list[Record]:
    suffix = path.suffix.lower()
    if suffix in {".pkl", ".pickle"}:
        raise SchemaError(
            "a pickle can run any code, so none is read; if you trust it, convert it with "
            f"import pandas; pandas.read_pickle({path.name!r}).to_parquet({path.stem + '.parquet'!r})",
            path=str(path),
        )
    if suffix == ".parquet":
        return _parquet(path)
    if suffix == ".csv":
        return _csv(path)
    if suffix == ".jsonl":
        return list(read_jsonl(path))
    raise SchemaError(f"expected a .parquet, .csv or .jsonl file, got {suffix or 'no suffix'!r}", path=str(path))


def _parquet(path: Path) -> list[Record]:
    pa = require("pyarrow", "eval")
    pq = require("pyarrow.parquet", "eval")
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise SchemaError(f"not a readable Parquet file ({error})", path=str(path)) from error
    return [Record(row, path, number) for number, row in enumerate(rows)]


def _csv(path: Path) -> list[Record]:
    limit = csv.field_size_limit(2**31 - 1)  # responses outgrow the default
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [Record(row, path, number) for number, row in enumerate(csv.DictReader(file, strict=True))]
    except (csv.Error, UnicodeDecodeError) as error:
        raise SchemaError(f"not a readable CSV file ({error})", path=str(path)) from error
    finally:
        csv.field_size_limit(limit)
    for number, record in enumerate(rows):
        if None in record.value:
            raise SchemaError("more cells than the header has columns", path=str(path), row=number)
    return rows


def _text(record: Record, column: str) -> str | None:
    """A text, or the texts of a list, a paragraph each; the list may be written as Python writes it."""
    value = record.get(column)
    if value is None or value == "":
        return None
    parts = _literal(value) if isinstance(value, str) else value
    if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
        return "\n\n".join(parts)
    if isinstance(value, str):
        return value
    raise record.error(f"expected text or a list of texts, got {type(value).__name__}", column)


def _literal(text: str) -> object:
    """What Python would read in a text that looks like a list; `None` for any other."""
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in texts that are no lists
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
