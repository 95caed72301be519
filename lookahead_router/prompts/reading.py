"""A prompt or a conversation as a request: the text that is routed, what it needs, how long it is."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookahead_router.errors import ConfigurationError, PromptError
from lookahead_router.prompts.content import (
    Passage,
    Prompt,
    Reading,
    passage_text,
    read_message,
    without_data_urls,
)
from lookahead_router.prompts.tokens import MESSAGE_TOKENS, cut_to_tokens, estimate_tokens

NEEDS = ("tools", "images", "audio", "video", "files", "structured output")
"""What a request can need of a candidate, in the words of `Candidate.capabilities`."""

CONTEXT_TOKENS = 100
"""Estimated tokens of what was said before that go along with a question which goes on with a topic."""

FOLLOWS = 1 / 3
"""Below this chance of a new topic a question is routed with what it refers to."""

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
    turn_starts: tuple[int, ...] = ()
    """Indexes of all messages that began a turn of the user, this one's included."""
    has_topic: bool = False
    """Whether an earlier question of the user says anything, so that whoever answered holds the conversation."""
    new_topic: float = 1.0
    """Chance, in [0, 1], that the question begins a topic rather than going on with one, where both were equally
    likely before it is read; 1 where nothing was said before."""
    n_earlier_tokens: int = 0
    """Those of the tokens that the call before this one has sent or got, and a provider may still have cached."""
    passages: tuple[str, ...] = field(default=(), repr=False)
    """The passages that were retrieved for the question, as they were given in `context`."""
    n_context_tokens: int = 0
    """Those of the tokens that passages have."""
    sent: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    """Role and text of all that is sent, oldest first: what user, assistant and system say, and, as `aside`, what
    tools, documents and passages do. Empty where `text` alone is sent."""

    @property
    def refers_back(self) -> bool:
        """Whether the question likely goes on with a topic, so that what it refers to is routed with it."""
        return self.new_topic < FOLLOWS


def read_request(
    prompt: Prompt,
    *,
    context: Iterable[Passage] = (),
    route_on: Callable[[Prompt], str | None] | None = None,
    needs: Iterable[str] = (),
    tools: Sequence[Any] | None = None,
    context_chars: int | None = None,
    allow_empty: bool = False,
) -> Request:
    """Reads a prompt or a conversation, and the passages that were retrieved for it.

    The routed text is the user's last question: the last user message that has text and does not merely carry a
    tool's output or another agent's report. Where it likely goes on with a topic ("and in Rust?"), what it refers to
    goes before it, within `CONTEXT_TOKENS`: the question that began the topic and the last ones since, cut from both
    ends if need be, and the last answer where no question says anything. What tools, system, documents and passages
    say is counted and never routed.

    Args:
        prompt: a text, or messages in the form of OpenAI, Anthropic, Google, Bedrock, LangChain or LlamaIndex.
        context: passages that go along with the prompt: texts, documents of LangChain, nodes of LlamaIndex, or
            mappings with `text`. Those that stand in a message already are not counted again, and are cut out of
            the question.
        route_on: a function from `prompt` to the question to route on; where it gives `None`, the user's last one is.
        needs: what the call needs besides, out of `NEEDS`.
        tools: definitions that the call hands over, in plain JSON: a need, and tokens of every candidate's window.
        context_chars: characters, at least 0, that earlier turns may have in the routed text; 0 for none of
            them. `CONTEXT_TOKENS` alone bound them when absent.
        allow_empty: gives a request without text where there is nothing to route on, since its needs are known
            all the same.

    Raises:
        PromptError: no conversation; or no user message or no text to route on, unless that is allowed; or a passage
            without text.
        ConfigurationError: an unknown need, or `route_on` gives something else than text.
    """
    needs = check_needs(needs) | ({"tools"} if tools else set())
    check_context_chars(context_chars)
    if route_on is not None and not callable(route_on):
        raise ConfigurationError(f"route_on must be a function to the text to route on, got {type(route_on).__name__}")
    readings = [Reading("user", said=[prompt])] if isinstance(prompt, str) else _readings(prompt)
    passages = read_context(context)
    lengths = [estimate_tokens(passage) + MESSAGE_TOKENS for passage in passages]
    outside = [length for length, passage in zip(lengths, passages, strict=True) if not _stands_in(passage, readings)]
    text = None if route_on is None else route_on(prompt)
    if text is not None and not isinstance(text, str):
        raise ConfigurationError(f"route_on must give the text to route on, or None; it gave {type(text).__name__}")
    try:
        text, new_topic = _routed(readings, context_chars, text, passages)
        text = _cleaned(text)
    except PromptError:
        if not allow_empty:
            raise
        text, new_topic = "", 1.0
    starts = _turn_starts(readings)
    last_answer = max((place for place, reading in enumerate(readings) if reading.role == "assistant"), default=-1)
    return Request(
        text,
        needs.union(*(reading.needs for reading in readings)),
        sum(reading.n_tokens for reading in readings)
        + sum(outside)
        + (estimate_tokens(_as_json(tools)) if tools else 0),
        starts[-1] if starts else 0,
        starts,
        has_topic=any(_has_matter(readings[start].text) for start in starts[:-1]),
        new_topic=new_topic,
        n_earlier_tokens=sum(reading.n_tokens for reading in readings[: last_answer + 1]),
        passages=passages,
        n_context_tokens=sum(lengths),
        sent=_sent(readings, passages),
    )


