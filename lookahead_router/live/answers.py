"""What candidates are asked and what they answered: the lines of prompt files, answer files and scored files."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lookahead_router.data.outcomes import OutcomeTable, read_columns
from lookahead_router.errors import ConfigurationError, DataError, PromptError, SchemaError
from lookahead_router.live.journal import read_records
from lookahead_router.prompts import clean_text, prompt_text, read_context

Redact = Callable[[str], str]
"""Takes personal data out of a text."""

_SMALL = 4096
"""Bytes below which a file may be empty but for blank lines."""
_QUESTION_COLUMNS = ("prompt", "messages", "reference", "id", "source", "split", "scores_human", "context")


@dataclass(frozen=True)
class Question:
    """A prompt or a conversation to be answered, with what is known of the right answer."""

    prompt: str
    """The text that routing reads: the prompt itself, or a conversation's last question."""
    messages: tuple[Mapping[str, Any], ...] | None = None
    """The conversation in OpenAI's form, where it is more than one user's message."""
    reference: Any = None
    """The right answer, for graders that compare with one: text, a number, or any JSON."""
    id: str = ""
    source: str = ""
    split: str = ""
    scores_human: Mapping[str, float] = field(default_factory=dict)
    """Scores in [0, 1] that people gave, by candidate."""
    context: tuple[str, ...] = ()
    """Passages that go along with it; they stand before a prompt, and before a conversation's last message."""

    @property
    def prompt_id(self) -> str:
        """16 hex digits that are the same for the same prompt or conversation."""
        asked = self.prompt if self.messages is None else list(self.messages)
        asked = [asked, list(self.context)] if self.context else asked
        return hashlib.sha256(json.dumps(asked, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]

    def redacted(self, redact: Redact) -> "Question":
        """The question without what the function takes out of prompt, messages and a reference that is text.

        Raises:
            DataError: the function gives no text, or an empty one.
        """

        def clean(value: Any) -> Any:
            if isinstance(value, str):
                text = redact(value) if value.strip() else value
                if not isinstance(text, str) or (value.strip() and not text.strip()):
                    found = "nothing" if isinstance(text, str) else type(text).__name__
                    raise DataError(f"the redact function left {found} of a text; it has to give text")
                return text
            if isinstance(value, Mapping):
                return {key: clean(each) if key in ("content", "text") else each for key, each in value.items()}
            return [clean(each) for each in value] if isinstance(value, list | tuple) else value

        messages = None if self.messages is None else tuple(clean(message) for message in self.messages)
        reference = clean(self.reference) if isinstance(self.reference, str) else self.reference
        context = tuple(map(clean, self.context))
        return replace(self, prompt=clean(self.prompt), messages=messages, reference=reference, context=context)


@dataclass(frozen=True)
class Answer:
    """One candidate's answer to one prompt; one line of an answer file or of a scored file."""

    prompt_id: str
    prompt: str
    candidate: str
    response: str | None
    """`None` where the candidate did not answer; `error` says why."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """`None` where the candidate has no price."""
    latency_seconds: float = 0.0
    finish_reason: str = ""
    """`stop`, `length`, `content_filter`, `refusal`, or the endpoint's own word."""
    tokens_estimated: bool = False
    """Whether the endpoint did not count the tokens, and we did, on the high side."""
    error: str | None = None
    """A class of failure that another try would not change: `content filter`, `context overflow`, `no answer`."""
    messages: tuple[Mapping[str, Any], ...] | None = None
    reference: Any = None
    id: str = ""
    source: str = ""
    split: str = ""
    scores_human: Mapping[str, float] = field(default_factory=dict)
    context: tuple[str, ...] = ()
    score: float | None = None
    """In [0, 1], higher is better; `None` where it is not judged."""
    kind: str | None = None
    """What the score is: `correct`, `judge` or `pref`, as `OutcomeTable` has it."""
    judge: str | None = None
    """Who gave the score."""

    @property
    def score_human(self) -> float | None:
        """The score that people gave to this answer; `None` where they did not."""
        return self.scores_human.get(self.candidate)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without what is not there."""
        record = {}
        for each in fields(self):
            value = getattr(self, each.name)
            default = {} if each.name == "scores_human" else each.default
            if each.name in _ALWAYS or type(value) is not type(default) or value != default:
                record[each.name] = value
        if self.messages is not None:
            record["messages"] = [dict(message) for message in self.messages]
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], *, path: str | None = None, row: int | None = None) -> "Answer":
        """The inverse of `to_dict`; what it does not know is left out.

        Raises:
            SchemaError: prompt or candidate is missing, or a field is of the wrong type.
        """
        known = {name: record[name] for name in _ANSWER_FIELDS if record.get(name) is not None}
        for name, types in _ANSWER_TYPES.items():
            if name in known and (not isinstance(known[name], types) or isinstance(known[name], bool)):
                raise SchemaError(f"found {type(known[name]).__name__}", path=path, row=row, column=name)
        for name in ("prompt", "candidate"):
            if not known.get(name):
                raise SchemaError("expected text, got nothing", path=path, row=row, column=name)
        if not 0 <= known.get("score", 0) <= 1:
            raise SchemaError("expected a score in [0, 1]", path=path, row=row, column="score")
        known["scores_human"] = _human(known.get("scores_human"), path, row)
        for name in ("messages", "context"):
            if name in known:
                known[name] = tuple(known[name])
        known.setdefault("response", None)
        known.setdefault(
            "prompt_id", Question(known["prompt"], known.get("messages"), context=known.get("context", ())).prompt_id
        )
        return cls(**known)


_ALWAYS = ("response", "input_tokens", "output_tokens", "cost_usd")
_ANSWER_FIELDS = tuple(each.name for each in fields(Answer))
_ANSWER_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("prompt_id", "prompt", "candidate", "response", "finish_reason", "error"), str),
    **dict.fromkeys(("id", "source", "split", "kind", "judge"), str),
    **dict.fromkeys(("input_tokens", "output_tokens", "cost_usd", "latency_seconds", "score"), (int, float)),
    **dict.fromkeys(("messages", "context"), (list, tuple)),
}


def read_answers(path: str | Path) -> list[Answer]:
    """The answers of a file that `collect` or `judge` wrote, or that has the same columns.

    Raises:
        DataError: no such file, or no JSONL; says where.
        SchemaError: a line without prompt or candidate, or with a field of the wrong type; says where.
    """
    records = read_records(Path(path))
    return [Answer.from_dict(record, path=str(path), row=row) for row, record in enumerate(records)]


def outcome_table(answers: Iterable[Answer]) -> OutcomeTable:
    """The scored ones among answers, as routers are fitted on.

    Raises:
        DataError: none is scored.
    """
    scored = [answer for answer in answers if answer.score is not None]
    if not scored:
        raise DataError("no answer is scored; run: lookahead-router judge")
    return OutcomeTable.from_answers(scored)


def read_questions(path: str | Path) -> list[Question]:
    """The prompts of a JSONL or Parquet file: `prompt` or `messages`, and where there are `reference`, `id`, `source`,
    `split` and `scores_human`; or of a text file, one a line.

    Raises:
        SchemaError: no such file, a malformed one, or a row without a prompt; says where.
        DataError: no prompt.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size < _SMALL and not path.read_bytes().strip():
        raise DataError(f"{path}: no prompts; it is empty")
    if path.suffix.lower() in (".jsonl", ".ndjson", ".parquet"):
        columns = read_columns(path, _QUESTION_COLUMNS)
        if not {"prompt", "messages"} & set(columns):
            found = ", ".join(columns) or "none that is known"
            raise SchemaError(f"the column is missing; there are {found}", path=str(path), column="prompt")
        n = len(next(iter(columns.values())))
        records: Sequence[Any] = [{name: values[row] for name, values in columns.items()} for row in range(n)]
    elif path.is_file():
        records = [line for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()]
    else:
        raise SchemaError("no such file", path=str(path))
    return questions_of(records, path=str(path))


def questions_of(prompts: Iterable[Any], *, path: str | None = None) -> list[Question]:
    """Questions of texts, conversations, records with the columns of a prompt file, or `Question`s.

    Raises:
        SchemaError: one that is none of these; says which.
        DataError: there is none.
    """
    if isinstance(prompts, str | Mapping):
        raise DataError("expected a list of prompts; wrap a single one in a list")
    questions = [_question(prompt, path, row) for row, prompt in enumerate(prompts)]
    if not questions:
        raise DataError(f"{path or 'the list'}: no prompts")
    return questions


def context_variants(questions: Iterable[Question], with_context: str) -> list[Question]:
    """The questions as they are to be asked: with the passages that they have, without them, or both ways.

    Args:
        questions: of `questions_of`.
        with_context: `yes`, `no` or `both`; what has no passages is asked once in any case.

    Raises:
        ConfigurationError: another word.
        DataError: passages are asked for and no question has any.
    """
    if with_context not in ("yes", "no", "both"):
        raise ConfigurationError(f"with_context must be yes, no or both, got {with_context!r}")
    questions = list(questions)
    if with_context == "yes":
        return questions
    if with_context == "both" and not any(question.context for question in questions):
        raise DataError("no prompt has passages; give them as a list of texts in the column context")
    bare = [replace(question, context=()) for question in questions]
    if with_context == "no":
        return bare
    pairs = zip(bare, questions, strict=True)
    return [each for without, given in pairs for each in ((without, given) if given.context else (without,))]


def _question(prompt: Any, path: str | None, row: int) -> Question:
    if isinstance(prompt, Question):
        return prompt
    record = prompt if isinstance(prompt, Mapping) else {"prompt": prompt}
    asked = record.get("messages") or record.get("prompt")
    column = "messages" if record.get("messages") else "prompt"
    if isinstance(asked, str) and column == "messages":  # Parquet has no lists of mixed objects
        try:
            asked = json.loads(asked)
        except ValueError:
            raise SchemaError("expected a list of messages", path=path, row=row, column=column) from None
    try:
        text = prompt_text(asked)
    except PromptError as error:
        raise SchemaError(str(error), path=path, row=row, column=column) from error
    messages = None if isinstance(asked, str) else _conversation(asked, path, row, column)
    if messages is None:
        text = clean_text(asked)
    texts = {name: record.get(name) or "" for name in ("id", "source", "split")}
    for name, value in texts.items():
        if not isinstance(value, str):
            texts[name] = str(value)
    scores_human = _human(record.get("scores_human"), path, row)
    reference = record.get("reference")
    if isinstance(reference, float) and math.isnan(reference):  # how tables say that there is none
        reference = None
    try:
        context = tuple(map(clean_text, read_context(record.get("context") or ())))
    except PromptError as error:
        raise SchemaError(str(error), path=path, row=row, column="context") from error
    reference = _plain(reference, path, row, "reference")
    return Question(text, messages, reference, **texts, scores_human=scores_human, context=context)


def _conversation(asked: Sequence[Any], path: str | None, row: int, column: str) -> tuple[Mapping[str, Any], ...]:
    for message in asked:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str) or "content" not in message:
            raise SchemaError("expected messages with role and content", path=path, row=row, column=column)
    return tuple(_plain([dict(message) for message in asked], path, row, column))


def _plain(value: Any, path: str | None, row: int, column: str) -> Any:
    """A value that can be sent and written: plain JSON, without halves of characters."""
    try:
        return json.loads(clean_text(json.dumps(value, ensure_ascii=False, allow_nan=False)))
    except (TypeError, ValueError, RecursionError):
        raise SchemaError(
            "expected plain JSON: texts, numbers, lists, objects", path=path, row=row, column=column
        ) from None


def _human(scores: Any, path: str | None, row: int | None) -> dict[str, float]:
    if scores is None:
        return {}
    if not isinstance(scores, Mapping):
        raise SchemaError("expected {candidate: score}", path=path, row=row, column="scores_human")
    for value in scores.values():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value <= 1):
            raise SchemaError("expected scores in [0, 1]", path=path, row=row, column="scores_human")
    return {name: float(value) for name, value in scores.items() if value is not None}
