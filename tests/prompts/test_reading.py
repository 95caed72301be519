"""What counts as the text of a prompt, whatever form it comes in."""

import re
from collections import deque
from enum import Enum, StrEnum
from types import MappingProxyType, SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from lookahead_router.errors import ConfigurationError, PromptError
from lookahead_router.prompts import clean_text, prompt_text, read_request

relaxed = settings(deadline=None, max_examples=100)


class Role(Enum):
    USER = "user"
    ASSISTANT = "assistant"


class TextRole(StrEnum):
    USER = "user"
    SYSTEM = "system"


class HumanMessage(BaseModel):
    """As in LangChain: `type` in place of `role`."""

    content: str | list
    type: str = "human"


class AIMessage(BaseModel):
    content: str
    type: str = "ai"


class Part(BaseModel):
    """As Google's: what is set tells the kind."""

    text: str | None = None
    function_response: dict | None = None


def user(content) -> dict:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("hello", "hello"),
        ("  hello\n", "hello"),
        ("two\nlines", "two\nlines"),
        ([user("hello")], "hello"),
        ([user("  hello\n")], "hello"),
        ((user("a tuple of messages"),), "a tuple of messages"),
        (deque([user("a deque of messages")]), "a deque of messages"),
        ([MappingProxyType(user("any mapping"))], "any mapping"),
        ([{"role": "system", "content": "be brief"}, user("hello")], "hello"),
        ([{"role": "USER", "content": "shouted role"}], "shouted role"),
        ([{"role": "human", "content": "hello"}], "hello"),
        ([{"type": "human", "content": "hello"}], "hello"),
        ([SimpleNamespace(role="user", content="an object")], "an object"),
        ([SimpleNamespace(role=None, type="human", content="role is unset")], "role is unset"),
        ([SimpleNamespace(role="user", type="chat", content="role before type")], "role before type"),
        ([HumanMessage(content="as in LangChain")], "as in LangChain"),
        ([HumanMessage(content="first"), AIMessage(content="an answer")], "first"),
        ([{"role": Role.USER, "content": "an enum role"}], "an enum role"),
        ([SimpleNamespace(role=TextRole.USER, content="a text enum role")], "a text enum role"),
        (
            [
                {"role": Role.ASSISTANT, "content": "no"},
                user("What is an enum?"),
                {"role": TextRole.SYSTEM, "content": "no"},
            ],
            "What is an enum?",
        ),
    ],
)
def test_the_text_of_a_prompt(prompt, text):
    assert prompt_text(prompt) == text


def test_the_last_user_message_wins():
    last = "Who wrote the last one of them?" * 3
    conversation = [user("first"), {"role": "assistant", "content": "answer"}, user(last)]
    assert prompt_text(conversation) == last
    assert prompt_text([*conversation, {"role": "assistant", "content": "answer"}]) == last
    assert prompt_text([*conversation, {"role": "tool", "content": "42"}]) == last


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "what is this?"}], "what is this?"),
        ([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}, {"type": "text", "text": "what?"}], "what?"),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo"),
        (["one", {"type": "text", "text": "two"}], "one\ntwo"),
        (({"type": "text", "text": "a tuple"},), "a tuple"),
        ([SimpleNamespace(type="text", text="an object part")], "an object part"),
        ([{"type": "text", "text": None}, {"type": "text", "text": "kept"}], "kept"),
        ([None, 5, {"type": "text", "text": "kept"}], "kept"),
    ],
)
def test_of_multimodal_content_the_text_parts_count(content, text):
    assert prompt_text([user(content)]) == text


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \t\n\r\x0b\x0c",
        "\u00a0\u2003\u3000",
        [user("")],
        [user("  \n ")],
        [user(None)],
        [{"role": "user"}],
        [user([])],
        [user([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}])],
        [user("not the last"), user(" ")],
    ],
)
def test_a_prompt_without_text_is_refused(prompt):
    with pytest.raises(PromptError, match="the prompt is empty"):
        prompt_text(prompt)


@pytest.mark.parametrize(
    "prompt", [[], [{"role": "system", "content": "be brief"}], [AIMessage(content="x")], [{"role": 5, "content": "x"}]]
)
def test_a_conversation_without_a_user_message_is_refused(prompt):
    with pytest.raises(PromptError, match=f"none of the {len(prompt)} messages is the user's"):
        prompt_text(prompt)


@pytest.mark.parametrize("prompt", [b"hello", bytearray(b"hello"), None, 5, 1.5, {"a", "b"}, iter([user("x")])])
def test_what_is_neither_text_nor_a_list_is_refused(prompt):
    with pytest.raises(PromptError, match=f"expected a string or a list of chat messages, got {type(prompt).__name__}"):
        prompt_text(prompt)


def test_a_lone_message_is_refused_with_the_way_out():
    with pytest.raises(PromptError, match="wrap a single message in a list"):
        prompt_text(user("hello"))


