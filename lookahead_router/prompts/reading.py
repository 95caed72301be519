"""A prompt or a conversation as a request: the text that is routed, what it needs, how long it is."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lookahead_router.errors import ConfigurationError, PromptError
from lookahead_router.prompts.content import Prompt, Reading, read_message, without_data_urls
from lookahead_router.prompts.tokens import estimate_tokens

NEEDS = ("tools", "images", "audio", "video", "files", "structured output")
"""What a request can need of a candidate, in the words of `Candidate.capabilities`."""

_EMPTY = "the prompt is empty; send at least one character that is not whitespace"

# How agents hand a tool's output to a model that knows no tool messages: as a user's message that begins like this.
_OUTPUT = r"(?:tool|function|action|command|code|execution)(?: call)?[ _](?:output|result|response|log)s?"
_OBSERVATION = re.compile(
    rf"\s*(?:\W{{0,4}}(?:observation|{_OUTPUT}|execution logs)\W{{0,4}}"
    r"(?:(?:of|from|for|by)\b[^\n:]{0,80}|[#\d(`\[][^\n:]{0,80})?:"
    rf"|\[(?:observation|{_OUTPUT})\]|```(?:{_OUTPUT})\b|<(?:observation|returncode|{_OUTPUT})\b[^>\n]{{0,200}}>"
    r"|exit ?code: ?\d|\[?command finished with exit code|(?:results? from )?tool `?\w+`? returned\b"
    r"|results? from (?:the )?tool\b|\[\w+ for [^\n]{0,200}\] result:)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt or a conversation as routing sees it."""

    text: str
    """What is routed; empty only where that was allowed."""
    needs: frozenset[str] = frozenset()
    """What a candidate must be able to do, out of `NEEDS`."""
    n_tokens: int = 0
    """Tokens of the whole conversation, attachments included; estimated on the high side."""
    turn_start: int = 0
    """Index of the message that began the user's turn; a tool's output that an agent hands back begins none."""


def read_request(
    prompt: Prompt,
    *,
    route_on: Callable[[Prompt], str | None] | None = None,
    needs: Iterable[str] = (),
    tools: Sequence[Any] | None = None,
    context_chars: int = 0,
    allow_empty: bool = False,
) -> Request:
    """Reads a prompt or a conversation.

    The routed text is the user's last question: the last user message that has text and does not merely carry a
    tool's output. What tools, system and documents say is counted and never routed.

    Args:
        prompt: a text, or messages in the form of OpenAI, Anthropic, Google, Bedrock, LangChain or LlamaIndex.
        route_on: a function from `prompt` to the text to route on; where it gives `None`, the question is.
        needs: what the call needs besides, out of `NEEDS`.
        tools: definitions that the call hands over, in plain JSON: a need, and tokens of every candidate's window.
        context_chars: characters, at least 0, that the question and turns before it may have together. Turns of user
            and assistant go before the question, whole, newest first, while they fit.
        allow_empty: gives a request without text where there is nothing to route on, since its needs are known
            all the same.

    Raises:
        PromptError: no conversation; or no user message or no text to route on, unless that is allowed.
        ConfigurationError: an unknown need, or `route_on` gives something else than text.
    """
    needs = check_needs(needs) | ({"tools"} if tools else set())
    if isinstance(context_chars, bool) or not isinstance(context_chars, int) or context_chars < 0:
        raise ConfigurationError(f"context_chars must be a whole number, at least 0, got {context_chars!r}")
    if route_on is not None and not callable(route_on):
        raise ConfigurationError(f"route_on must be a function to the text to route on, got {type(route_on).__name__}")
    readings = [Reading("user", [prompt])] if isinstance(prompt, str) else _readings(prompt)
    text = None if route_on is None else route_on(prompt)
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(f"route_on must give the text to route on, or None; it gave {type(text).__name__}")
    try:
        text = _cleaned(_routed(readings, context_chars) if text is None else text)
    except PromptError:
        if not allow_empty:
            raise
        text = ""
    return Request(
        text,
        needs.union(*(reading.needs for reading in readings)),
        sum(reading.n_tokens for reading in readings) + (estimate_tokens(_as_json(tools)) if tools else 0),
        _turn_start(readings),
    )


