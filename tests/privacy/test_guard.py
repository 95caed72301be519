"""Which requests hold something private: all that is sent counts."""

import logging
import pickle

import pytest

from lookahead_router import Privacy, Request, read_request
from lookahead_router.errors import ConfigurationError
from lookahead_router.privacy import Finding, presidio

MAIL = "write to anna@post.de"


def found(prompt, privacy=None, **options):
    request = prompt if isinstance(prompt, Request) else read_request(prompt, **options)
    return (privacy or Privacy()).found_in(request)


@pytest.mark.parametrize(
    "messages",
    [
        [
            {"role": "user", "content": MAIL},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": "thanks"},
        ],
        [{"role": "system", "content": MAIL}, {"role": "user", "content": "hello"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": MAIL}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": [{"type": "text", "text": MAIL}]}],
        [
            {"role": "user", "content": "a"},
            {"role": "tool", "tool_call_id": "1", "content": MAIL},
            {"role": "user", "content": "b"},
        ],
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": MAIL}}]},
        ],
    ],
)
def test_every_turn_that_is_sent_counts_whoever_said_it(messages):
    assert found(messages) == ("e-mail address",)


def test_passages_count_and_so_does_a_request_made_by_hand():
    assert found("who is it?", context=[MAIL]) == ("e-mail address",)
    assert found(Request(MAIL)) == ("e-mail address",)
    assert found(Request("who?", passages=(MAIL,))) == ("e-mail address",)
    assert found("hello") == ()


def test_what_is_routed_on_is_not_what_is_sent():
    assert found([{"role": "user", "content": MAIL}], route_on=lambda messages: "harmless") == ("e-mail address",)


def test_kinds_are_chosen_and_detectors_come_beside():
    assert found(MAIL, Privacy(kinds=["IBAN"])) == ()
    privacy = Privacy(kinds=[], detectors=[lambda text: ["customer number"] if "K-" in text else []])
    assert found("K-17", privacy) == ("customer number",)
    assert found(MAIL, privacy) == ()
    assert found(MAIL, Privacy(detectors=[lambda text: [Finding("x", 0, 1)]])) == ("e-mail address", "x")


@pytest.mark.parametrize("detector", [lambda text: 1 / 0, lambda text: [7], lambda text: None])
def test_a_detector_that_fails_counts_as_a_finding_and_quotes_nothing(detector, caplog):
    with caplog.at_level(logging.WARNING):
        (kind,) = found("tulips", Privacy(detectors=[detector]))
    assert kind.startswith("unknown, since a detector failed with ")
    assert "tulips" not in caplog.text


def test_attachments_count_where_asked_for():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]}]
    assert found(messages) == ()
    assert found(messages, Privacy(attachments=True)) == ("attachment",)
    assert found("hello", Privacy(attachments=True)) == ()


def test_presidio_hands_over_the_kinds_of_what_it_finds():
    class Result:
        def __init__(self, entity_type):
            self.entity_type = entity_type

    class Analyzer:
        def analyze(self, text, language, entities=None, score_threshold=None):
            assert (language, entities, score_threshold) == ("de", ["PERSON"], 0.6)
            return [Result("PERSON")] if "Anna" in text else []

    detector = presidio(Analyzer(), language="de", entities=["PERSON"], minimum_score=0.6)
    assert found("Anna kommt", Privacy(detectors=[detector])) == ("PERSON",)
    with pytest.raises(ConfigurationError, match="an analyzer has analyze"):
        presidio(Analyzer)
    for wrong in ({"minimum_score": 2}, {"minimum_score": "0.5"}, {"entities": "PERSON"}):
        with pytest.raises(ConfigurationError):
            presidio(Analyzer(), **wrong)


def test_wrong_settings_are_errors_when_it_is_built():
    for wrong in ({"kinds": ["shoe size"]}, {"kinds": "IBAN"}, {"local": "x"}, {"detectors": [7]}, {"colour": "red"}):
        with pytest.raises(ConfigurationError):
            Privacy(**wrong)


def test_it_survives_pickling():
    assert pickle.loads(pickle.dumps(Privacy(local=["x"], refuse=True))) == Privacy(local=["x"], refuse=True)
