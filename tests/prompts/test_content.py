"""What is found in messages, in the forms of many providers and of two frameworks."""

import base64
import inspect
import json
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.errors import PromptError
from lookahead_router.prompts import read_request
from lookahead_router.prompts.tokens import ATTACHMENT_TOKENS

relaxed = settings(deadline=None, max_examples=60)

PICTURE = base64.b64encode(bytes(range(256)) * 1200).decode()
"""Some 400 kB, as a photograph has."""
TEXT = {"type": "text", "text": "What is this?"}


def user(*blocks) -> dict:
    return {"role": "user", "content": list(blocks)}


def block(kind: str, **fields) -> SimpleNamespace:
    """A block of LlamaIndex."""
    return SimpleNamespace(block_type=kind, **fields)


ATTACHMENTS = {
    "OpenAI image_url": ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}, "images"),
    "OpenAI image_url as text": ({"type": "image_url", "image_url": f"data:image/png;base64,{PICTURE}"}, "images"),
    "OpenAI input_image": ({"type": "input_image", "image_url": "http://127.0.0.1/a.png"}, "images"),
    "OpenAI image_file": ({"type": "image_file", "image_file": {"file_id": "f"}}, "images"),
    "OpenAI input_audio": ({"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}}, "audio"),
    "OpenAI file": ({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PICTURE}"}}, "files"),
    "OpenAI input_file": ({"type": "input_file", "file_id": "f"}, "files"),
    "vLLM video_url": ({"type": "video_url", "video_url": {"url": "http://127.0.0.1/a.mp4"}}, "video"),
    "vLLM audio_url": ({"type": "audio_url", "audio_url": {"url": "http://127.0.0.1/a.wav"}}, "audio"),
    "Qwen image": ({"type": "image", "image": f"data:image;base64,{PICTURE}"}, "images"),
    "Qwen video": ({"type": "video", "video": ["file:///1.png", "file:///2.png"]}, "video"),
    "LangChain image": ({"type": "image", "base64": PICTURE, "mime_type": "image/png"}, "images"),
    "LangChain audio": ({"type": "audio", "url": "http://127.0.0.1/a.wav"}, "audio"),
    "LangChain video": ({"type": "video", "file_id": "f"}, "video"),
    "LangChain file": ({"type": "file", "base64": PICTURE, "mime_type": "application/pdf"}, "files"),
    "LangChain text-plain": ({"type": "text-plain", "text": "pasted", "mime_type": "text/plain"}, "files"),
    "LangChain image as file": ({"type": "file", "base64": PICTURE, "mime_type": "image/png"}, "images"),
    "Qwen image without a type": ({"image": "file:///1.png"}, "images"),
    "Qwen frames without a type": ({"video": ["file:///1.png", "file:///2.png"]}, "video"),
    "Anthropic container_upload": ({"type": "container_upload", "file_id": "f"}, "files"),
    "Google media": ({"type": "media", "mime_type": "image/png", "data": PICTURE}, "images"),
    "Google media without a kind": ({"type": "media", "file_uri": "gs://a"}, "files"),
    "Google inline_data": ({"inline_data": {"mime_type": "audio/wav", "data": PICTURE}}, "audio"),
    "Google inlineData": ({"inlineData": {"mimeType": "video/mp4", "data": PICTURE}}, "video"),
    "Google file_data": ({"file_data": {"mime_type": "application/pdf", "file_uri": "gs://a"}}, "files"),
    "Bedrock image": ({"image": {"format": "png", "source": {"bytes": b"ABC"}}}, "images"),
    "Bedrock document": ({"document": {"format": "pdf", "name": "a", "source": {"bytes": b"ABC"}}}, "files"),
    "Bedrock video": ({"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://a"}}}}, "video"),
    "Anthropic image": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
        "images",
    ),
    "Anthropic document": (
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PICTURE}},
        "files",
    ),
    "Mistral document_url": ({"type": "document_url", "document_url": "http://127.0.0.1/a.pdf"}, "files"),
    "LlamaIndex ImageBlock": (block("image", image=PICTURE.encode(), url=None), "images"),
    "LlamaIndex AudioBlock": (block("audio", audio=PICTURE.encode()), "audio"),
    "LlamaIndex VideoBlock": (block("video", path="a.mp4"), "video"),
    "LlamaIndex DocumentBlock": (block("document", data=PICTURE.encode(), title="a"), "files"),
    "a kind of tomorrow": ({"type": "hologram", "source": {"mime_type": "video/holo", "data": PICTURE}}, "video"),
    "a tool's picture": (
        {"type": "tool_result", "content": [{"type": "image", "source": {"media_type": "image/png", "data": PICTURE}}]},
        "images",
    ),
    "a tool's picture, Bedrock": ({"toolResult": {"content": [{"image": {"source": {"bytes": b"A"}}}]}}, "images"),
}