def test_a_list_of_strings_is_refused_with_the_way_out():
    with pytest.raises(PromptError, match="route_batch"):
        prompt_text(["one prompt", "another prompt"])


@pytest.mark.parametrize("message", [{"content": "x"}, {}, None, 5, b"x", ("user", "x"), SimpleNamespace(content="x")])
def test_a_message_without_role_and_type_is_refused(message):
    with pytest.raises(PromptError, match=f"a {type(message).__name__} message has neither role nor type"):
        prompt_text([message])


@pytest.mark.parametrize("content", [5, b"bytes", {"text": "x"}, True])
def test_content_of_another_type_is_refused(content):
    with pytest.raises(PromptError, match=f"text or a list of parts, got {type(content).__name__}"):
        prompt_text([user(content)])


@pytest.mark.parametrize(
    "prompt",
    [
        ["SECRET"],
        [{"content": "SECRET"}],
        [{"role": "assistant", "content": "SECRET"}],
        {"role": "user", "content": "SECRET"},
        b"SECRET",
        [user({"text": "SECRET"})],
    ],
)
def test_no_message_holds_the_text_of_the_prompt(prompt):
    with pytest.raises(PromptError) as caught:
        prompt_text(prompt)
    assert "SECRET" not in str(caught.value)


def test_surrogate_pairs_are_joined():
    assert prompt_text("smile \ud83d\ude00 now") == "smile 😀 now"
    assert prompt_text([user("smile \ud83d\ude00 now")]) == "smile 😀 now"


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("a\ud800b", "a\ufffdb"), ("\udc00\ud800", "\ufffd\ufffd"), ("\ud800", "\ufffd"), ("a\udfff", "a\ufffd")],
)
def test_lone_surrogates_are_replaced(prompt, text):
    assert prompt_text(prompt) == text


def test_cleaning_leaves_all_else_as_it_is():
    assert clean_text("  a\ud800 \n\x00") == "  a\ufffd \n\x00"
    assert clean_text("") == ""


def test_control_characters_inside_the_text_are_kept():
    assert prompt_text("a\x00b\x1bc\x7fd") == "a\x00b\x1bc\x7fd"


def join_pair(pair: re.Match) -> str:
    high, low = map(ord, pair[0])
    return chr(0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00)


@relaxed
@given(st.text(st.characters(), max_size=20) | st.text("a \ud83d\ude00\ud800", max_size=12))
def test_any_text_is_cleaned_to_what_a_tokenizer_takes(prompt):
    joined = re.sub("[\ud800-\udbff][\udc00-\udfff]", join_pair, prompt)
    expected = re.sub("[\ud800-\udfff]", "\ufffd", joined).strip()
    if not expected:
        with pytest.raises(PromptError, match="empty"):
            prompt_text(prompt)
        return
    text = prompt_text(prompt)
    assert text == expected
    assert text.encode("utf-8").decode("utf-8") == text
    assert prompt_text(text) == text
    assert prompt_text([user(prompt)]) == text


def test_a_request_without_text_may_be_allowed_and_tells_what_it_needs():
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}]}]
    with pytest.raises(PromptError):
        read_request(image)
    request = read_request(image, allow_empty=True)
    assert (request.text, request.needs) == ("", {"images"})
    assert request.n_tokens > 1000
    assert read_request([{"role": "system", "content": "x"}], allow_empty=True).text == ""
    with pytest.raises(PromptError):
        read_request(7, allow_empty=True)


def test_a_turn_starts_with_the_users_message_and_not_with_a_tools_output():
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who wrote it?"},
        {"role": "assistant", "content": "Thought: I look it up."},
        {"role": "user", "content": "Observation: 3 results"},
    ]
    assert read_request(talk).turn_start == 1
    assert read_request([*talk, {"role": "user", "content": "And when?"}]).turn_start == 4
    assert read_request("Who wrote it?").turn_start == 0


# Agents

ASKED = {"role": "user", "content": "What is the weather in Bonn?"}
CALLED = {"role": "assistant", "content": "Thought: I look it up.\nAction: weather\nAction Input: Bonn"}
LATER = user("How far is the moon from the earth?")


