"""Parquet, one row an example, with the outcomes as a list of structs."""

from pathlib import Path

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.jsonl import example_from_record, record_from_example
from lookahead_router.errors import SchemaError
from lookahead_router.extras import require
from lookahead_router.files import replacing_file
from lookahead_router.types import CandidatePool

_TEXT_COLUMNS = ("id", "source", "split")


def read_parquet(path: Path, pool: CandidatePool | None) -> RoutingDataset:
    """The dataset in a Parquet file.

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
            columns = [name for name in file.schema_arrow.names if name in (*_TEXT_COLUMNS, "prompt", "outcomes")]
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
    examples = (example_from_record(record, path=str(path), row=row) for row, record in enumerate(records))
    return RoutingDataset.from_examples(examples, pool=pool, path=str(path))


def write_parquet(dataset: RoutingDataset, path: Path) -> None:
    """Writes a dataset, whole or not at all."""
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
    schema = pa.schema([(name, pa.string()) for name in (*_TEXT_COLUMNS, "prompt")] + [("outcomes", pa.list_(outcome))])
    table = pa.Table.from_pylist([record_from_example(example) for example in dataset], schema=schema)
    with replacing_file(path) as temporary:
        pq.write_table(table, temporary)
