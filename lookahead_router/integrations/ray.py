"""Ray: decisions for millions of prompts, on all machines of a cluster."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lookahead_router.batch import ROWS, check_columns, decided
from lookahead_router.errors import ConfigurationError, SchemaError
from lookahead_router.extras import require


class Deciding:
    """A router in a process of its own, which takes tables and gives them back with decisions."""

    def __init__(self, options: Mapping[str, Any], column: str) -> None:
        from lookahead_router.router import Router

        self._router = Router.from_pretrained(**options)
        self._column = column

    def __call__(self, table: Any) -> Any:
        """The table with a decision for each row."""
        return decided(self._router, table, self._column)


def route_parquet(
    source: str | Path,
    output: str | Path,
    options: Mapping[str, Any],
    *,
    column: str = "prompt",
    n_workers: int | None = None,
    address: str | None = None,
) -> int:
    """Writes a folder of Parquet files with a decision for each row of others, in their order; the number of rows.

    The decisions are those of one process, bit for bit. A worker or a machine that is lost costs time and no row.

    Args:
        source: Parquet, a file or a folder, that every machine of the cluster can read.
        output: a folder that every machine can write to, which must not be there or be empty.
        options: those of `Router.from_pretrained`, loaded by every worker.
        column: where the prompts stand.
        n_workers: routers at one time; as many as the cluster has cores when absent.
        address: of the cluster; where absent, the one that `RAY_ADDRESS` names, or a new one on this machine.

    Raises:
        SchemaError: no such file, or not the columns.
        ConfigurationError: the output is there already, or `n_workers` is no count.
        MissingDependencyError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    ray, pq = require("ray", "ray"), require("pyarrow.parquet", "ray")
    require("ray.data", "ray")
    if n_workers is not None and (type(n_workers) is not int or n_workers < 1):
        raise ConfigurationError(f"n_workers is a number of processes, at least 1, got {n_workers!r}")
    source, output = Path(source), Path(output)
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise SchemaError("no such file", path=str(source))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigurationError(f"{output} is there already; name a new folder")
    for file in files:
        check_columns(pq.read_schema(file), column, path=str(file))
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="warning")
    n_workers = n_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    rows = ray.data.read_parquet([str(file) for file in files]).map_batches(
        Deciding,
        fn_constructor_args=({**options, "n_threads": 1}, column),
        batch_size=ROWS,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=n_workers),
        num_cpus=1,
    )
    rows.write_parquet(str(output))
    return sum(pq.read_metadata(file).num_rows for file in output.rglob("*.parquet"))