@pytest.mark.parametrize(
    "report",
    [
        "Observation: sunny",
        "observation:\nsunny",
        "**Observation**: sunny",
        "OBSERVATION: sunny",
        "Tool output: sunny",
        "Tool result: sunny",
        "TOOL RESPONSE: \n-----\nsunny",
        "Function result: sunny",
        "Execution result of [weather]:\nsunny",
        "exitcode: 0 (execution succeeded)\nCode output: sunny",
        "<tool_response>\nsunny\n</tool_response>",
        "<observation>sunny</observation>",
        "<function_results>sunny</function_results>",
        "<tool_results>sunny</tool_results>",
        "<returncode>0</returncode>\n<output>sunny</output>",
        "[Tool Result] sunny",
        "[TOOL_RESULTS] sunny",
        "[Observation] sunny",
        "```tool_output\nsunny\n```",
        "Execution logs:\nsunny",
        "Function result for weather: sunny",
        "Tool `weather` returned: sunny",
        "Results from tool `weather`:\nsunny",
        "Command finished with exit code 0.\nsunny",
        "[read_file for 'weather.txt'] Result:\nsunny",
        [{"type": "tool_result", "tool_use_id": "1", "content": "sunny"}],
        [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "sunny"}]}],
        [{"toolResult": {"toolUseId": "1", "content": [{"text": "sunny"}]}}],
        [{"function_response": {"name": "weather", "response": {"sky": "sunny"}}}],
        [Part(function_response={"response": {"sky": "sunny"}})],
    ],
)
def test_what_a_tool_gave_is_not_the_question(report):
    talk = [ASKED, CALLED, user(report)]
    assert prompt_text(talk) == ASKED["content"]
    assert prompt_text([*talk, CALLED, user(report)]) == ASKED["content"]
    assert prompt_text([*talk, LATER]) == LATER["content"]
    assert read_request(talk).turn_start == 0
    assert read_request([*talk, LATER, CALLED, user(report)]).turn_start == 3


@pytest.mark.parametrize(
    "text",
    [
        "Observation: the sky is blue. Why?",
        "Observations of the sky show that it is blue. Why?",
        "Tool results are late. Why?",
        "<tool_responses are odd",
        "The observation: it is blue. Why?",
        "Function results in Excel: how do I sum them?",
        "Function response time: how do I measure it?",
        "Exit code 137: what does it mean?",
        "Exit code: what is 137?",
        "Command line output: how do I redirect it?",
    ],
)
def test_what_a_user_observes_is_a_question(text):
    assert prompt_text([user(text)]) == text
    if not text.startswith("Observation:"):
        request = read_request([ASKED, CALLED, user(text)])
        assert (request.text.split("\n\n")[-1], request.turn_start) == (text, 2)


def test_a_question_beside_a_tools_result_is_the_question():
    both = user([{"type": "tool_result", "content": "sunny"}, {"type": "text", "text": LATER["content"]}])
    assert prompt_text([ASKED, CALLED, both]) == LATER["content"]


def test_a_picture_alone_asks_nothing_new():
    picture = user([{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}])
    request = read_request([ASKED, {"role": "assistant", "content": "Show me."}, picture])
    assert (request.text, request.needs) == (ASKED["content"], {"images"})


# Options


CODE = user("Write a function in Python that reverses a linked list.")
ANSWER = {"role": "assistant", "content": "def reverse(node): ..."}


def test_a_function_may_say_what_is_routed():
    talk = [user("Context: a river.\nQuestion: how long?")]
    assert read_request(talk, route_on=lambda messages: messages[0]["content"][-9:]).text == "how long?"
    assert read_request(talk, route_on=lambda messages: None).text == talk[0]["content"]
    assert read_request("a", route_on=str.upper).text == "A"
    assert read_request([{"role": "system", "content": "x"}], route_on=lambda _: " hello\ud800 ").text == "hello\ufffd"


def test_a_question_that_a_function_gives_goes_after_what_it_refers_to_as_well():
    template = user("Notes: rivers are long.\nQuestion: and in Rust?")
    request = read_request([CODE, ANSWER, template], route_on=lambda m: m[-1]["content"].partition("Question: ")[2])
    assert request.text == f"{CODE['content']}\n\nand in Rust?"


def test_what_a_function_gives_is_checked():
    with pytest.raises(ConfigurationError, match="route_on must give the text to route on, or None; it gave int"):
        read_request("a", route_on=lambda _: 5)
    with pytest.raises(PromptError, match="the prompt is empty"):
        read_request("a", route_on=lambda _: " ")


def test_needs_of_the_call_are_added_and_checked():
    picture = user([{"type": "text", "text": "what?"}, {"type": "image", "url": "http://127.0.0.1/a.png"}])
    assert read_request([picture], needs=["tools"]).needs == {"tools", "images"}
    with pytest.raises(ConfigurationError, match="unknown needs 'pictures'; choose of tools, images"):
        read_request("a", needs=["pictures"])


def test_tools_are_a_need_and_take_their_tokens():
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds. " * 100, "parameters": {}}}]
    plain, with_tools = read_request("a"), read_request("a", tools=tools)
    assert with_tools.needs == {"tools"}
    assert 200 < with_tools.n_tokens - plain.n_tokens < 1000
    assert read_request("a", tools=[]) == read_request("a", tools=None) == plain
    itself = {}
    itself["parameters"] = itself
    assert read_request("a", tools=[itself]).needs == {"tools"}


@pytest.mark.parametrize("prompt", ["", " ", "\ud800", "a\x00b", "漢字" * 100])
def test_a_request_has_the_text_that_a_prompt_has(prompt):
    try:
        text = prompt_text(prompt)
    except PromptError:
        with pytest.raises(PromptError):
            read_request(prompt)
    else:
        request = read_request(prompt)
        assert request.text == text
        assert request.n_tokens > 0