def _sent(readings: Sequence[Reading], passages: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """What goes along with the request, each with its role; passages before the question that they are for."""
    found: list[tuple[str, str]] = []
    for reading in readings:
        found += [(reading.role, reading.text), *(("aside", text) for text in reading.aside)]
    found[-1:-1] = [("aside", passage) for passage in passages if not _stands_in(passage, readings)]
    return tuple((role, text) for role, text in found if text)


def _as_json(tools: Sequence[Any]) -> str:
    try:
        return json.dumps(tools, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # nothing that a provider would take
        return ""


def check_context_chars(value: object) -> None:
    """Raises `ConfigurationError` for an option `context_chars` that is neither `None` nor a number of characters."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ConfigurationError(f"context_chars must be a whole number, at least 0, or None, got {value!r}")


def read_context(context: Iterable[Passage]) -> tuple[str, ...]:
    """The texts of retrieved passages.

    Raises:
        PromptError: no passages, or one without text.
    """
    if isinstance(context, str):
        context = [context]
    if isinstance(context, Mapping | bytes | bytearray) or not isinstance(context, Iterable):
        raise PromptError(f"context is a list of passages, got {type(context).__name__}; wrap a single one in a list")
    return tuple(map(passage_text, context))


def check_needs(needs: Iterable[str]) -> frozenset[str]:
    """The needs, if all are of `NEEDS`.

    Raises:
        ConfigurationError: they are not, or a lone text.
    """
    needs = frozenset([needs] if isinstance(needs, str) else needs)
    if unknown := sorted(needs.difference(NEEDS)):
        raise ConfigurationError(f"unknown needs {', '.join(map(repr, unknown))}; choose of {', '.join(NEEDS)}")
    return needs


def prompt_text(prompt: "Prompt | Request") -> str:
    """The text to route on: the string itself, or the user's last question; see `read_request`.

    Text is stripped; surrogate pairs are joined and lone surrogates replaced, since no tokenizer takes them. Of
    multimodal content the text parts count, joined by newlines.

    Raises:
        PromptError: wrong type, no user message, or no text left.
    """
    if isinstance(prompt, Request):
        return _cleaned(prompt.text)
    return _cleaned(without_data_urls(prompt) if isinstance(prompt, str) else _routed(_readings(prompt), None)[0])


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


def _stands_in(passage: str, readings: Sequence[Reading]) -> bool:
    return bool(passage.strip()) and any(passage in text for reading in readings for text in reading.said)


def _routed(
    readings: Sequence[Reading],
    context_chars: int | None,
    question: str | None = None,
    passages: Sequence[str] = (),
) -> tuple[str, float]:
    """The question, after what it refers to, and the chance that it begins a topic.

    Args:
        readings: the conversation.
        context_chars: as for `read_request`.
        question: where it is known, in place of the user's last message.
        passages: what is cut out of that message, unless nothing else is in it.

    Raises:
        PromptError: no message of the user, or no text in the last one.
    """
    if question is not None and len(readings) < 2:
        return question, 1.0
    turns = _without_observations(readings) if question is not None else _turns(readings)
    if question is None:
        place = _question(turns)
        question = turns[place].text
        for passage in sorted(filter(str.strip, passages), key=len, reverse=True):
            question = question.replace(passage, " ").strip() or question
    else:
        place = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=0)
    if not any(turn.text for turn in turns[:place]):
        return question, 1.0
    from lookahead_router.prompts.followups import Talk

    talk = Talk([(turn.role == "user", turn.text) for turn in turns[:place]])
    chance = talk.chance_of_new_topic(question, place)
    if context_chars == 0 or chance >= FOLLOWS:
        return question, chance
    asked = talk.asked_since(place)
    if talk.first >= place:  # no question says what it is about; an answer's proposal may
        asked += [turn.text for turn in turns[:place] if turn.role == "assistant" and turn.text][-1:]
    said = _within(asked, CONTEXT_TOKENS)
    if context_chars is not None:
        share = context_chars // max(len(said), 1)
        said = [text if len(text) <= share else text[: share // 2] + text[len(text) - share // 2 :] for text in said]
    return "\n\n".join([*filter(None, said), question]), chance


def _has_matter(question: str) -> bool:
    from lookahead_router.prompts.followups import has_matter

    return has_matter(question)


def _question(turns: Sequence[Reading]) -> int:
    """Place of the user's last turn that asks something; attachments alone ask nothing.

    Raises:
        PromptError: there is no text in it.
    """
    for place in range(len(turns) - 1, -1, -1):
        turn = turns[place]
        if turn.role == "user" and turn.text:
            return place
        if turn.role == "user" and not turn.aside and not turn.n_attachments:
            break
    raise PromptError(_EMPTY)


def _within(texts: Sequence[str], n_tokens: int) -> list[str]:
    """The texts, the longer ones cut from both ends so that all of them fit; none of them vanishes for another."""
    kept, room = list(texts), n_tokens
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for n_done, place in enumerate(by_length):
        kept[place] = cut_to_tokens(texts[place], room // (len(texts) - n_done))
        room -= estimate_tokens(kept[place])
    return kept


def _turn_starts(readings: Sequence[Reading]) -> tuple[int, ...]:
    """Indexes of the user's messages that are no observations."""
    own = {id(turn) for turn in _without_observations(readings) if turn.role == "user"}
    return tuple(place for place, reading in enumerate(readings) if id(reading) in own)


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
    is_named = False  # the user; a name that only comes up later is that of another agent which reports
    for reading in readings:
        if reading.role == "assistant":
            has_answer = True
        elif reading.role != "user" or (has_answer and _is_report(reading, is_named)):
            continue
        elif not has_answer:
            is_named = reading.name is not None
        turns.append(reading)
    return turns


def _is_report(reading: Reading, is_named: bool) -> bool:
    """Whether a user message tells an assistant what a tool or another agent gave.

    Args:
        reading: a message after an answer.
        is_named: whether the user goes by a name.
    """
    text = reading.text
    return (
        bool(_OBSERVATION.match(text))
        or (reading.has_tools and not text)
        or (reading.name is not None and not is_named)  # frameworks put in other agents' words under their names
    )
