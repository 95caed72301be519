"""Candidates that cannot take a request are left out."""

import json

import pytest
from fakes import RulePredictor, TextOnlyModel, rule_models, rule_router
from langchain_core.messages import HumanMessage, ToolMessage
from lookahead_router import Candidate, Router
from lookahead_router.errors import ConfigurationError
from pydantic import BaseModel

from langchain_lookahead_router import ChatLookaheadRouter


class Sum(BaseModel):
    """A sum."""

    value: int


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def make(profiles=None, models=None, router=None, **options):
    models = {**rule_models(), **(models or {})}
    for name, profile in (profiles or {}).items():
        models[name] = models[name].model_copy(update={"profile": profile})
    return ChatLookaheadRouter(candidates=models, router=router or rule_router(), **options)


def record_of(message):
    return message.response_metadata["lookahead_router"]


def test_tools_go_to_candidates_that_can_call_them():
    for llm in (
        make({"digits": {"tool_calling": False}}),
        make(models={"digits": TextOnlyModel(label="digits")}),
        make(router=Router(RulePredictor([Candidate(name="digits", capabilities={"images"}), "words", "lazy"]))),
    ):
        record = record_of(llm.bind_tools([add]).invoke("7"))
        assert record["candidate"] == "lazy"
        assert list(record["scores"]) == ["words", "lazy"]
        assert "tools" in record["excluded"]["digits"]
        assert record_of(llm.invoke("7"))["candidate"] == "digits"
        assert json.dumps(record)


SPEC = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "options",
    [{"tools": [SPEC]}, {"functions": [SPEC["function"]]}, {"response_format": {"type": "json_object"}}],
    ids=lambda options: next(iter(options)),
)
def test_what_a_call_hands_over_in_a_providers_form_needs_it_too(options):
    llm = make(models={"digits": TextOnlyModel(label="digits")})
    assert record_of(llm.invoke("7", **options))["candidate"] == "lazy"
    assert record_of(llm.bind(**options).invoke("7"))["candidate"] == "lazy"
    assert record_of(llm.invoke("7", response_format={"type": "text"}))["candidate"] == "digits"


def test_tools_take_their_part_of_a_window():
    llm = make({"digits": {"max_input_tokens": 1000}})
    long = {**SPEC, "function": {**SPEC["function"], "description": "Adds. " * 1000}}
    assert record_of(llm.bind_tools([long]).invoke("7"))["candidate"] == "lazy"
    assert record_of(llm.bind_tools([add]).invoke("7"))["candidate"] == "digits"


def test_structured_output_needs_one_way_or_the_other():
    llm = make(models={"digits": TextOnlyModel(label="digits")})
    raw = llm.with_structured_output(Sum, include_raw=True).invoke("7")["raw"]
    assert record_of(raw)["candidate"] == "lazy"


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, "image_inputs"),
        ({"type": "image", "base64": "AA==", "mime_type": "image/png"}, "image_inputs"),
        ({"type": "audio", "base64": "AA==", "mime_type": "audio/wav"}, "audio_inputs"),
        ({"type": "file", "base64": "AA==", "mime_type": "application/pdf", "filename": "a.pdf"}, "pdf_inputs"),
    ],
)
def test_media_go_to_candidates_that_take_them(block, key):
    llm = make({"digits": {key: False}, "lazy": {key: True}})
    human = [HumanMessage([{"type": "text", "text": "What are these 7?"}, block])]
    assert record_of(llm.invoke(human))["candidate"] == "lazy"
    tool = [HumanMessage("7"), ToolMessage([block], tool_call_id="1")]
    assert record_of(llm.invoke(tool))["candidate"] == "lazy"


def test_what_is_too_long_for_a_candidate_goes_to_another():
    long = "7 " * 1000  # some 1000 tokens
    llm = make({"digits": {"max_input_tokens": 100}})
    assert record_of(llm.invoke(long))["candidate"] == "lazy"
    assert record_of(llm.invoke("7"))["candidate"] == "digits"
    pool = Router(RulePredictor([Candidate(name="digits", context_window_tokens=100), "words", "lazy"]))
    assert record_of(make(router=pool).invoke(long))["candidate"] == "lazy"


def test_what_seems_too_long_for_everyone_goes_to_the_largest_window():
    windows = {"digits": 100, "words": 200, "lazy": 100}
    llm = make({name: {"max_input_tokens": window} for name, window in windows.items()})
    assert record_of(llm.invoke("7 " * 1000))["candidate"] == "words"


def test_an_image_is_not_counted_by_its_bytes():
    llm = make({"digits": {"max_input_tokens": 2000, "image_inputs": True}})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert record_of(llm.invoke([HumanMessage([{"type": "text", "text": "7"}, image])]))["candidate"] == "digits"


def test_nobody_left_is_an_error_that_says_why():
    profiles = {name: {"tool_calling": False} for name in rule_models()}
    with pytest.raises(ConfigurationError, match=r"digits has no tools.*words.*lazy"):
        make(profiles, default="lazy").bind_tools([add]).invoke("7")


def test_forcing_overrules():
    llm = make({"digits": {"tool_calling": False}})
    assert record_of(llm.bind_tools([add]).invoke("7", model="digits"))["candidate"] == "digits"


def test_kept_and_default_candidates_must_be_able_too():
    llm = make({"lazy": {"tool_calling": False}}, default="lazy", sticky="thread")
    llm.threads["1"] = "lazy"
    config = {"configurable": {"thread_id": "1"}}
    assert record_of(llm.bind_tools([add]).invoke("7", config))["candidate"] == "digits"
    llm.router.predictor.error = RuntimeError("boom")
    record = record_of(llm.bind_tools([add]).invoke("7", {"configurable": {"thread_id": "2"}}))
    assert (record["candidate"], record["reason"]) == ("digits", "default")


def test_the_profile_is_what_all_candidates_share():
    llm = make(
        {
            "digits": {"max_input_tokens": 1000, "tool_calling": True, "image_inputs": True, "name": "A"},
            "words": {"max_input_tokens": 2000, "tool_calling": True, "image_inputs": False, "name": "B"},
            "lazy": {"max_input_tokens": 1500, "tool_calling": True, "structured_output": True, "name": "C"},
        }
    )
    assert llm.profile == {"max_input_tokens": 1000, "tool_calling": True}


def test_the_profile_is_unknown_if_one_is():
    assert make({"digits": {"tool_calling": True}}).profile is None
    assert make(profile={"tool_calling": True}).profile == {"tool_calling": True}
