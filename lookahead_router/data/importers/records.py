"""Foreign JSON: records that know where they stand, so that every complaint says so."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lookahead_router.errors import SchemaError


@dataclass(frozen=True)
class Record:
    """A JSON value with its place. Keys lead into nested objects and lists: `record.text("turns", 0)`."""

    value: Any
    path: Path
    row: int | None = None

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def error(self, message: str, *keys: str | int) -> SchemaError:
        """The complaint to raise about the value under the keys."""
        return SchemaError(message, path=str(self.path), row=self.row, column=".".join(map(str, keys)))

    def get(self, *keys: str | int) -> Any:
        """The value under the keys.

        Raises:
            SchemaError: it is missing.
        """
        value = self.value
        for key in keys:
            is_there = key in value if isinstance(value, dict) else isinstance(value, list) and key in range(len(value))
            if not is_there:
                raise self.error("the field is missing", *keys)
            value = value[key]
        return value

    def at(self, *keys: str | int) -> "Record":
        """The value under the keys as a record of the same row.

        Raises:
            SchemaError: it is missing.
        """
        return Record(self.get(*keys), self.path, self.row)

    def text(self, *keys: str | int) -> str:
        """The text under the keys.

        Raises:
            SchemaError: it is missing, or no text.
        """
        value = self.get(*keys)
        if not isinstance(value, str):
            raise self.error(f"expected text, got {type(value).__name__}", *keys)
        return value

    def number(self, *keys: str | int) -> float | None:
        """The number under the keys; `None` for null, NaN and an empty text.

        Raises:
            SchemaError: it is missing, no number, or infinite.
        """
        value = self.get(*keys)
        if value is None or value == "":
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self.error(f"expected a number, got {type(value).__name__} that is none", *keys) from None
        if math.isinf(number):
            raise self.error("expected a finite number", *keys)
        return None if math.isnan(number) else number

    def rows(self, *keys: str | int) -> "list[Record]":
        """The items of the list under the keys, numbered from 0.

        Raises:
            SchemaError: it is missing, or no list.
        """
        value = self.get(*keys)
        if not isinstance(value, list):
            raise self.error(f"expected a list, got {type(value).__name__}", *keys)
        return [Record(item, self.path, row) for row, item in enumerate(value)]

    def entries(self, *keys: str | int) -> "dict[str, Record]":
        """The values of the object under the keys, by name.

        Raises:
            SchemaError: it is missing, or no object.
        """
        value = self.get(*keys)
        if not isinstance(value, dict):
            raise self.error(f"expected an object, got {type(value).__name__}", *keys)
        return {name: Record(item, self.path, row) for row, (name, item) in enumerate(value.items())}


def read_json(path: Path) -> Record:
    """The value in a JSON file.

    Raises:
        SchemaError: no such file, or not JSON.
    """
    with _opened(path) as file:
        return Record(_parsed(file.read(), path, None), path)


def read_jsonl(path: Path) -> Iterator[Record]:
    """The values in a JSONL file; blank lines do not count.

    Raises:
        SchemaError: no such file, or a line that is not JSON.
    """
    with _opened(path) as file:
        for row, line in enumerate(line for line in file if line.strip()):
            yield Record(_parsed(line, path, row), path, row)


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a file below a folder is none of its results: archives of macOS and notebooks bring such."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)


def names_in(folder: Path, pattern: str) -> list[str]:
    """What stands for `{}` in the files of a folder that fit the pattern, hidden ones left out; sorted."""
    before, _, after = pattern.partition("{}")
    found = (path for path in folder.glob(pattern.format("*")) if not is_hidden(path, folder))
    paths = (path.relative_to(folder).as_posix() for path in found)
    return sorted({path[len(before) : len(path) - len(after)] for path in paths})


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            yield file
    except FileNotFoundError as error:
        raise SchemaError("no such file", path=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"not readable ({error}); download it again", path=str(path)) from error


def _parsed(text: str, path: Path, row: int | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"not JSON: {error}", path=str(path), row=row) from error
