"""The data of the Lookahead authors (github.com/huangcb01/lookahead-routing): `compressed_data`, or `data` unpacked.

`train/SET/instructions.jsonl` has the prompts, `train/SET/eval_ids.json` the ids of the validation split, and one
folder beside them `MODEL.jsonl` with responses and scores. The benchmarks under `test` each have a layout of their
own. Any file may be compressed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.importers.joining import Answer, choose, join
from lookahead_router.data.importers.lookahead_benchmarks import BENCHMARKS
from lookahead_router.data.importers.records import Record, names_in, read_json, read_jsonl
from lookahead_router.errors import DataError, SchemaError

_RESULTS = "{}.jsonl"


@dataclass(frozen=True)
class _Set:
    """A folder of results, and what reads it."""

    folder: Path
    models: list[str]
    read: Callable[[Path, list[str]], Iterator[RoutingExample]]
    """From the folder and the names of models in it to examples."""


def read(path: Path, models: Sequence[str] | None) -> Iterator[RoutingExample]:
    """The examples of all sets; without `models`, of those that have results in every set.

    Raises:
        SchemaError: a missing or malformed file, or files that do not belong together.
        DataError: no set, an unknown one, or no model that has results in all.
        UnknownCandidateError: a model without results.
    """
    sets = [*map(_training_set, _folders(path / "train")), *map(_benchmark, _folders(path / "test"))]
    if not sets:
        raise DataError(f"{path}: expected the folders train or test with sets in them, found none")
    found = list(dict.fromkeys(name for each in sets for name in each.models))
    if models is None:
        found = [name for name in found if all(name in each.models for each in sets)]
    names = choose(models, found, "models that have results in every set, unless some are named", path)
    for each in sets:
        yield from each.read(each.folder, [name for name in names if name in each.models])


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else []


def _benchmark(folder: Path) -> _Set:
    if folder.name not in BENCHMARKS:
        raise DataError(f"{folder}: expected one of {', '.join(BENCHMARKS)}; move other folders away")
    benchmark = BENCHMARKS[folder.name]

    def read(folder: Path, names: list[str]) -> Iterator[RoutingExample]:
        return (replace(example, split="test") for example in benchmark.read(folder, names))

    return _Set(folder, names_in(folder, benchmark.results), read)


def _training_set(folder: Path) -> _Set:
    scored = [results for results in _folders(folder) if _has_scores(results)]
    if len(scored) != 1:
        found = ", ".join(results.name for results in scored) or "none"
        raise DataError(f"{folder}: expected one folder with MODEL.jsonl that has scores, found {found}")
    return _Set(scored[0], names_in(scored[0], _RESULTS), _read_training_set)


def _has_scores(results: Path) -> bool:
    names = names_in(results, _RESULTS)
    first = next(read_jsonl(results / _RESULTS.format(names[0])), None) if names else None
    return first is not None and "score" in first


def _read_training_set(results: Path, names: list[str]) -> Iterator[RoutingExample]:
    folder = results.parent
    prompts = {}
    for instruction in read_jsonl(folder / "instructions.jsonl"):
        key = str(instruction.get("prompt_id"))
        if key in prompts:
            raise instruction.error("the id stands twice", "prompt_id")
        prompts[key] = instruction.text("prompt")
    validation = {str(record.value) for record in read_json(folder / "eval_ids.json").rows()}
    rows = {name: _by_id(results / _RESULTS.format(name), list(prompts)) for name in names}
    scores = {name: {key: record.number("score") for key, record in found.items()} for name, found in rows.items()}
    scaled = _scaled(scores)
    answers = {
        name: {
            key: Answer(prompts[key], Outcome(response=found[key].text("response"), score=scaled[name][key]))
            for key in prompts
            if key in found
        }
        for name, found in rows.items()
    }
    for example in join(folder.name, answers, results):
        key = example.id.removeprefix(f"{folder.name}/")
        yield replace(example, split="validation" if key in validation else "train")


def _by_id(path: Path, ids: list[str]) -> dict[str, Record]:
    """The rows of a model by prompt id; where they have none, by their place among the instructions."""
    records = list(read_jsonl(path))
    if not all("prompt_id" in record for record in records):
        if len(records) != len(ids):
            raise SchemaError(f"expected {len(ids)} rows, one an instruction, got {len(records)}", path=str(path))
        return dict(zip(ids, records, strict=True))
    found: dict[str, Record] = {}
    known = set(ids)
    for record in records:
        key = str(record.get("prompt_id"))
        if key not in known or key in found:
            problem = "stands twice" if key in found else "is none of instructions.jsonl"
            raise record.error(f"the id {problem}", "prompt_id")
        found[key] = record
    return found


def _scaled(scores: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Scores in [0, 1]: as they are if all lie there, else from the least to the greatest of these models."""
    known = [score for found in scores.values() for score in found.values() if score is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low >= 0 and high <= 1:
        return scores
    span = high - low or 1.0
    return {
        name: {key: None if score is None else (score - low) / span for key, score in found.items()}
        for name, found in scores.items()
    }
