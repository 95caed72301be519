"""`OutcomeTable`: scored answers in long form, one row an answer, whoever answered which prompt."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookahead_router.data.dataset import RoutingDataset, one_each
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.fingerprint import fingerprint
from lookahead_router.errors import ConfigurationError, DataError, SchemaError
from lookahead_router.extras import require
from lookahead_router.metrics import known_mean

KINDS = ("correct", "judge", "pref")
"""What a score is: graded correctness, a judge's mark, or a preference over a baseline's answer."""

_LATENESS = {"": 0, "train": 1, "validation": 2, "test": 3}
"""A prompt that stands in several splits is in the last of them; splits of one's own count as `train`."""
_LONG_NAME = 200
"""Characters of a source or split, up to which an array may be as wide as its longest."""
_NUMBERS = ("score", "output_tokens", "cost_usd")
_ANSWER_COLUMNS = ("prompt_id", "candidate", "source", "kind", "split", "response", "prompt", "context")
ANSWER_FIELDS = (
    *("prompt", "candidate", "response", "cost_usd", "output_tokens"),
    *("source", "split", "score", "kind", "context"),
)
"""Attributes of a scored answer, as `from_answers` reads it."""
_PROMPT_TEXTS = ("prompt_id", "prompt", "split", "kind", "source")