@pytest.mark.parametrize(
    ("beside", "need", "n"),
    [
        ({"images": [PICTURE, PICTURE]}, "images", 2),
        ({"audio": {"id": "a"}}, "audio", 1),
        ({"attachments": [{"file_id": "f", "tools": []}]}, "files", 1),
        ({"experimental_attachments": [{"contentType": "image/png", "url": "a.png"}]}, "images", 1),
        ({"additional_kwargs": {"images": [PICTURE]}}, "images", 1),
    ],
)
def test_an_attachment_beside_the_content_is_seen(beside, need, n):
    plain = read_request([{"role": "user", "content": "What is this?"}])
    request = read_request([{"role": "user", "content": "What is this?", **beside}])
    assert (request.text, request.needs) == (plain.text, {need})
    assert n * ATTACHMENT_TOKENS <= request.n_tokens - plain.n_tokens < n * ATTACHMENT_TOKENS + 200


@pytest.mark.parametrize(("attachment", "need"), ATTACHMENTS.values(), ids=ATTACHMENTS)
def test_an_attachment_is_seen_and_its_base64_is_no_text(attachment, need):
    request = read_request([user(TEXT, attachment)])
    assert request.needs == {need}
    assert request.text == TEXT["text"]
    assert ATTACHMENT_TOKENS <= request.n_tokens < ATTACHMENT_TOKENS + 200


@pytest.mark.parametrize(
    "other",
    [
        {"type": "cachePoint"},
        {"cachePoint": {"type": "default"}},
        block("cache", cache_control=SimpleNamespace(type="ephemeral")),
        {"type": "thinking", "thinking": "Is it a cat? " * 100, "signature": PICTURE},
        {"type": "redacted_thinking", "data": PICTURE},
        {"reasoningContent": {"reasoningText": {"text": "Is it a cat?"}}},
        {"type": "search_result", "source": "http://127.0.0.1", "title": "cats", "content": [TEXT]},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"at": ["SECRET", 5, 0.5, None, True]}},
        {"type": "something", "number": 10**400},
        None,
        5,
    ],
)
def test_other_blocks_need_nothing_and_are_not_routed(other):
    request = read_request([user(TEXT, other)])
    assert request.needs == frozenset()
    assert request.text == TEXT["text"]
    assert request.n_tokens < ATTACHMENT_TOKENS + 1000


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "hello"}],
        [{"type": "input_text", "text": "hello"}],
        [{"type": "output_text", "text": "hello", "annotations": []}],
        [{"text": "hello"}],
        [{"guardContent": {"text": {"text": "hello"}}}],
        [{"type": "text", "text": {"value": "hello", "annotations": []}}],
        [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}],
        [{"text": "hello", "cache_control": {"type": "ephemeral"}}],
        [{"type": "text", "text": "hello", "mime_type": "text/plain"}],
        [block("text", text="hello")],
        ["hello"],
    ],
)
def test_the_text_of_a_block_in_every_form(content):
    request = read_request([{"role": "user", "content": content}])
    assert (request.text, request.needs) == ("hello", frozenset())


def test_the_parts_of_google_are_read():
    part = SimpleNamespace(text="hello", inline_data=None, function_call=None)
    picture = {"inline_data": {"mime_type": "image/png", "data": PICTURE}}
    request = read_request([SimpleNamespace(role="user", parts=[part, picture]), {"role": "model", "parts": [part]}])
    assert (request.text, request.needs) == ("hello", {"images"})


