"""JSONL, one example a line: `{"prompt": ..., "outcomes": [{"candidate": ..., ...}], ...}`."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import SchemaError
from lookahead_router.files import replacing_file


def read_jsonl(path: Path) -> Iterator[RoutingExample]:
    """The examples in a JSONL file; rows in errors count from 0, blank lines left out.

    Raises:
        SchemaError: no such file, or a malformed line.
    """
    if not path.is_file():
        raise SchemaError("no such file", path=str(path))
    with path.open("rb") as lines:
        if lines.read(3) != BOM_UTF8:
            lines.seek(0)
        for row, line in enumerate(line for line in lines if line.strip()):
            try:
                record = json.loads(line.decode())
            except UnicodeDecodeError as error:
                raise SchemaError(
                    "not UTF-8; write the file again in this encoding", path=str(path), row=row
                ) from error
            except (ValueError, RecursionError) as error:
                raise SchemaError(f"not JSON: {error}", path=str(path), row=row) from error
            yield example_from_record(record, path=str(path), row=row)


def example_from_record(record: Any, *, path: str | None, row: int) -> RoutingExample:
    """An example from plain JSON types.

    Raises:
        SchemaError: a field is missing or of the wrong type.
    """

    def check(value: Any, types: type | tuple[type, ...], column: str, expected: str) -> Any:
        if not isinstance(value, types) or isinstance(value, bool):
            found = "nothing" if value is None else type(value).__name__
            raise SchemaError(f"expected {expected}, got {found}", path=path, row=row, column=column)
        return value

    def optional(value: Any, types: type | tuple[type, ...], column: str, expected: str) -> Any:
        return None if value is None else check(value, types, column, expected)

    check(record, dict, "", "an object with prompt and outcomes")
    outcomes: dict[str, Outcome] = {}
    for item in check(record.get("outcomes"), list, "outcomes", "a list of outcomes"):
        check(item, dict, "outcomes", "a list of objects")
        name = check(item.get("candidate"), str, "outcomes.candidate", "a candidate's name")
        if name in outcomes:
            raise SchemaError(f"candidate {name!r} stands twice", path=path, row=row, column="outcomes.candidate")
        outcomes[name] = Outcome(
            response=optional(item.get("response"), str, "outcomes.response", "text or null"),
            score=optional(item.get("score"), int | float, "outcomes.score", "a number or null"),
            cost_usd=optional(item.get("cost_usd"), int | float, "outcomes.cost_usd", "a number or null"),
            output_tokens=optional(
                item.get("output_tokens"), int | float, "outcomes.output_tokens", "a number or null"
            ),
        )
    return RoutingExample(
        prompt=check(record.get("prompt"), str | list, "prompt", "text or a list of messages"),
        outcomes=outcomes,
        id=optional(record.get("id"), str, "id", "text") or "",
        source=optional(record.get("source"), str, "source", "text") or "",
        split=optional(record.get("split"), str, "split", "text") or "",
        context=tuple(
            check(passage, str, "context", "a list of passages, as text")
            for passage in optional(record.get("context"), list, "context", "a list of passages") or ()
        ),
    )


def record_from_example(example: RoutingExample) -> dict[str, Any]:
    """Plain JSON types of an example: the inverse of `example_from_record`."""
    return {
        "id": example.id,
        "source": example.source,
        "split": example.split,
        "prompt": example.prompt,
        **({"context": list(example.context)} if example.context else {}),
        "outcomes": [
            {
                "candidate": name,
                "response": outcome.response,
                "score": outcome.score,
                "cost_usd": outcome.cost_usd,
                "output_tokens": outcome.output_tokens,
            }
            for name, outcome in example.outcomes.items()
        ],
    }


def write_jsonl(examples: Iterable[RoutingExample], path: Path) -> None:
    """Writes examples, all or none."""
    with replacing_file(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for example in examples:
            lines.write(json.dumps(record_from_example(example), ensure_ascii=False) + "\n")
