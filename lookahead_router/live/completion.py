"""What a candidate answered, and how it is read off messages of any make."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lookahead_router.prompts import clean_text


@dataclass(frozen=True)
class Completion:
    """What a candidate answered; functions of one's own may give it in place of the text alone."""

    text: str
    input_tokens: int | None = None
    """Tokens as the endpoint counted them; `None` where it does not say."""
    output_tokens: int | None = None
    finish_reason: str = "stop"
    """`stop`, `length`, `content_filter`, `refusal`, or the endpoint's own word."""
    latency_seconds: float = 0.0
    """From the request to the whole answer."""


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or parts of which those with text count."""
    if isinstance(content, str):
        return clean_text(content)
    return clean_text("".join(part_texts(content))) if isinstance(content, Sequence) else ""


def part_texts(parts: Sequence[Any]) -> Iterator[str]:
    """The texts among the parts of a content."""
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]


def member(value: Any, name: str) -> Any:
    """A member of a mapping, or an attribute; `None` where there is none."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def first(values: Any) -> Any:
    """The first of a list; `None` where there is none."""
    return values[0] if isinstance(values, Sequence) and not isinstance(values, str) and values else None
