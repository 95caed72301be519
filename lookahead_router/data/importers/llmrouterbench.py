"""LLMRouterBench (Li et al., arXiv 2601.07206): one JSON file a run, `DATASET/SPLIT/MODEL/...-TIMESTAMP.json`.

A file names its dataset, split and model, and holds a list of records, one a prompt. The splits are those of the
datasets it was made from, where nearly all is test, so they are not taken over.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.importers.joining import Answer, choose, join
from lookahead_router.data.importers.records import Record, is_hidden, read_json
from lookahead_router.data.importers.skipped import Skipped

_TIMESTAMP = re.compile(r"\d{8}_\d{6}(?=\.json$)")


def read(path: Path, models: Sequence[str] | None, skipped: Skipped) -> Iterator[RoutingExample]:
    """The examples, dataset by dataset; of several runs the latest that is no demo.

    Raises:
        SchemaError: models that were given different prompts.
        DataError: no result files.
        UnknownCandidateError: a model without results.
    """
    runs: dict[tuple[str, str], dict[str, dict[str, Answer]]] = {}
    found = {}
    for file in sorted((file for file in path.rglob("*.json") if not is_hidden(file, path)), key=_age):
        with skipped.row_of(path):
            result = read_json(file)
            if "demo" in result and result.get("demo"):
                continue
            model = result.text("model_name")
            key = (result.text("dataset_name"), result.text("split"))
            found[model] = None
            if models is None or model in models:
                runs.setdefault(key, {})[model] = _answers(result, skipped)
    if not found:
        skipped.report()
    names = choose(models, sorted(found), "DATASET/SPLIT/MODEL/*.json with results", path)
    for (dataset, _), answers in sorted(runs.items()):
        ordered = {name: answers[name] for name in names if name in answers}
        yield from join(dataset, ordered, path)


def _age(file: Path) -> tuple[str, str]:
    timestamp = _TIMESTAMP.search(file.name)
    return timestamp[0] if timestamp else "", str(file)


def _answers(result: Record, skipped: Skipped) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for record in result.rows("records"):
        with skipped.row_of(result.path):
            key = f"{result.text('split')}/{record.get('index')}"
            if key in answers:
                raise record.error("the index stands twice", "index")
            answers[key] = Answer(record.get("prompt"), _outcome(record))
    return answers


def _outcome(record: Record) -> Outcome:
    score, tokens = record.number("score"), record.number("completion_tokens")
    if score is None and not tokens:  # the call failed, and the text is its error message
        return Outcome()
    response = record.get("raw_output")
    return Outcome(
        response=response if isinstance(response, str) else None,
        score=score,
        cost_usd=record.number("cost"),
        output_tokens=tokens,
    )