@pytest.mark.parametrize(
    "document",
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "river " * 3000}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "river " * 3000}]}},
        {"type": "text-plain", "mime_type": "text/plain", "text": "river " * 3000},
        {"type": "resource", "resource": {"mimeType": "text/plain", "text": "river " * 3000}},
    ],
)
def test_the_text_of_a_document_counts_and_is_not_routed(document):
    request = read_request([user(TEXT, document)])
    assert request.text == TEXT["text"]
    assert request.needs == {"files"}
    assert request.n_tokens > 4000


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "river " * 3000}}]},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "river " * 3000}},
        {"role": "assistant", "content": [{"type": "tool_use", "input": {"text": "river " * 3000}}]},
        {"role": "tool", "content": "river " * 3000},
        {"role": "function", "name": "f", "content": "river " * 3000},
        {"type": "function_call_output", "call_id": "1", "output": "river " * 3000},
        {"role": "system", "content": "river " * 3000},
        {"role": "assistant", "content": "", "reasoning_content": "river " * 3000},
        SimpleNamespace(type="ai", content="", tool_calls=[{"name": "f", "args": {"text": "river " * 3000}}]),
        SimpleNamespace(role="assistant", blocks=[], additional_kwargs={"tool_calls": [{"a": "river " * 3000}]}),
        SimpleNamespace(role="assistant", blocks=[block("tool_call", tool_kwargs={"text": "river " * 3000})]),
    ],
)
def test_tool_calls_their_results_and_system_messages_count_once(message):
    assert 4000 < read_request([user(TEXT), message]).n_tokens < 8000


def test_a_tool_call_that_stands_twice_counts_once():
    call = {"name": "f", "args": {"text": "river " * 3000}}
    message = SimpleNamespace(
        type="ai",
        content=[{"type": "tool_use", "input": call["args"]}],
        tool_calls=[call],
        additional_kwargs={"tool_calls": [{"function": {"arguments": json.dumps(call["args"])}}]},
    )
    assert read_request([user(TEXT), message]).n_tokens < 8000


def test_a_file_written_into_a_text_is_not_routed():
    request = read_request(f"What is this? ![](data:image/png;base64,{PICTURE})")
    assert request.text == "What is this? ![]()"
    assert request.needs == frozenset()
    assert request.n_tokens > 100_000  # whoever gets it as text counts it as text


def nested(depth: int):
    value: dict = {"type": "tool_result", "content": "x"}
    for _ in range(depth):
        value = {"type": "tool_result", "content": [value]}
    return value


def test_what_is_nested_without_end_is_refused():
    endless: dict = {"type": "tool_result"}
    endless["content"] = [endless, endless]
    for value in (nested(5000), endless, {"type": "text", "text": endless}):
        with pytest.raises(PromptError, match="nested too deep"):
            read_request([user(value)])
    assert read_request([user(TEXT, nested(15))]).text == TEXT["text"]


def test_ten_megabytes_are_read_at_once():
    talk = [user({"type": "text", "text": "river " * 80_000}), {"role": "tool", "content": "stone " * 80_000}] * 10
    start = time.process_time()
    read_request(talk)
    assert time.process_time() - start < 2


