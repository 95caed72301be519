"""Scores by a reference: is what was answered what is right?"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from lookahead_router.errors import DataError

TOLERANCE = 1e-6
"""Relative difference that numbers may have."""
_MOST_CHARS = 100_000
"""Characters of a response that a regular expression of the user's is run over."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(
    r"(?<![\w.])([-+−]?)\s?[$€£¥]?\s?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE]([-+]?\d{1,3}))?"
    r"(?:\s?/\s?(\d+(?:\.\d+)?))?\s?\\?(%?)"
)
_FRACTION = re.compile(r"\\[dt]?frac\{\s*(-?\d+)\s*\}\{\s*(\d+)\s*\}")
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_HASHES = re.compile(r"^#{4}\s*(.+)$", re.MULTILINE)
_SAID = re.compile(r"\b(?:answer|option|choice|result)\b\W{0,4}(?:is|are|would be|should be|=|:)", re.IGNORECASE)
_LETTER = re.compile(
    r"[\s*_`\"'($\\{\[:]*(?:text\{|mathrm\{|option\s|choice\s)?[\s*_(]*([A-Z])(?![\w'’])", re.IGNORECASE
)
_LETTER_LINE = re.compile(r"\s*[*_(\[]*([A-Z])(?:[*_]*[).:\]](?:\s.*)?|[*_]*\s*)$")
_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.DOTALL)


def exact(response: str, reference: Any) -> float:
    """The same text, but for white space around it."""
    return _any(reference, lambda right: response.strip() == right.strip())


def normalized(response: str, reference: Any) -> float:
    """The same words: case, punctuation, English articles and white space do not count."""
    return _any(reference, lambda right: bool(_words(right)) and _words(response) == _words(right))


def contains(response: str, reference: Any) -> float:
    """The words of the reference stand in the response, one after the other."""
    said = f" {_words(response)} "
    return _any(reference, lambda right: bool(_words(right)) and f" {_words(right)} " in said)


def number(response: str, reference: Any, tolerance: float = TOLERANCE) -> float:
    """The number that the response gives as its answer is the reference, or one of several.

    It is the one in a `\\boxed{}`, behind `####`, behind "answer is", or else the last.
    """
    said = number_of(response)
    if said is None:
        return 0.0
    rights = [_as_number(each) for each in _alternatives(reference)]
    return float(any(_is_close(own, right, tolerance) for own in said for number in rights for right in number or ()))


def choice(response: str, reference: Any) -> float:
    """The letter that the response chooses is the reference."""
    return _any(reference, lambda right: letter_of(response) == right.strip().strip("().").upper())


def regex(response: str, reference: Any) -> float:
    """The reference, a regular expression, is found in the response."""
    return _any(reference, lambda right: re.search(right, response[:_MOST_CHARS]) is not None)


def json_equal(response: str, reference: Any) -> float:
    """The JSON of the response, alone, fenced or behind other words, is that of the reference; keys have no order."""
    right = _parsed(reference) if isinstance(reference, str) else reference
    return float(any(_is_same(value, right) for value in _json_in(response)))


GRADERS: dict[str, Callable[[str, Any], float]] = {
    "exact": exact,
    "normalized": normalized,
    "number": number,
    "choice": choice,
    "contains": contains,
    "regex": regex,
    "json": json_equal,
}
"""Graders by the name that a judge's file has for them."""


def check_reference(kind: str, reference: Any) -> None:
    """Looks whether a reference is one that a grader can compare with.

    Raises:
        DataError: it is not; says what was expected.
    """
    if kind == "json":
        if isinstance(reference, str) and _parsed(reference) is _NOTHING:
            raise DataError("expected JSON as the reference")
        return
    for each in _alternatives(reference):
        if kind == "number":
            if _as_number(each) is None:
                raise DataError("expected a number as the reference")
        elif isinstance(each, bool) or not isinstance(each, str | int | float):
            raise DataError(f"expected text as the reference, got {type(each).__name__}")
        elif kind == "choice" and not re.fullmatch(r"\(?[A-Za-z]\)?\.?", str(each).strip()):
            raise DataError("expected a letter as the reference")
        elif kind == "regex":
            try:
                re.compile(str(each))
            except re.error as error:
                raise DataError(f"the reference is no regular expression: {error.msg}") from None


