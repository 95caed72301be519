"""`RoutingDataset`: examples in columns, over one pool."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lookahead_router.data import jsonl, parquet
from lookahead_router.data.checks import checked_prompt, warn_of_misspelt
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.fingerprint import fingerprint
from lookahead_router.data.hub import dataset_files
from lookahead_router.data.splits import FRACTIONS, split_of
from lookahead_router.errors import DataError, PoolMismatchError, SchemaError
from lookahead_router.hub import is_repo_id
from lookahead_router.metrics import known_mean
from lookahead_router.prompts import Request, clean_text, read_request
from lookahead_router.types import CandidatePool

SUFFIXES = {".parquet": parquet.read_parquet, ".jsonl": jsonl.read_jsonl, ".ndjson": jsonl.read_jsonl}
"""Suffix of a dataset's file to what reads its examples."""


@dataclass(frozen=True, eq=False)
class RoutingDataset:
    """Columns over `n` prompts and the `K` candidates of a pool, in pool order.

    Selecting, filtering and aligning return new datasets; nothing is changed in place.
    """

    pool: CandidatePool
    ids: np.ndarray
    """`(n,)` object: str."""
    sources: np.ndarray
    """`(n,)` object: str."""
    splits: np.ndarray
    """`(n,)` object: str."""
    prompts: np.ndarray
    """`(n,)` object: the texts to route on."""
    responses: np.ndarray
    """`(n, K)` object: str, or None where a response is missing."""
    scores: np.ndarray
    """`(n, K)` float in [0, 1], higher is better, NaN where not judged."""
    costs_usd: np.ndarray
    """`(n, K)` float, NaN where unknown."""
    output_tokens: np.ndarray
    """`(n, K)` float, NaN where unknown."""
    contexts: np.ndarray | None = None
    """`(n,)` object: the passages that went along with each prompt, a tuple of texts; none anywhere when absent."""

    def __post_init__(self) -> None:
        if self.contexts is None:
            object.__setattr__(self, "contexts", one_each([()] * len(self.prompts)))

    @classmethod
    def from_parquet(cls, path: str | Path, *, pool: CandidatePool | None = None) -> "RoutingDataset":
        """Reads a Parquet file of the documented schema (docs/reference/data.md).

        Args:
            path: the file.
            pool: the candidates to expect and their order; by first appearance when absent.

        Raises:
            SchemaError: a malformed file, column or row; says where.
            PoolMismatchError: the file's candidates are not the pool's.
            MissingDependencyError: pyarrow is not installed.
        """
        return cls.from_examples(parquet.read_parquet(Path(path)), pool=pool, path=str(path))

    @classmethod
    def from_jsonl(cls, path: str | Path, *, pool: CandidatePool | None = None) -> "RoutingDataset":
        """Reads a JSONL file, one example a line, of the same schema as `from_parquet`."""
        return cls.from_examples(jsonl.read_jsonl(Path(path)), pool=pool, path=str(path))

    @classmethod
    def from_file(cls, path: str | Path, *, pool: CandidatePool | None = None) -> "RoutingDataset":
        """Reads Parquet or JSONL, by the file's suffix; or `org/name`, a dataset of the Hugging Face Hub."""
        suffix = Path(path).suffix.lower()
        if suffix in SUFFIXES:
            return cls.from_examples(SUFFIXES[suffix](Path(path)), pool=pool, path=str(path))
        if is_repo_id(path):
            return cls.from_hub(path, pool=pool)
        raise SchemaError(f"expected a .parquet or .jsonl file, got {suffix or 'no suffix'!r}", path=str(path))

    @classmethod
    def from_hub(cls, name: str, *, revision: str | None = None, pool: CandidatePool | None = None) -> "RoutingDataset":
        """Reads all Parquet and JSONL files of a dataset repository of the Hugging Face Hub.

        Args:
            name: `org/name`.
            revision: branch, tag or commit; the main branch when absent.
            pool: the candidates to expect and their order; by first appearance when absent.

        Raises:
            HubError: the repository cannot be read.
            DataError: nothing of the schema in it.
        """
        return cls.concatenate([cls.from_file(path, pool=pool) for path in dataset_files(name, revision)])

    @classmethod
    def concatenate(cls, datasets: Sequence["RoutingDataset"]) -> "RoutingDataset":
        """The rows of several datasets, one after the other, over the first one's pool.

        Raises:
            DataError: none is given.
            PoolMismatchError: they have different candidates.
        """
        if not datasets:
            raise DataError("no dataset to concatenate")
        pool = datasets[0].pool
        aligned = [dataset.align(pool) for dataset in datasets]
        return cls(
            pool=pool, **{name: np.concatenate([getattr(part, name) for part in aligned]) for name in _ROW_COLUMNS}
        )

    @classmethod
    def from_examples(
        cls, examples: Iterable[RoutingExample], *, pool: CandidatePool | None = None, path: str | None = None
    ) -> "RoutingDataset":
        """Builds the columns from examples, checking each.

        Args:
            examples: in order.
            pool: the candidates to expect and their order; by first appearance when absent.
            path: named in errors, where the examples come from a file.

        Raises:
            SchemaError: a malformed example; says which.
            PoolMismatchError: the candidates are not the pool's.
            DataError: there is no example.
        """
        examples = list(examples)
        prompts = [checked_prompt(example, path=path, row=row) for row, example in enumerate(examples)]
        n_rows = Counter(name for example in examples for name in example.outcomes)
        if not n_rows:
            raise DataError(f"{path or 'the dataset'}: no {'outcomes' if examples else 'rows'} to read")
        if pool is None:
            pool = CandidatePool(list(n_rows))
            warn_of_misspelt(n_rows, path)
        elif set(n_rows) != set(pool.names):
            raise PoolMismatchError(pool.names, n_rows, where=path or "the dataset")
        missing = Outcome()
        grid = [[example.outcomes.get(name, missing) for name in pool.names] for example in examples]
        return cls(
            pool=pool,
            ids=_objects([clean_text(example.id) or str(row) for row, example in enumerate(examples)]),
            sources=_objects([clean_text(example.source) for example in examples]),
            splits=_objects([clean_text(example.split) for example in examples]),
            prompts=_objects(prompts),
            responses=_objects(
                [[outcome.response and clean_text(outcome.response) for outcome in row] for row in grid]
            ),
            scores=_floats(grid, "score"),
            costs_usd=_floats(grid, "cost_usd"),
            output_tokens=_floats(grid, "output_tokens"),
            contexts=one_each([tuple(map(clean_text, example.context)) for example in examples]),
        )

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, row: int) -> RoutingExample:
        outcomes = {
            name: Outcome(
                response=self.responses[row, k],
                score=_number(self.scores[row, k]),
                cost_usd=_number(self.costs_usd[row, k]),
                output_tokens=None if np.isnan(self.output_tokens[row, k]) else int(self.output_tokens[row, k]),
            )
            for k, name in enumerate(self.pool.names)
        }
        return RoutingExample(
            prompt=self.prompts[row],
            outcomes=outcomes,
            id=str(self.ids[row]),
            source=str(self.sources[row]),
            split=str(self.splits[row]),
            context=self.contexts[row],
        )

    def __iter__(self) -> Iterator[RoutingExample]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        splits = ", ".join(f"{split or '-'}: {count}" for split, count in _counts(self.splits).items())
        return f"RoutingDataset({len(self)} prompts, {len(self.pool)} candidates; {splits})"

    def select(self, rows: np.ndarray | Sequence[int]) -> "RoutingDataset":
        """The rows of an index or a bool mask."""
        rows = np.asarray(rows)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        return replace(self, **{name: getattr(self, name)[rows] for name in _ROW_COLUMNS})

    def filter(
        self, *, split: str | None = None, source: str | None = None, with_context: bool | None = None
    ) -> "RoutingDataset":
        """The rows of a split, a source, or both; those with passages or those without.

        Raises:
            DataError: none is left; says which there are.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, values, wanted in (("split", self.splits, split), ("source", self.sources, source)):
            if wanted is None:
                continue
            if not (values == wanted).any():
                found = ", ".join(map(repr, filter(None, _counts(values))))
                hint = f"; there are {found}" if found else f"; no row names a {column}"
                raise DataError(f"no row has {column} {wanted!r}{hint}")
            keep &= values == wanted
        if with_context is not None:
            has_context = np.array([bool(passages) for passages in self.contexts], dtype=bool)
            if not (has_context == with_context).any():
                raise DataError(f"no row is {'with' if with_context else 'without'} passages, the column context")
            keep &= has_context == with_context
        if not keep.any():
            raise DataError(f"no row has both split {split!r} and source {source!r}")
        return self.select(keep)

    def with_splits(self, fractions: Sequence[float] = FRACTIONS, *, seed: int = 0) -> "RoutingDataset":
        """A dataset with a split for every row that had none, by a hash of its prompt.

        Args:
            fractions: expected shares of train, validation and test, in [0, 1], summing to 1.
            seed: another one gives another partition.

        Raises:
            ConfigurationError: the fractions are not three shares of a whole.
        """
        rows = zip(self.splits, self.prompts, strict=True)
        return replace(self, splits=_objects([split or split_of(prompt, fractions, seed) for split, prompt in rows]))

    def rename(self, names: Mapping[str, str]) -> "RoutingDataset":
        """A dataset under other names of its candidates: `{name in this pool: new name}`; others do not count.

        Raises:
            ConfigurationError: two candidates would share a name.
        """
        return replace(self, pool=self.pool.rename({old: new for old, new in names.items() if old in self.pool.names}))

    def align(self, pool: CandidatePool) -> "RoutingDataset":
        """A dataset with the columns in the order of `pool`.

        Raises:
            PoolMismatchError: the candidates are not the pool's.
        """
        if set(pool.names) != set(self.pool.names):
            raise PoolMismatchError(pool.names, self.pool.names)
        return self._of_columns(pool, [self.pool.index(name) for name in pool.names])

    def with_candidates(self, names: Iterable[str]) -> "RoutingDataset":
        """A dataset of the same prompts with the answers of the named candidates alone, in the order of this pool.

        Raises:
            UnknownCandidateError: a name is not in the pool.
            ConfigurationError: no name is given.
        """
        pool = self.pool.subset(names)
        return self._of_columns(pool, [self.pool.index(name) for name in pool.names])

    def _of_columns(self, pool: CandidatePool, columns: Sequence[int]) -> "RoutingDataset":
        return replace(self, pool=pool, **{name: getattr(self, name)[:, columns] for name in _CANDIDATE_COLUMNS})

    def call_costs(self) -> np.ndarray:
        """`(K,)` mean observed dollars of one call of each candidate; NaN where no cost is known."""
        return known_mean(self.costs_usd)

    def best_single(self) -> int | None:
        """Column of the candidate with the best mean observed score; `None` where nothing is judged."""
        means = known_mean(self.scores)
        return None if np.isnan(means).all() else int(np.nanargmax(means))

    def fingerprint(self) -> str:
        """Hash of the candidate names and all rows: the same data in the same order, the same 16 hex digits."""
        names = [name for name in _ROW_COLUMNS if name != "contexts" or any(self.contexts)]
        return fingerprint(self.pool.names, (getattr(self, name) for name in names))

    def requests(self) -> list[Request]:
        """The prompts as predictors read them, with their passages."""
        return [
            read_request(prompt, context=context) if context else Request(prompt)
            for prompt, context in zip(self.prompts, self.contexts, strict=True)
        ]

    def to_parquet(self, path: str | Path) -> None:
        """Writes the documented schema, whole or not at all."""
        parquet.write_parquet(self, Path(path))

    def to_jsonl(self, path: str | Path) -> None:
        """Writes one example a line, whole or not at all."""
        jsonl.write_jsonl(self, Path(path))


_CANDIDATE_COLUMNS = ("responses", "scores", "costs_usd", "output_tokens")
_ROW_COLUMNS = ("ids", "sources", "splits", "prompts", "contexts", *_CANDIDATE_COLUMNS)


def _objects(values: list) -> np.ndarray:
    """An array of objects: of fixed-width strings, one long text would make all as wide."""
    is_table = bool(values) and isinstance(values[0], list)
    shape = (len(values), len(values[0])) if is_table else (len(values),)
    array = np.empty(shape, dtype=object)
    array[:] = values
    return array


def one_each(values: Sequence[object]) -> np.ndarray:
    """An array of one object a row, whatever these are."""
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def _floats(grid: list[list[Outcome]], field: str) -> np.ndarray:
    values = [[getattr(outcome, field) for outcome in row] for row in grid]
    return np.array([[np.nan if value is None else value for value in row] for row in values], dtype=np.float64)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _counts(values: np.ndarray) -> dict[str, int]:
    return dict(sorted(Counter(values.tolist()).items()))