# Whatever the form

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
names = st.sampled_from(
    [
        "type",
        "block_type",
        "text",
        "content",
        "source",
        "data",
        "input",
        "output",
        "image",
        "document",
        "toolResult",
        "image_url",
        "url",
        "mime_type",
        "media_type",
        "inline_data",
        "file",
        "title",
        "name",
        "id",
        "tool_calls",
    ]
)
kinds = st.sampled_from(
    [
        "text",
        "image",
        "image_url",
        "input_audio",
        "file",
        "document",
        "tool_use",
        "tool_result",
        "thinking",
        "media",
        "search_result",
        "video_url",
        "reasoning",
        "x",
    ]
)
values = st.recursive(
    leaves | kinds | st.sampled_from(["image/png", "text/plain", "data:audio/wav;base64,AAAA"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
blocks = st.builds(lambda kind, fields: {**fields, "type": kind}, kinds, st.dictionaries(names, values, max_size=4))
objects = blocks.map(lambda fields: SimpleNamespace(**fields))
contents = st.none() | st.text(max_size=20) | st.lists(blocks | objects | values, max_size=4)
roles = st.sampled_from(["user", "assistant", "system", "tool", "human", "ai", "function", "developer", "", "USER"])
messages = st.builds(
    lambda role, content, more: {**more, "role": role, "content": content},
    roles,
    contents,
    st.dictionaries(st.sampled_from(["tool_calls", "function_call", "additional_kwargs", "name"]), values, max_size=2),
)


def read(talk):
    try:
        return read_request(talk)
    except PromptError:
        return None


@relaxed
@given(st.lists(messages | messages.map(lambda fields: SimpleNamespace(**fields)), max_size=5) | values)
def test_anything_gives_a_request_or_a_prompt_error(talk):
    request = read(talk)
    if request is not None:
        assert request.text
        assert request.text == request.text.strip()
        request.text.encode()
        assert request.n_tokens > 0


@relaxed
@given(st.lists(messages, max_size=4), messages)
def test_more_messages_need_more_and_are_longer(talk, message):
    talk = [*talk, user(TEXT)]
    less, more = read(talk), read([*talk, message])
    if less is not None and more is not None:
        assert less.needs <= more.needs
        assert less.n_tokens < more.n_tokens


secrets = st.sampled_from(
    ["tool_result", "tool_use", "function_response", "toolResult", "thinking", "document", "image"]
)


@relaxed
@given(
    secrets, st.sampled_from(["content", "input", "text", "data", "output", "thinking", "source", "url"]), st.booleans()
)
def test_what_tools_system_and_documents_say_is_never_routed(kind, name, is_listed):
    hidden = {"type": kind, name: [{"type": "text", "text": "SECRET"}] if is_listed else "SECRET"}
    if kind == "image" and name == "text":
        return  # its caption
    talk = [
        {"role": "system", "content": "SECRET"},
        user(TEXT, hidden),
        {"role": "assistant", "content": [hidden]},
        {"role": "tool", "content": "SECRET"},
        user({**hidden, "type": "tool_result"}),
    ]
    assert read_request(talk, context_chars=10_000).text == TEXT["text"]


# The libraries' own classes


def test_messages_of_langchain_are_read():
    core = pytest.importorskip("langchain_core.messages")
    talk = [
        core.SystemMessage("SECRET"),
        core.HumanMessage([TEXT, {"type": "image", "base64": PICTURE, "mime_type": "image/png"}]),
        core.AIMessage("", tool_calls=[{"name": "look", "args": {"at": "SECRET"}, "id": "1"}]),
        core.ToolMessage("SECRET", tool_call_id="1"),
        core.AIMessageChunk("SECRET"),
    ]
    request = read_request(talk)
    assert (request.text, request.needs) == (TEXT["text"], {"images"})
    assert read_request([core.ChatMessage("hello", role="user"), core.HumanMessageChunk("Who was Goethe?")]).text == (
        "Who was Goethe?"
    )


def test_messages_and_blocks_of_llama_index_are_read():
    types = pytest.importorskip("llama_index.core.base.llms.types")
    needs = {"ImageBlock": "images", "AudioBlock": "audio", "VideoBlock": "video", "DocumentBlock": "files"}
    fields = {"ImageBlock": "image", "AudioBlock": "audio", "VideoBlock": "video", "DocumentBlock": "data"}
    for name, need in needs.items():
        attachment = getattr(types, name)(**{fields[name]: b"ABC"})
        message = types.ChatMessage(role="user", blocks=[types.TextBlock(text="What is this?"), attachment])
        request = read_request([types.ChatMessage(role="system", content="SECRET"), message])
        assert (request.text, request.needs) == ("What is this?", {need})
    others = {
        name
        for name, value in vars(types).items()
        if inspect.isclass(value) and "block_type" in getattr(value, "model_fields", {})
    }
    known = {"TextBlock", "CachePoint", "CitableBlock", "CitationBlock", "ThinkingBlock", "ToolCallBlock", *needs}
    assert others <= known  # a kind of block that is new to LlamaIndex wants a look
