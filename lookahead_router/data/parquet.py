"""Parquet, one row an example, with the outcomes as a list of structs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lookahead_router.data.examples import RoutingExample
from lookahead_router.data.jsonl import example_from_record, record_from_example
from lookahead_router.errors import SchemaError
from lookahead_router.extras import require
from lookahead_router.files import replacing_file

_TEXT_COLUMNS = ("id", "source", "split")
_COLUMNS = (*_TEXT_COLUMNS, "prompt", "context", "outcomes")


def read_parquet(path: Path) -> Iterator[RoutingExample]:
    """The examples in a Parquet file.

    Raises:
        SchemaError: no such file, a truncated one, a missing column, or a malformed row.
        MissingDependencyError: pyarrow is not installed.
    """
    pa = require("pyarrow", "eval")
    pq = require("pyarrow.parquet", "eval")
    if not path.is_file():
        raise SchemaError("no such file", path=str(path))
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name in _COLUMNS]
            for name in ("prompt", "outcomes"):
                if name not in columns:
                    raise SchemaError(
                        f"the column is missing; the file has {', '.join(file.schema_arrow.names)}",
                        path=str(path),
                        column=name,
                    )
            records = file.read(columns=columns).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError, OSError) as error:
        raise SchemaError(
            f"not a readable Parquet file ({error}); download or write it again", path=str(path)
        ) from error
    for row, record in enumerate(records):
        yield example_from_record(record, path=str(path), row=row)


def write_parquet(examples: Iterable[RoutingExample], path: Path) -> None:
    """Writes examples, all or none."""
    pa = require("pyarrow", "eval")
    pq = require("pyarrow.parquet", "eval")
    outcome = pa.struct(
        [
            ("candidate", pa.string()),
            ("response", pa.string()),
            ("score", pa.float64()),
            ("cost_usd", pa.float64()),
            ("output_tokens", pa.int64()),
        ]
    )
    records = [record_from_example(example) for example in examples]
    fields = [(name, pa.string()) for name in (*_TEXT_COLUMNS, "prompt")]
    if any("context" in record for record in records):
        fields.append(("context", pa.list_(pa.string())))
    table = pa.Table.from_pylist(records, schema=pa.schema([*fields, ("outcomes", pa.list_(outcome))]))
    with replacing_file(path) as temporary:
        pq.write_table(table, temporary)
