"""What an LLM judge is asked, and what its reply says: nothing is read into a reply that does not say it."""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from lookahead_router.live.client import ChatMessage

LOWEST, HIGHEST = 1, 10
"""Bounds of a rating."""
FIRST, SECOND, TIE = "A", "B", "tie"
"""Verdicts on two answers, by the place in which they stood."""

_MARKUP = r"[\s*_#>`\"'()\[\].]*"
_RATING = re.compile(rf"{_MARKUP}rating{_MARKUP}[:=]{_MARKUP}(\d{{1,3}})(?:\s*/\s*{HIGHEST})?{_MARKUP}", re.IGNORECASE)
_VERDICT = re.compile(rf"{_MARKUP}verdict{_MARKUP}[:=]{_MARKUP}(?:answer\s+)?(A|B|tie){_MARKUP}", re.IGNORECASE)


def rating_messages(
    question: str, answer: str, *, reference: Any = None, rubric: str | None = None
) -> list[ChatMessage]:
    """What a judge is asked about one answer.

    Args:
        question: the prompt, or a conversation as text.
        answer: a response.
        reference: a right answer, where one is known.
        rubric: what counts; ours when absent.
    """
    return _messages("rating", reference, rubric, question=question, answer=answer)


def pairwise_messages(
    question: str, first: str, second: str, *, reference: Any = None, rubric: str | None = None
) -> list[ChatMessage]:
    """What a judge is asked about two answers, in this order; see `rating_messages`."""
    return _messages("pairwise", reference, rubric, question=question, first=first, second=second)


def read_rating(reply: str) -> int | None:
    """The rating that a reply ends with, 1 to 10; `None` where it gives none, or more than one."""
    found = _last(_RATING, reply)
    return int(found) if found is not None and LOWEST <= int(found) <= HIGHEST else None


def read_verdict(reply: str) -> str | None:
    """The verdict that a reply ends with: `A`, `B` or `tie`; `None` where it gives none, or more than one."""
    found = _last(_VERDICT, reply)
    return None if found is None else TIE if found.lower() == "tie" else found.upper()


def score_of_rating(rating: int) -> float:
    """A rating as a score in [0, 1]."""
    return (rating - LOWEST) / (HIGHEST - LOWEST)


def conversation_text(prompt: str, messages: Sequence[ChatMessage] | None) -> str:
    """A prompt, or a conversation with who said what."""
    if messages is None:
        return prompt
    return "\n\n".join(f"{message['role']}: {_content(message['content'])}" for message in messages)


def reference_text(reference: Any) -> str:
    """A reference as text: itself, or its JSON."""
    return reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False)


def prompt_version(method: str) -> str:
    """A hash of the prompts that a method uses; verdicts on other prompts are not comparable."""
    return hashlib.sha256("".join(map(_template, (method, "reference", "rubric"))).encode()).hexdigest()[:12]


def _messages(name: str, reference: Any, rubric: str | None, **material: str) -> list[ChatMessage]:
    # A mark that the material cannot know: it depends on all of it.
    mark = hashlib.sha256("\0".join([name, *material.values()]).encode("utf-8", "replace")).hexdigest()[:8]
    shown = ""
    if reference is not None:
        shown = Template(_template("reference")).substitute(text=reference_text(reference), mark=mark)
    text = Template(_template(name)).substitute(
        material, mark=mark, reference=shown, rubric=(rubric or _template("rubric")).strip()
    )
    return [{"role": "user", "content": text}]


@cache
def _template(name: str) -> str:
    return (files("lookahead_router.live") / "prompts" / f"{name}.txt").read_text(encoding="utf-8")


def _last(pattern: re.Pattern, reply: str) -> str | None:
    """What the last line says or, where it says nothing, the only line that says something."""
    lines = [line for line in reply.splitlines() if line.strip()]
    found = [match[1] for line in lines if (match := pattern.fullmatch(line))]
    if lines and pattern.fullmatch(lines[-1]):
        return found[-1]
    return found[0] if len(found) == 1 else None


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text if isinstance(text, str) else "[attachment]" for text in texts)