@dataclass(frozen=True, eq=False)
class OutcomeTable:
    """`n` answers of `K` candidates to `m` prompts, any subset of which each candidate answered.

    Where a `RoutingDataset` has a column per candidate, this has a row per answer: the form of a population of
    hundreds of candidates. Selecting returns a new table; nothing is changed in place.
    """

    prompts: np.ndarray
    """`(m,)` object: the texts, each once."""
    splits: np.ndarray
    """`(m,)` str: `train`, `validation`, `test`, or one's own; empty where none is given."""
    candidates: tuple[str, ...]
    """`K` names, sorted."""
    prompt_index: np.ndarray
    """`(n,)` int: the row of `prompts` that was answered."""
    candidate_index: np.ndarray
    """`(n,)` int: who of `candidates` answered."""
    scores: np.ndarray
    """`(n,)` float in [0, 1], higher is better."""
    kinds: np.ndarray
    """`(n,)` str, of `KINDS`."""
    sources: np.ndarray
    """`(n,)` str: the benchmark or harness that graded it."""
    output_tokens: np.ndarray
    """`(n,)` float, NaN where unknown."""
    costs_usd: np.ndarray
    """`(n,)` float, NaN where unknown."""
    responses: np.ndarray
    """`(n,)` object: the answer or its start, `None` where it is not there."""
    contexts: np.ndarray | None = None
    """`(m,)` object: the passages that went along with each prompt, a tuple of texts; none anywhere when absent."""

    def __post_init__(self) -> None:
        if self.contexts is None:
            object.__setattr__(self, "contexts", one_each([()] * len(self.prompts)))

    def __len__(self) -> int:
        return len(self.scores)

    def fingerprint(self) -> str:
        """Hash of the candidates' names, prompts and answers: the same data in the same order, the same 16 hex
        digits."""
        left_out = {"candidates"} if any(self.contexts) else {"candidates", "contexts"}
        return fingerprint(
            self.candidates, (getattr(self, each.name) for each in fields(self) if each.name not in left_out)
        )

    @classmethod
    def from_file(cls, path: str | Path, *, prompts: str | Path | None = None) -> "OutcomeTable":
        """Reads a Parquet or JSONL file of answers, by its suffix.

        Columns: `candidate` (or `model`), `score`, and `prompt` or, with a file of prompts, `prompt_id`; if there,
        also `kind`, `source`, `split`, `output_tokens`, `cost_usd` and `response`. A file with a row per prompt, as
        `RoutingDataset` reads it, is taken for graded answers.

        Args:
            path: one row an answer, or a routing dataset.
            prompts: one row a prompt, with `prompt_id`, `prompt` and, if there, `split`, `kind` and `source`, which
                hold for its answers that do not say otherwise.

        Raises:
            SchemaError: a malformed file, column or row; says where.
            DataError: no answers.
            MissingDependencyError: Parquet without pyarrow.
        """
        path = Path(path)
        if is_routing_dataset(path):
            return cls.from_dataset(RoutingDataset.from_file(path))
        answers = read_columns(path, (*_ANSWER_COLUMNS, *_NUMBERS, "model"))
        if "candidate" not in answers and "model" in answers:
            answers["candidate"] = answers["model"]
        by_id = None if prompts is None else _prompts_by_id(Path(prompts))
        return cls._from_columns(answers, by_id, str(path))

    @classmethod
    def from_dataset(cls, dataset: RoutingDataset, *, kind: str = "correct") -> "OutcomeTable":
        """The judged answers of a dataset in long form.

        Args:
            dataset: a row per prompt, a column per candidate.
            kind: of its scores.

        Raises:
            ConfigurationError: another kind.
            DataError: no answer is judged.
        """
        if kind not in KINDS:
            raise ConfigurationError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        row, column = np.nonzero(np.isfinite(dataset.scores))
        answers = {
            "prompt": [dataset.prompts[i] for i in row],
            "context": [dataset.contexts[i] for i in row],
            "split": dataset.splits[row].tolist(),
            "candidate": [dataset.pool.names[k] for k in column],
            "score": dataset.scores[row, column],
            "kind": [kind] * len(row),
            "source": dataset.sources[row].tolist(),
            "output_tokens": dataset.output_tokens[row, column],
            "cost_usd": dataset.costs_usd[row, column],
            "response": [dataset.responses[i, k] for i, k in zip(row, column, strict=True)],
        }
        return cls._from_columns(answers, None, None)

    @classmethod
    def concatenate(cls, tables: Sequence["OutcomeTable"]) -> "OutcomeTable":
        """The answers of several tables, one after the other; a prompt that stands in several stands once.

        A prompt is in the last of `train`, `validation` and `test` that any table has it in, so that none is trained
        on in one place and tested on in another.

        Raises:
            DataError: none is given.
        """
        if not tables:
            raise DataError("no table of outcomes to concatenate")
        columns: dict[str, list] = {name: [] for name in _COLUMN_OF}
        for table in tables:
            for name, values in table._as_columns().items():
                columns[name].extend(values)
        return cls._from_columns(columns, None, None)

    @classmethod
    def from_answers(cls, answers: Sequence[Any]) -> "OutcomeTable":
        """A table of scored answers.

        Args:
            answers: objects with the attributes `ANSWER_FIELDS`, of which `context` may be missing.

        Raises:
            SchemaError, DataError: as `from_columns`.
        """
        return cls.from_columns({name: [getattr(each, name, None) for each in answers] for name in ANSWER_FIELDS})

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]]) -> "OutcomeTable":
        """A table of columns of equal length, as `from_file` reads them, with a row per answer.

        Raises:
            SchemaError: a malformed column or row; says where.
            DataError: no answers.
        """
        return cls._from_columns(dict(columns), None, None)

    @classmethod
    def _from_columns(
        cls, answers: dict[str, Sequence[Any]], by_id: dict[str, dict[str, str]] | None, path: str | None
    ) -> "OutcomeTable":
        n = len(next(iter(answers.values()), ()))
        if not n:
            raise DataError(f"{path or 'the table'}: no answers to read")
        for name in ("candidate", "score", "prompt" if by_id is None else "prompt_id"):
            if name not in answers:
                raise SchemaError(f"the column is missing; there are {', '.join(answers)}", path=path, column=name)
        if by_id is not None:
            _join(answers, by_id, path)
        texts = {
            name: _texts(answers.get(name), n, path, name, is_needed=name in ("candidate", "prompt"))
            for name in ("candidate", "prompt", "kind", "source", "split")
        }
        kinds = np.array([kind or "correct" for kind in texts["kind"]])
        _refuse(~np.isin(kinds, KINDS), f"expected one of {', '.join(KINDS)}", path, "kind")
        numbers = {name: _numbers(answers.get(name), n, path, name) for name in _NUMBERS}
        _refuse(~((numbers["score"] >= 0) & (numbers["score"] <= 1)), "expected a score in [0, 1]", path, "score")
        for name in _NUMBERS[1:]:
            _refuse(numbers[name] < 0, "expected a number that is at least 0", path, name)
        contexts = _contexts(answers.get("context"), n, path)
        asked, splits, prompt_index = _once(list(zip(texts["prompt"], contexts, strict=True)), texts["split"])
        prompts = np.empty(len(asked), dtype=object)
        prompts[:] = [prompt for prompt, _ in asked]
        candidates, candidate_index = np.unique(np.array(texts["candidate"], dtype=object), return_inverse=True)
        responses = np.empty(n, dtype=object)
        responses[:] = [text or None for text in answers.get("response") or [None] * n]
        return cls(
            prompts=prompts,
            splits=splits,
            candidates=tuple(candidates.tolist()),
            prompt_index=prompt_index,
            candidate_index=candidate_index,
            scores=numbers["score"],
            kinds=kinds,
            sources=_names(texts["source"]),
            output_tokens=numbers["output_tokens"],
            costs_usd=numbers["cost_usd"],
            responses=responses,
            contexts=one_each([context for _, context in asked]),
        )

    def to_dataset(self) -> RoutingDataset:
        """A dataset of the answers, with a row per prompt and a column per candidate.

        Of several scores of one answer, it is their mean, and of its costs and lengths; the last response stays.
        """
        examples: list[dict[str, Outcome]] = [{} for _ in self.prompts]
        sources = [""] * len(self.prompts)
        by_place: dict[tuple[int, int], list[int]] = {}
        for row, place in enumerate(zip(self.prompt_index.tolist(), self.candidate_index.tolist(), strict=True)):
            by_place.setdefault(place, []).append(row)
        for (prompt, candidate), rows in by_place.items():
            mean = {name: known_mean(getattr(self, name)[rows]) for name in ("scores", "costs_usd", "output_tokens")}
            numbers = [None if np.isnan(value) else float(value) for value in mean.values()]
            examples[prompt][self.candidates[candidate]] = Outcome(self.responses[rows[-1]], *numbers)
            sources[prompt] = sources[prompt] or str(self.sources[rows[0]])
        return RoutingDataset.from_examples(
            RoutingExample(
                self.prompts[row], outcomes, str(row), sources[row], str(self.splits[row]), self.contexts[row]
            )
            for row, outcomes in enumerate(examples)
            if outcomes
        )

    def select(self, rows: np.ndarray) -> "OutcomeTable":
        """The table with these answers alone, by a `(n,)` mask or by row numbers; prompts and names stay."""
        columns = (f.name for f in fields(self) if f.name not in ("prompts", "splits", "candidates", "contexts"))
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def rename(self, names: Mapping[str, str]) -> "OutcomeTable":
        """A table of the answers under other names of their candidates; two that get one name become one.

        Args:
            names: `{name: new name}`; those that are not named keep theirs.
        """
        columns = {name: list(values) for name, values in self._as_columns().items()}
        columns["candidate"] = [names.get(name, name) for name in columns["candidate"]]
        return self._from_columns(columns, None, None)

    def in_split(self, split: str) -> np.ndarray:
        """`(n,)` mask of the answers to prompts of a split."""
        return (self.splits == split)[self.prompt_index]

    def _as_columns(self) -> dict[str, Any]:
        columns = {name: getattr(self, field) for name, field in _COLUMN_OF.items() if field}
        return {
            **columns,
            "prompt": self.prompts[self.prompt_index],
            "context": self.contexts[self.prompt_index],
            "split": self.splits[self.prompt_index],
            "candidate": [self.candidates[k] for k in self.candidate_index],
        }


