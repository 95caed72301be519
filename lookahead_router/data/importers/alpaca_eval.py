"""AlpacaEval (github.com/tatsu-lab/alpaca_eval): a results folder, one folder a model.

`MODEL/model_outputs.json` holds the answers, `MODEL/ANNOTATOR/annotations.json` the preferences over a baseline. They
are joined by instruction, since the annotations may stand in another order. What an annotation cost is the judge's
price, not the candidate's, and is not taken over.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.importers.joining import Answer, choose, join
from lookahead_router.data.importers.records import Record, names_in, read_json
from lookahead_router.errors import DataError, SchemaError

DEFAULT_ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
_OUTPUTS, _ANNOTATIONS = "model_outputs.json", "annotations.json"

Key = tuple[str, int]
"""An instruction, and how often it stood before."""


def read(path: Path, models: Sequence[str] | None) -> Iterator[RoutingExample]:
    """The examples, in the order of the first model's answers; without `models`, of all with annotations.

    Raises:
        SchemaError: a missing or malformed file, or annotations of other instructions.
        DataError: no results, or annotators whose scores do not compare.
        UnknownCandidateError: a model without a folder.
    """
    names = choose(models, names_in(path, "{}/" + _OUTPUTS), "MODEL/" + _OUTPUTS, path)
    annotator = _annotator(path, names)
    if models is None:
        annotated = names_in(path, f"{{}}/{annotator}/{_ANNOTATIONS}")
        names = choose(None, [name for name in names if name in annotated], f"MODEL/{annotator}/{_ANNOTATIONS}", path)
    numbers: dict[Key, str] = {}
    answers = {}
    for name in names:
        outputs = keyed(read_json(path / name / _OUTPUTS).rows())
        judged = preferences(path / name / annotator / _ANNOTATIONS, outputs)
        answers[name] = {
            numbers.setdefault(key, str(len(numbers))): Answer(
                key[0], judged.get(key) or Outcome(response=output.text("output"))
            )
            for key, output in outputs.items()
        }
    yield from join("AlpacaEval", answers, path)


def keyed(records: list[Record]) -> dict[Key, Record]:
    """Records by their instruction."""
    seen: Counter[str] = Counter()
    keys = {}
    for record in records:
        instruction = record.text("instruction").strip()
        keys[instruction, seen[instruction]] = record
        seen[instruction] += 1
    return keys


def preferences(path: Path, expected: dict[Key, Record]) -> dict[Key, Outcome]:
    """The judged answers in a file of annotations; scores are preferences less 1, in [0, 1].

    Args:
        path: the file.
        expected: has all instructions that may occur.

    Raises:
        SchemaError: a missing or malformed file, or other instructions.
    """
    judged = {
        key: Outcome(response=annotation.text("output_2"), score=_score(annotation))
        for key, annotation in keyed(read_json(path).rows()).items()
    }
    if strangers := judged.keys() - expected.keys():
        raise SchemaError(
            f"{len(strangers)} of {len(judged)} annotations have an instruction that was not asked; "
            "take answers and annotations from the same run",
            path=str(path),
        )
    return judged


def _score(annotation: Record) -> float | None:
    preference = annotation.number("preference")
    if preference is None:
        return None
    if preference == 0:  # a tie, in old files
        return 0.5
    if not 1 <= preference <= 2:
        raise annotation.error(f"expected a preference from 1 to 2, got {preference}", "preference")
    return preference - 1


def _annotator(path: Path, names: list[str]) -> str:
    found = sorted({annotator for name in names for annotator in names_in(path / name, "{}/" + _ANNOTATIONS)})
    if not found or DEFAULT_ANNOTATOR in found:
        return DEFAULT_ANNOTATOR
    if len(found) > 1:
        raise DataError(f"{path}: expected {DEFAULT_ANNOTATOR} or a single other annotator, got {', '.join(found)}")
    return found[0]
