"""Prompts out of logs: OpenAI's chat format, exports of LangSmith and Langfuse, Parquet, CSV, and lines of text.

A record is searched for what was asked, by the names that such logs have for it: a conversation, or a text. Who
answered, and how, does not matter here.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookahead_router.errors import DataError, PromptError, SchemaError
from lookahead_router.extras import require
from lookahead_router.live.answers import Question
from lookahead_router.prompts import clean_text, prompt_text

_ASKED = ("messages", "prompt", "input", "inputs", "body", "request", "kwargs", "question", "query", "text", "content")
"""Names of what was asked, in the order in which they are believed."""
_REFERENCES = ("reference", "expected_output", "expectedOutput")
_KINDS = ("run_type", "type")
_OTHERS = frozenset(
    {"tool", "retriever", "embedding", "embeddings", "event", "span", "parser", "evaluator", "guardrail"}
)
"""Kinds of records that ask no LLM."""
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Log:
    """What was asked, in the order of the log."""

    questions: tuple[Question, ...]
    n_records: int
    n_unreadable: int
    """Records in which no prompt was found."""


def read_logs(paths: Iterable[str | Path]) -> Log:
    """The prompts of log files, one after the other.

    JSON and JSONL (`.json`, `.jsonl`, `.ndjson`), Parquet, CSV; any other file is read as text, a prompt a line.

    Raises:
        DataError: no such file, a file that is no UTF-8, or no prompt in any record.
        MissingDependencyError: Parquet without pyarrow.
    """
    paths = [Path(path) for path in paths]
    records = [record for path in paths for record in _records(path)]
    return log_of(records, where=", ".join(map(str, paths)))


def log_of(records: Iterable[Any], *, where: str = "the log") -> Log:
    """The prompts of records in memory: texts, conversations, `Question`s, or what a line of a log holds.

    Raises:
        DataError: no record, or no prompt in any of them.
    """
    if isinstance(records, str | Mapping):
        raise DataError("expected a list of records; wrap a single one in a list")
    records = list(records)
    found = [each if isinstance(each, Question) else _question(each) for each in records]
    questions = tuple(each for each in found if each is not None)
    if not records:
        raise DataError(f"{where}: the log is empty")
    if not questions:
        raise DataError(
            f"{where}: no prompt in any of {len(records):,} records; expected a text, or one of {', '.join(_ASKED[:6])}"
        )
    return Log(questions, len(records), len(records) - len(questions))


def _records(path: Path) -> Iterator[Any]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SchemaError(f"cannot be read: {error.strerror or error}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise SchemaError("not UTF-8; write the file again in this encoding", path=str(path)) from error
    if suffix == ".csv":
        csv.field_size_limit(1 << 28)
        yield from csv.DictReader(io.StringIO(text, newline=""))
    elif suffix == ".json":
        whole = _parsed(text)
        listed = next((v for v in whole.values() if isinstance(v, list)), None) if isinstance(whole, Mapping) else whole
        yield from listed if isinstance(listed, list) and not _is_conversation(listed) else [whole]
    elif suffix in (".jsonl", ".ndjson"):
        yield from (_parsed(line) for line in text.split("\n") if line.strip())
    else:
        yield from (line for line in text.splitlines() if line.strip())


def _parquet(path: Path) -> list[Any]:
    pq, pa = require("pyarrow.parquet", "eval"), require("pyarrow", "eval")
    try:
        with pq.ParquetFile(path) as file:
            return file.read().to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(f"not a readable Parquet file ({error})", path=str(path)) from error


def _parsed(text: str) -> Any:
    """The JSON value, or nothing: a log may be cut off, and one line must not lose the others."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _question(record: Any) -> Question | None:
    """What a record asks; `None` where that is nothing."""
    if isinstance(record, Mapping) and any(str(record.get(name)).lower() in _OTHERS for name in _KINDS):
        return None
    asked = _asked(record)
    if asked is None:
        return None
    try:
        text = prompt_text(asked)
    except (PromptError, TypeError, ValueError, RecursionError):
        return None
    about = record if isinstance(record, Mapping) else {}
    reference = next((about[name] for name in _REFERENCES if about.get(name) not in (None, "")), None)
    is_one_message = isinstance(asked, str) or (len(asked) == 1 and isinstance(asked[0].get("content"), str))
    return Question(
        clean_text(asked) if isinstance(asked, str) else text,
        None if is_one_message else tuple(asked),
        reference,
        source=about["source"] if isinstance(about.get("source"), str) else "",
    )


def _asked(value: Any, depth: int = 0) -> str | list[Mapping[str, Any]] | None:
    """The text or the conversation in a value, wherever in it that stands."""
    if depth > _MAX_DEPTH or value is None:
        return None
    if isinstance(value, str):
        inner = _parsed(value) if value.lstrip()[:1] in ("{", "[") and depth else None
        found = _asked(inner, depth + 1) if isinstance(inner, Mapping | list) else None
        return found or (value if value.strip() else None)
    if isinstance(value, Mapping):
        return next((found for name in _ASKED if (found := _asked(value.get(name), depth + 1))), None)
    if isinstance(value, Sequence) and value:
        if _is_conversation(value):
            return _until_last_question([_message(each) for each in value])
        if len(value) == 1:  # a batch of one, as LangChain logs it
            return _asked(value[0], depth + 1)
    return None


def _is_conversation(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(each, Mapping) and _message(each) is not None for each in value)


def _message(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """The message in OpenAI's form; LangChain's are wrapped in `kwargs` or `data`."""
    inner = next((value[name] for name in ("kwargs", "data") if isinstance(value.get(name), Mapping)), value)
    role = value.get("role") or inner.get("role") or inner.get("type") or value.get("type")
    if role == "constructor" and isinstance(value.get("id"), list):
        role = str(value["id"][-1]).removesuffix("Chunk").removesuffix("Message").lower()
    if not isinstance(role, str) or "content" not in inner:
        return None
    return {**{name: inner[name] for name in _KEPT if inner.get(name)}, "role": _ROLES.get(role, role),
            "content": inner["content"]}  # fmt: skip


_ROLES = {"human": "user", "ai": "assistant", "chat": "user"}
_KEPT = ("name", "tool_calls", "tool_call_id")


def _until_last_question(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation up to the last message of the user: what was answered then is no part of the question."""
    last = max((at for at, each in enumerate(messages) if each["role"] == "user"), default=-1)
    return messages[: last + 1]
