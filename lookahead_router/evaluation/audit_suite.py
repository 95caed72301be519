"""The prompts of an audit: 36 questions in six languages that come with the package, or a file of one's own."""

from dataclasses import dataclass
from pathlib import Path

from lookahead_router.errors import DataError, SchemaError
from lookahead_router.files import parse_json

SUITE = Path(__file__).with_name("audit_suite.jsonl")
PLAIN = "plain"
"""What stands for the language of a prompt that names none."""
MIN_QUESTIONS = 5
"""Below which shares and intervals say nothing."""
MAX_CHARACTERS = 100_000
"""Characters of a prompt, at most: an audit asks it some forty times."""


@dataclass(frozen=True)
class Question:
    """One question, in one or more languages."""

    prompts: dict[str, str]
    """`{language: prompt}`; the first is what translations are compared with."""
    category: str = ""
    difficulty: str = ""


def read_suite(path: Path = SUITE) -> list[Question]:
    """The questions of a file: JSONL with `prompt`, or `prompts` by language, and perhaps `category` and `difficulty`;
    or, by any other suffix, text with a prompt a line.

    Raises:
        SchemaError: no such file, or a malformed line; says which, and nothing of the prompt.
        DataError: too few questions.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SchemaError("no such file, or no UTF-8 in it", path=str(path)) from error
    lines = [(row, line) for row, line in enumerate(text.split("\n")) if line.strip()]
    is_jsonl = path.suffix.lower() == ".jsonl"
    questions = [
        _question(line, str(path), row) if is_jsonl else _checked({PLAIN: line.strip()}, "", "", str(path), row)
        for row, line in lines
    ]
    if len(questions) < MIN_QUESTIONS:
        raise DataError(f"{path}: an audit takes at least {MIN_QUESTIONS} prompts, got {len(questions)}")
    return questions


def _question(line: str, path: str, row: int) -> Question:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise SchemaError("not JSON", path=path, row=row) from error
    if not isinstance(record, dict) or ("prompt" in record) == ("prompts" in record):
        raise SchemaError("expected an object with prompt, or with prompts by language", path=path, row=row)
    prompts = record["prompts"] if "prompts" in record else {str(record.get("language", PLAIN)): record["prompt"]}
    if not isinstance(prompts, dict) or not prompts:
        raise SchemaError("expected prompts by language", path=path, row=row, column="prompts")
    return _checked(prompts, record.get("category", ""), record.get("difficulty", ""), path, row)


def _checked(prompts: dict, category: object, difficulty: object, path: str, row: int) -> Question:
    for column, value in (("category", category), ("difficulty", difficulty)):
        if not isinstance(value, str):
            raise SchemaError(f"expected text, got {type(value).__name__}", path=path, row=row, column=column)
    for text in prompts.values():
        if not isinstance(text, str) or not text.strip():
            raise SchemaError("a prompt is text that is not empty", path=path, row=row, column="prompt")
        if len(text) > MAX_CHARACTERS:
            raise SchemaError(
                f"a prompt of an audit has at most {MAX_CHARACTERS:,} characters, got {len(text):,}; shorten it",
                path=path, row=row, column="prompt",
            )  # fmt: skip
    return Question(prompts, category, difficulty)