def rule_for(references: Iterable[Any]) -> str | None:
    """The name of a way to grade that suits all these references; `None` where one is missing or unlike the others."""
    references = list(references)
    if not references or any(each is None or each == "" for each in references):
        return None
    if all(isinstance(each, Mapping) for each in references):
        return "json"
    return next(
        (kind for kind in ("number", "choice", "normalized") if all(_suits(kind, each) for each in references)), None
    )


def _suits(kind: str, reference: Any) -> bool:
    try:
        check_reference(kind, reference)
    except DataError:
        return False
    return True


def number_of(text: str) -> set[float] | None:
    """The number that a text gives as its answer, with what it is as a share where it is a percentage."""
    for pattern in (_BOXED, _HASHES):
        found = [number for inner in pattern.findall(text) if (number := _last_number(inner)) is not None]
        if found:
            return found[-1]
    said = [match.end() for match in _SAID.finditer(text)]
    for start in reversed(said):
        first = next(_numbers(text[start:].split("\n\n")[0][:200]), None)
        if first is not None:
            return first
    return _last_number(text)


def letter_of(text: str) -> str | None:
    """The letter that a text chooses, in upper case; `None` where it does not choose one."""
    for inner in reversed(_BOXED.findall(text)):
        if (found := _LETTER.match(inner)) is not None:
            return found[1].upper()
    for match in reversed(list(_SAID.finditer(text))):
        found = _LETTER.match(text[match.end() :])
        if found is not None and (found[1].isupper() or found.end() + match.end() == len(text.rstrip(" .\n"))):
            return found[1].upper()
    lines = [match[1] for line in text.splitlines() if (match := _LETTER_LINE.match(line))]
    return lines[-1] if lines and (len(set(lines)) == 1 or _LETTER_LINE.match(text.strip().splitlines()[-1])) else None


_NOTHING = object()


def _any(reference: Any, is_right: Callable[[str], bool]) -> float:
    return float(any(is_right(str(each)) for each in _alternatives(reference)))


def _alternatives(reference: Any) -> list[Any]:
    """References of which any is right."""
    return list(reference) if isinstance(reference, list | tuple) else [reference]


def _words(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join(
        " " if unicodedata.category(character)[0] in "PSZC" else character for character in text.replace("'", "")
    )
    return " ".join(_ARTICLES.sub(" ", text).split())


def _as_number(value: Any) -> set[float] | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return {float(value)}
    return number_of(value) if isinstance(value, str) else None


def _last_number(text: str) -> set[float] | None:
    found = list(_numbers(text))
    return found[-1] if found else None


def _numbers(text: str) -> Iterator[set[float]]:
    text = _FRACTION.sub(r"\1/\2", text).replace("{,}", ",").replace("\\$", "$").replace("\\,", "")
    for match in _NUMBER.finditer(text):
        sign, digits, exponent, divisor, percent = match.groups()
        value = float(digits.replace(",", "")) * 10.0 ** int(exponent or 0)
        if divisor and float(divisor):
            value /= float(divisor)
        if sign in ("-", "−"):
            value = -value
        if math.isfinite(value):
            yield {value, value / 100} if percent else {value}


def _is_close(a: float, b: float, tolerance: float) -> bool:
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance * 1e-3)


def _json_in(text: str) -> Iterator[Any]:
    """The JSON that a text is or holds: itself, or what is fenced last, or the last object or list in it."""
    for part in (text, *reversed(_FENCED.findall(text))):
        value = _parsed(part)
        if value is not _NOTHING:
            yield value
            return
    decoder, found, place = json.JSONDecoder(), _NOTHING, 0
    while (start := min((i for i in (text.find("{", place), text.find("[", place)) if i >= 0), default=-1)) >= 0:
        try:
            found, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            place = start + 1
    if found is not _NOTHING:
        yield found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_is_same, a, b))
    return type(a) is type(b) and a == b
