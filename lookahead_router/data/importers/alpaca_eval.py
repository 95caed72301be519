"""AlpacaEval (github.com/tatsu-lab/alpaca_eval): a results folder, one folder a model.

`MODEL/model_outputs.json` holds the answers, `MODEL/ANNOTATOR/annotations.json` the preferences over a baseline. They
are joined by instruction, since the annotations may stand in another order. What an annotation cost is the judge's
price, not the candidate's, and is not taken over.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.importers.joining import Answer, choose, join
from lookahead_router.data.importers.records import Record, names_in, read_json
from lookahead_router.data.importers.skipped import Skipped
from lookahead_router.errors import DataError

DEFAULT_ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
_OUTPUTS, _ANNOTATIONS = "model_outputs.json", "annotations.json"

Key = tuple[str, int]
"""An instruction, and how often it stood before."""


def read(path: Path, models: Sequence[str] | None, skipped: Skipped) -> Iterator[RoutingExample]:
    """The examples, in the order of the first model's answers; without `models`, of all with annotations.

    Raises:
        SchemaError: a missing or malformed file.
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
        outputs = _outcomes(path / name / _OUTPUTS, lambda _, output: Outcome(output.text("output")), skipped)
        judged = _outcomes(path / name / annotator / _ANNOTATIONS, _judge_of(outputs), skipped)
        answers[name] = {
            numbers.setdefault(key, str(len(numbers))): Answer(key[0], judged.get(key, outcome))
            for key, outcome in outputs.items()
        }
    yield from join("AlpacaEval", answers, path)


def _outcomes(path: Path, read: Callable[[Key, Record], Outcome], skipped: Skipped) -> dict[Key, Outcome]:
    """The outcomes in a file by instruction; of one that stands twice, each is its own."""
    seen: Counter[str] = Counter()
    found = {}
    for record in read_json(path).rows():
        with skipped.row_of(path):
            instruction = record.text("instruction").strip()
            key = instruction, seen[instruction]
            seen[instruction] += 1
            found[key] = read(key, record)
    return found


def _judge_of(asked: Mapping[Key, Outcome]) -> Callable[[Key, Record], Outcome]:
    """What reads an annotation of these instructions; scores are preferences less 1, in [0, 1]."""

    def read(key: Key, annotation: Record) -> Outcome:
        if key not in asked:
            raise annotation.error("an instruction that was not answered; take both from the same run", "instruction")
        return Outcome(annotation.text("output_2"), _score(annotation))

    return read


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
