"""What a message holds: who wrote it, its text, and what else it takes to read it.

One reader for the forms of OpenAI, Anthropic, Google, Bedrock, Mistral, vLLM and Qwen, LangChain and LlamaIndex. It
goes by what their blocks have in common, the words in a block's type and the media type, not by a list of types, so
that a new `…_image` of some provider is an image too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lookahead_router.errors import PromptError
from lookahead_router.prompts.tokens import ATTACHMENT_TOKENS, MESSAGE_TOKENS, estimate_tokens
from lookahead_router.threads import computed_once

Message = Mapping[str, Any] | Any
"""A chat message: a mapping or an object with `role` (or LangChain's `type`) and `content`."""

Passage = str | Mapping[str, Any] | Any
"""A retrieved text: itself, a document of LangChain, a node of LlamaIndex, or a mapping with `text`."""

Prompt = str | Sequence[Message]
"""What the user sends: a text, or the messages of a conversation."""

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "ai": "assistant", "model": "assistant"}
_ROLES |= {"chatbot": "assistant", "aimessagechunk": "assistant", "humanmessagechunk": "user"}

_MEDIA = {"image": "images", "images": "images", "picture": "images", "audio": "audio", "video": "video"}
_FILES = frozenset({"file", "document", "pdf", "plain", "media", "upload", "attachment"})
_BARE = frozenset({"image", "audio", "video", "document"})
"""Keys that stand for a type in blocks of Bedrock and Qwen, also inside of tools' results."""
_BESIDE = frozenset({"images", "audio", "videos", "files", "documents", "attachments"})
"""Words of keys beside the content that hold attachments: of Ollama, OpenAI, Vercel."""
_ASIDE = frozenset({"tool", "function", "call", "result", "response", "thinking", "reasoning", "citation", "citable"})
_TOOLS = frozenset({"tool", "function", "call"})
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MIME_KEY = re.compile(r"(mime|media|content)_?type$", re.IGNORECASE)
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,[\w+/=%-]*")
_BLOB = re.compile(r"[\w+/=-]{1000}", re.ASCII)
_TEXT_KEYS = frozenset({"text", "content", "arguments", "input", "output"})
_MAX_DEPTH = 50
_TOO_DEEP = "a message's content is nested too deep"


@dataclass
class Reading:
    """What was found in one message."""

    role: str
    """`user`, `assistant`, or another one as it was given."""
    name: str | None = None
    """Name of the author, where the message says it."""
    said: list[str] = field(default_factory=list)
    """Texts of its author."""
    aside: list[str] = field(default_factory=list)
    """Texts that count as tokens only: of tools, of documents, of reasoning."""
    needs: set[str] = field(default_factory=set)
    n_attachments: int = 0
    has_tools: bool = False
    """Whether a tool's call or result is among the blocks."""

    @computed_once
    def text(self) -> str:
        """What its author says, in lines, without attachments that were written into it."""
        return without_data_urls("\n".join(self.said)).strip()

    @computed_once
    def n_tokens(self) -> int:
        texts = sum(map(estimate_tokens, self.said)) + sum(map(estimate_tokens, self.aside))
        return texts + self.n_attachments * ATTACHMENT_TOKENS + MESSAGE_TOKENS


def read_message(message: Message) -> Reading:
    """What a message holds, whichever library it belongs to.

    Raises:
        PromptError: no role, content of another type than text or a list, or blocks nested without end.
    """
    if isinstance(message, str):
        raise PromptError("a list of strings is not a conversation; route several prompts with route_batch")
    role = _get(message, "role")
    if role is None:
        role = _get(message, "type")
    if role is None:
        raise PromptError(f"a {type(message).__name__} message has neither role nor type")
    role = str(getattr(role, "value", role)).lower()
    name = _get(message, "name")
    found = Reading(_ROLES.get(role, role), name if isinstance(name, str) and name else None)
    try:
        _read_content(found, message)
        _read_calls(found, message)
        _read_beside(found, message)
    except RecursionError:
        raise PromptError(_TOO_DEEP) from None
    return found


def passage_text(passage: Any) -> str:
    """The text of a retrieved passage: a text, or what a document of LangChain or a node of LlamaIndex holds.

    Raises:
        PromptError: no text is in it.
    """
    if isinstance(passage, str):
        return passage
    for name in ("page_content", "text", "content"):
        text = _get(passage, name)
        if isinstance(text, str):
            return text
    raise PromptError(
        f"a passage is a text, or an object or mapping with page_content or text, got {type(passage).__name__}"
    )


def without_data_urls(text: str) -> str:
    """The text without files that are written into it as base64."""
    return _DATA_URL.sub("", text) if ";base64," in text else text


def _read_content(found: Reading, message: Message) -> None:
    content = None if isinstance(message, Mapping) else _get(message, "blocks")  # LlamaIndex
    if not _is_list(content):
        content = _get(message, "content")
    if content is None:
        content = _get(message, "parts")  # Google
    if content is None:
        return
    if isinstance(content, str):
        found.said.append(content)
    elif _is_list(content):
        for block in content:
            if isinstance(block, str):
                found.said.append(block)
            else:
                _read_block(found, block, found.said, 0)
    else:
        raise PromptError(f"message content must be text or a list of parts, got {type(content).__name__}")


def _read_calls(found: Reading, message: Message) -> None:
    """Tool calls and the like that stand beside the content, unless its blocks tell them already."""
    if found.has_tools:
        return
    beside = _get(message, "additional_kwargs")
    for name in ("tool_calls", "function_call", "arguments", "output", "reasoning_content"):
        value = _get(message, name) or (_get(beside, name) if isinstance(beside, Mapping) else None)
        if value:
            _walk(found, value, 0)