_COLUMN_OF = {
    "prompt": "",
    "context": "",
    "split": "",
    "candidate": "",
    "score": "scores",
    "kind": "kinds",
    "source": "sources",
    "output_tokens": "output_tokens",
    "cost_usd": "costs_usd",
    "response": "responses",
}


def is_routing_dataset(path: Path) -> bool:
    """Whether a file says that it has a row per prompt; what it is if it cannot be read is the reader's to say."""
    if path.suffix.lower() != ".parquet":
        if not path.is_file():
            return False
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            first = next((line for line in lines if line.strip()), "")
        try:
            record = json.loads(first)
        except (ValueError, RecursionError):
            return False
        return isinstance(record, dict) and "outcomes" in record
    pa = require("pyarrow", "eval")
    pq = require("pyarrow.parquet", "eval")
    try:
        return "outcomes" in pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        return False


def read_columns(path: Path, wanted: Iterable[str]) -> dict[str, Sequence[Any]]:
    """The wanted columns of a Parquet or JSONL file that are there.

    Raises:
        SchemaError: no such file, of another kind, or malformed; says where.
        MissingDependencyError: Parquet without pyarrow.
    """
    if not path.is_file():
        raise SchemaError("no such file", path=str(path))
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path, wanted)
    if suffix in {".jsonl", ".ndjson"}:
        return _read_jsonl(path, wanted)
    raise SchemaError(f"expected a .parquet or .jsonl file, got {suffix or 'no suffix'!r}", path=str(path))


def _read_parquet(path: Path, wanted: Iterable[str]) -> dict[str, Sequence[Any]]:
    pa = require("pyarrow", "eval")
    pq = require("pyarrow.parquet", "eval")
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in set(wanted)]
            table = file.read(columns=names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError, OSError) as error:
        raise SchemaError(
            f"not a readable Parquet file ({error}); download or write it again", path=str(path)
        ) from error
    return {name: table.column(name).to_pylist() for name in names}


