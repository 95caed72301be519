"""Ray: decisions and predictions for millions of prompts, on all machines of a cluster."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lookahead_router.batch import check_columns, route_parquet_part
from lookahead_router.errors import ConfigurationError, SchemaError
from lookahead_router.extras import require
from lookahead_router.predictors.base import Predictor
from lookahead_router.types import Prediction

if TYPE_CHECKING:
    from lookahead_router.router import Router


class _Options(dict):
    """Options of a router, which are the same where they read the same."""

    def __hash__(self) -> int:
        return hash(repr(self))


@lru_cache(maxsize=1)
def _router(options: _Options) -> "Router":
    """A router that a worker loads once, for all parts that it is given."""
    from lookahead_router.router import Router

    return Router.from_pretrained(**options)


def _decide(source: Path, group: int, output: Path, column: str, options: dict[str, Any]) -> int:
    """One part: what a worker does, and does again elsewhere where it was lost."""
    return route_parquet_part(_router(_Options(options)), source, output, [group], column)


def route_parquet(
    source: str | Path,
    output: str | Path,
    options: Mapping[str, Any],
    *,
    column: str = "prompt",
    address: str | None = None,
) -> int:
    """Writes a folder of Parquet files, one a row group of the source and in its order; the number of rows.

    The decisions are those of one process, bit for bit. A worker or a machine that is lost costs time and no row. What
    an earlier run left off is gone on with: parts that are there stay.

    Args:
        source: Parquet, a file or a folder, that every machine of the cluster can read.
        output: a folder that every machine can write to.
        options: those of `Router.from_pretrained`, loaded by every worker.
        column: where the prompts stand.
        address: of the cluster; where absent, the one that `RAY_ADDRESS` names, or a new one on this machine.

    Raises:
        SchemaError: no such file, or not the columns.
        ConfigurationError: the output holds something else.
        MissingDependencyError: Ray is not installed.
    """
    ray, pq = require("ray", "ray"), require("pyarrow.parquet", "ray")
    source, output = Path(source).resolve(), Path(output).resolve()
    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise SchemaError("no such file", path=str(source))
    for file in files:
        check_columns(pq.read_schema(file), column, path=str(file))
    groups = [(file, group) for file in files for group in range(pq.read_metadata(file).num_row_groups)]
    parts = [output / f"part-{number:06d}.parquet" for number in range(len(groups))]
    # What a lost worker had begun begins with a point.
    if output.exists() and (not output.is_dir() or {f for f in output.iterdir() if f.name[0] != "."} - set(parts)):
        raise ConfigurationError(f"{output} is there and holds something else; name a new folder")
    output.mkdir(parents=True, exist_ok=True)
    _connect(ray, address)
    decide = ray.remote(num_cpus=1, max_retries=-1)(_decide)
    options = {**options, "n_threads": 1}
    ray.get(
        [
            decide.remote(*group, part, column, options)
            for group, part in zip(groups, parts, strict=True)
            if not part.exists()
        ]
    )
    return sum(pq.read_metadata(part).num_rows for part in parts)


def ask_cluster(predictor: Predictor, blocks: Sequence[Sequence[str]]) -> Iterator[Prediction]:
    """Predicts blocks of prompts on the cluster that `RAY_ADDRESS` names, or on a new one on this machine.

    The predictions are those of one process, bit for bit, and in the order of the blocks. A worker or a machine that
    is lost costs time and no row.

    Args:
        predictor: one that can be pickled.
        blocks: prompts, as the predictor takes them.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    ray = require("ray", "ray")
    _connect(ray, None)
    shared = ray.put(_on_one_core(predictor))
    foresee = ray.remote(num_cpus=1, max_retries=-1)(_foresee)
    for waiting in [foresee.remote([shared], list(block)) for block in blocks]:
        yield ray.get(waiting)


def _foresee(shared: list[Any], block: list[str]) -> Prediction:
    """One block: what a worker does, and does again elsewhere where it was lost."""
    return _shared(shared[0]).predict(block)


@lru_cache(maxsize=1)
def _shared(reference: Any) -> Predictor:
    """A predictor that a worker fetches once, for all blocks that it is given."""
    return require("ray", "ray").get(reference)


def _on_one_core(predictor: Predictor) -> Predictor:
    """The predictor, each of whose passes takes one thread: there is a worker for every core."""
    found = getattr(predictor, "found", None)
    if found is None:
        return predictor
    load, arguments = predictor.__reduce__()
    return load(replace(found, n_threads=1), *arguments[1:])


def _connect(ray: ModuleType, address: str | None) -> None:
    """Joins a cluster, unless this process has done so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report its use to its makers
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="warning")