def _read_beside(found: Reading, message: Message) -> None:
    """Attachments that stand beside the content."""
    for place in (message, _get(message, "additional_kwargs")):
        for key, value in place.items() if isinstance(place, Mapping) else ():
            words = _words(key) & _BESIDE
            for each in (value if _is_list(value) else [value]) if words and value else ():
                _read_media(found, {word.removesuffix("s") for word in words}, _fields(each), 0)


def _read_block(found: Reading, block: Any, texts: list[str], depth: int) -> None:
    """Reads a block; its text goes to `texts` unless it is of a kind that stands aside."""
    _check(depth)
    fields = _fields(block)
    kind = _kind(fields)
    if kind is None:
        _read_untyped(found, fields, texts, depth)
        return
    words, text = _words(kind), fields.get("text")
    if words & _ASIDE:
        found.has_tools |= bool(words & _TOOLS)
        _walk_fields(found, fields, depth)
    elif (words & _FILES or not isinstance(text, str)) and _read_media(found, words, fields, depth):
        return
    elif isinstance(text, str):
        texts.append(text)
        if "text" not in words:
            _read_media(found, words, fields, depth)
    elif isinstance(text, Mapping):
        _read_block(found, text, texts, depth + 1)
    else:
        _walk_fields(found, fields, depth)


def _read_untyped(found: Reading, fields: Mapping[str, Any], texts: list[str], depth: int) -> None:
    """Reads a block of Bedrock or Google, where a key and no type says what it is."""
    for key, value in fields.items():
        words, inner = _words(key), _fields(value)
        if value is None:
            continue
        if words & _ASIDE:
            found.has_tools |= bool(words & _TOOLS)
            _walk(found, value, depth + 1)
        elif key in ("text", "value") and isinstance(value, str):
            texts.append(value)
        elif words & {"text", "guard"} and inner:
            _read_block(found, inner, texts, depth + 1)
        elif key in _BARE and not inner:
            _read_media(found, words, {}, depth)
        elif inner and not _read_media(found, words, inner, depth):
            _walk(found, value, depth + 1)


def _read_media(found: Reading, words: set[str], fields: Mapping[str, Any], depth: int) -> bool:
    """Notes what an attachment needs; false if the block is none."""
    mimes = list(_mimes(fields, 0))
    needs = {_MEDIA[word] for word in words & _MEDIA.keys()} | {_need_of(mime) for mime in mimes}
    if not needs and words & _FILES:
        needs = {"files"}
    if not needs:
        return False
    found.needs |= needs
    found.n_attachments += 1
    is_text = any(mime.startswith("text/") for mime in mimes)
    for part in (fields, *(value for value in fields.values() if isinstance(value, Mapping))):
        for name in ("text", "title", "context", "data", "content"):
            value = part.get(name)
            if value is not None and (name != "data" or is_text or part.get("type") == "text"):
                _walk(found, value, depth + 1)
    return True


def _walk(found: Reading, value: Any, depth: int, key: str = "content") -> None:
    """Counts all text below a value, and looks for attachments there."""
    _check(depth)
    if isinstance(value, str):
        if key in _TEXT_KEYS or not _BLOB.match(value):
            found.aside.append(value)
        else:
            found.n_attachments += 1
    elif isinstance(value, int):
        found.aside.append("0" * (value.bit_length() // 3 + 1))
    elif isinstance(value, float):
        found.aside.append(repr(value))
    elif _is_list(value):
        for each in value:
            _walk(found, each, depth + 1, key)
    elif fields := _fields(value):
        kind = _kind(fields)
        words = set() if kind is None else _words(kind)
        if words & _ASIDE or not _read_media(found, words, fields, depth):
            _walk_fields(found, fields, depth)


def _walk_fields(found: Reading, fields: Mapping[str, Any], depth: int) -> None:
    for name, value in fields.items():
        if name in ("type", "block_type"):
            continue
        found.aside.append(str(name))
        media = _words(name) & _BARE if isinstance(value, Mapping) else None
        if not media or not _read_media(found, media, value, depth):
            _walk(found, value, depth + 1, str(name))


def _check(depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise PromptError(_TOO_DEEP)


def _mimes(fields: Mapping[str, Any], depth: int) -> Iterable[str]:
    for name, value in fields.items():
        if isinstance(value, str):
            if _MIME_KEY.search(str(name)) and ("/" in value or not str(name).lower().startswith("content")):
                yield value.lower()
            elif value.startswith("data:") and (url := _DATA_URL.match(value[:200])) and url[1]:
                yield url[1].lower()
        elif isinstance(value, Mapping) and depth < 3:
            yield from _mimes(value, depth + 1)


def _need_of(mime: str) -> str:
    return {"image": "images", "audio": "audio", "video": "video"}.get(mime.partition("/")[0], "files")


def _kind(fields: Mapping[str, Any]) -> str | None:
    kind = fields.get("type") or fields.get("block_type")
    return kind if isinstance(kind, str) else None


def _words(name: Any) -> set[str]:
    """The words in a name, whichever way they are joined: `inputImage`, `input_image`."""
    return {word.lower() for word in _WORD.findall(str(name))}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _fields(value: Any) -> Mapping[str, Any]:
    """What a block has by name: a mapping's items, an object's attributes."""
    if isinstance(value, Mapping):
        return value
    named = {name: each for name in ("type", "block_type", "text") if (each := getattr(value, name, None)) is not None}
    if not named and not hasattr(type(value), "model_fields"):
        return {}
    return {**getattr(value, "__dict__", {}), **named}


def _get(message: Message, name: str) -> Any:
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)
