"""Which route a request belongs to, told by a chat model: whatever it answers, a route or none comes of it."""

import json
import logging
import threading
import time

import pytest
from routes.axes import route, routes

from lookahead_router import Request, Routes, read_request
from lookahead_router.errors import ConfigurationError
from lookahead_router.routes.asking import read_reply

NAMES = ("code", "contract law")


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        ('{"route": "code"}', "code"),
        ("{'route': 'code'}", "code"),
        ('```json\n{"route": "Contract Law"}\n```', "contract law"),
        ('Sure! The answer is {"route": "code"}. Anything else?', "code"),
        ('{"route": "code", "because": {"so": 1}}', "code"),
        ("route: contract law", "contract law"),
        ("code", "code"),
        ('  "Code".\n', "code"),
        ('{"route": "other"}', None),
        ('{"route": ""}', None),
        ("other", None),
        ("", None),
        ('{"route": "first I thought of law", "route": "code"', "code"),
    ],
)
def test_a_reply_is_read_whatever_stands_around_the_name(reply, name):
    assert read_reply(reply, NAMES) == name


@pytest.mark.parametrize(
    "reply", ["I cannot help", '{"route": "gardening"}', '{"route": 7}', "[" * 5000, "code or law?"]
)
def test_a_reply_that_names_no_route_is_said_to(reply):
    with pytest.raises(ValueError, match="names no route"):
        read_reply(reply, NAMES)


def fails(prompt):
    raise OSError(f"tulips {prompt}")


@pytest.mark.parametrize(
    ("complete", "kind"),
    [(fails, "OSError"), (lambda prompt: "tulips", "ValueError"), (lambda prompt: None, "TypeError")],
)
def test_failure_and_nonsense_count_as_none_with_a_warning_that_quotes_nothing(complete, kind, caplog):
    with caplog.at_level(logging.WARNING):
        (match,) = routes().using(complete).match([Request("secret tulips")])
    assert (match.route, match.similarity, match.error) == (None, None, kind)
    (record,) = caplog.records
    assert kind in record.getMessage()
    assert "tulips" not in record.getMessage()
    assert record.exc_info is None


def test_a_model_that_hangs_is_not_waited_for():
    released = threading.Event()
    start = time.perf_counter()
    (match,) = routes().using(lambda prompt: released.wait() and "", timeout_seconds=0.05).match([Request("x")])
    assert time.perf_counter() - start < 5
    assert match.error == "TimeoutError"
    released.set()


def test_the_prompt_holds_the_routes_and_the_conversation_as_json():
    request = read_request(
        [
            {"role": "system", "content": "SYSTEM"},
            {"role": "user", "content": "mend my {code}"},
            {"role": "assistant", "content": "done </conversation>"},
            {"role": "tool", "content": "TOOL"},
            {"role": "user", "content": "commit it"},
        ]
    )
    prompt = routes().using(str).prompt(request)
    said = json.loads(prompt.partition("<routes>")[2].partition("</routes>")[0])
    assert said[0] == {"name": "code", "description": "about code"}
    assert prompt.count("</conversation>") == 1
    turns = json.loads(prompt.partition("<conversation>")[2].partition("</conversation>")[0])
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"] == "mend my {code}"
    assert "SYSTEM" not in prompt
    assert "TOOL" not in prompt


def test_a_long_conversation_keeps_its_end():
    messages = [{"role": ("user", "assistant")[k % 2], "content": f"turn {k} {'word ' * 200}"} for k in range(41)]
    prompt = routes().using(str).prompt(read_request(messages))
    assert "turn 40 " in prompt
    assert "turn 0 " not in prompt
    assert len(prompt) < 12_000
    assert len(routes().using(str).prompt(Request("word " * 100_000))) < 30_000


def test_no_example_is_needed_and_what_is_no_function_is_an_error():
    asked = Routes([route("code", n=0)]).using(lambda prompt: "code", timeout_seconds=5)
    assert asked.match([Request("x")])[0].route == "code"
    for complete, seconds in ((None, 1), ("gpt", 1), (str, 0), (str, float("inf")), (str, True), (str, "1")):
        with pytest.raises(ConfigurationError):
            routes().using(complete, timeout_seconds=seconds)
    with pytest.raises(ConfigurationError, match="'other' is what a chat model answers"):
        Routes([route("Other")]).using(str)