def _read_jsonl(path: Path, wanted: Iterable[str]) -> dict[str, Sequence[Any]]:
    records = []
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for row, line in enumerate(line for line in lines if line.strip()):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise SchemaError(f"not JSON: {error}", path=str(path), row=row) from error
            if not isinstance(record, dict):
                raise SchemaError("expected an object", path=str(path), row=row)
            records.append(record)
    names = {name for record in records for name in record} & set(wanted)
    return {name: [record.get(name) for record in records] for name in sorted(names)}


def _prompts_by_id(path: Path) -> dict[str, dict[str, str]]:
    columns = read_columns(path, _PROMPT_TEXTS)
    for name in _PROMPT_TEXTS[:2]:
        if name not in columns:
            raise SchemaError("the column is missing", path=str(path), column=name)
    n = len(columns["prompt_id"])
    texts = {
        name: _texts(columns.get(name), n, str(path), name, is_needed=name in _PROMPT_TEXTS[:2])
        for name in _PROMPT_TEXTS
    }
    by_id: dict[str, dict[str, str]] = {}
    for row, key in enumerate(texts["prompt_id"]):
        if key in by_id:
            raise SchemaError("an id that stands twice", path=str(path), row=row, column="prompt_id")
        by_id[key] = {name: texts[name][row] for name in _PROMPT_TEXTS[1:]}
    return by_id


def _join(answers: dict[str, Sequence[Any]], by_id: dict[str, dict[str, str]], path: str | None) -> None:
    """Adds what the file of prompts says of each answer's prompt, where the answer itself does not say it."""
    keys = answers["prompt_id"]
    row = next((row for row, key in enumerate(keys) if key not in by_id), None)
    if row is not None:
        raise SchemaError("an id that the file of prompts does not have", path=path, row=row, column="prompt_id")
    answers["prompt"] = [by_id[key]["prompt"] for key in keys]
    for name in ("split", "kind", "source"):
        own = answers.get(name) or [None] * len(keys)
        answers[name] = [value or by_id[key][name] for value, key in zip(own, keys, strict=True)]


def _texts(values: Sequence[Any] | None, n: int, path: str | None, column: str, *, is_needed: bool) -> list[str]:
    """Texts, empty where there is none."""
    texts = ["" if value is None else value for value in values] if values is not None else [""] * n
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise SchemaError(f"expected text, got {type(text).__name__}", path=path, row=row, column=column)
        if is_needed and not text.strip():
            raise SchemaError("expected text, got nothing", path=path, row=row, column=column)
    return texts


def _contexts(values: Sequence[Any] | None, n: int, path: str | None) -> list[tuple[str, ...]]:
    """The passages of each answer's prompt; none where there is nothing."""
    found = []
    for row, value in enumerate([None] * n if values is None else values):
        passages = () if value is None else value
        if isinstance(passages, str) or not all(isinstance(each, str) for each in passages):
            raise SchemaError("expected a list of passages, as text", path=path, row=row, column="context")
        found.append(tuple(passages))
    return found


def _numbers(values: Sequence[Any] | None, n: int, path: str | None, column: str) -> np.ndarray:
    """Floats, NaN where there is none."""
    if values is None:
        return np.full(n, np.nan)
    if not isinstance(values, np.ndarray):
        for row, value in enumerate(values):
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float, np.floating))):
                raise SchemaError(
                    f"expected a number or null, got {type(value).__name__}", path=path, row=row, column=column
                )
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _refuse(is_wrong: np.ndarray, message: str, path: str | None, column: str) -> None:
    if is_wrong.any():
        raise SchemaError(message, path=path, row=int(is_wrong.argmax()), column=column)


def _names(values: Sequence[str]) -> np.ndarray:
    """An array of short strings; of objects where one is long, which would make all as wide."""
    is_long = any(len(value) > _LONG_NAME for value in values)
    return np.array(values, dtype=object if is_long else None)


def _once(
    prompts: Sequence[tuple[str, tuple[str, ...]]], splits: Sequence[str]
) -> tuple[list[tuple[str, tuple[str, ...]]], np.ndarray, np.ndarray]:
    """The different prompts with their passages, in order; their splits; and `(n,)` the place of each answer's."""
    places: dict[tuple[str, tuple[str, ...]], int] = {}
    index = np.array([places.setdefault(prompt, len(places)) for prompt in prompts])
    last = [""] * len(places)
    for place, split in zip(index, splits, strict=True):
        if _LATENESS.get(split, 1) > _LATENESS.get(last[place], 1):
            last[place] = split
    return list(places), _names(last), index