def _as_json(tools: Sequence[Any]) -> str:
    try:
        return json.dumps(tools, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # nothing that a provider would take
        return ""


def check_needs(needs: Iterable[str]) -> frozenset[str]:
    """The needs, if all are of `NEEDS`.

    Raises:
        ConfigurationError: they are not, or a lone text.
    """
    needs = frozenset([needs] if isinstance(needs, str) else needs)
    if unknown := sorted(needs.difference(NEEDS)):
        raise ConfigurationError(f"unknown needs {', '.join(map(repr, unknown))}; choose of {', '.join(NEEDS)}")
    return needs


def prompt_text(prompt: Prompt) -> str:
    """The text to route on: the string itself, or the user's last question; see `read_request`.

    Text is stripped; surrogate pairs are joined and lone surrogates replaced, since no tokenizer takes them. Of
    multimodal content the text parts count, joined by newlines.

    Raises:
        PromptError: wrong type, no user message, or no text left.
    """
    return _cleaned(without_data_urls(prompt) if isinstance(prompt, str) else _routed(_readings(prompt), 0))


def clean_text(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _cleaned(text: str) -> str:
    text = clean_text(text.strip())
    if not text:
        raise PromptError(_EMPTY)
    return text


def _readings(prompt: Prompt) -> list[Reading]:
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes | bytearray):
        hint = "; wrap a single message in a list" if isinstance(prompt, Mapping) else ""
        raise PromptError(f"expected a string or a list of chat messages, got {type(prompt).__name__}{hint}")
    return [read_message(message) for message in prompt]


def _routed(readings: Sequence[Reading], context_chars: int) -> str:
    """The question, after the turns before it that fit.

    Raises:
        PromptError: no message of the user, or no text in the last one.
    """
    turns = _turns(readings)
    texts: list[str] = []
    room = context_chars
    for turn in reversed(turns):
        if not texts and turn.role != "user":
            continue
        text = turn.text
        if not texts and not text:
            if turn.aside or turn.n_attachments:
                continue  # attachments alone ask nothing: the question stands before them
            break
        room -= len(text) + 2 * bool(texts)
        if texts and room < 0:
            break
        if text:
            texts.append(text)
    if not texts:
        raise PromptError(_EMPTY)
    return "\n\n".join(reversed(texts))


def _turn_start(readings: Sequence[Reading]) -> int:
    """Index of the user's last message that is no observation; 0 where there is none."""
    of_user = [turn for turn in _without_observations(readings) if turn.role == "user"]
    return next((index for index, reading in enumerate(readings) if of_user and reading is of_user[-1]), 0)


def _turns(readings: Sequence[Reading]) -> list[Reading]:
    """What user and assistant say to each other; an agent's reports of what its tools gave are left out.

    Raises:
        PromptError: nothing of the user is among it.
    """
    turns = _without_observations(readings)
    if not any(turn.role == "user" for turn in turns):
        raise PromptError(f"none of the {len(readings)} messages is the user's; add one with role 'user'")
    return turns


def _without_observations(readings: Sequence[Reading]) -> list[Reading]:
    turns: list[Reading] = []
    has_answer = False
    for reading in readings:
        if reading.role == "assistant":
            has_answer = True
        elif reading.role != "user" or (has_answer and _is_observation(reading)):
            continue
        turns.append(reading)
    return turns


def _is_observation(reading: Reading) -> bool:
    """Whether a user message carries a tool's output back to the assistant that called it."""
    text = reading.text
    return bool(_OBSERVATION.match(text)) or (reading.has_tools and not text)
