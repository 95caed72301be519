"""The object itself: what it promises, stores, shares and refuses."""

import copy
import json
import logging
import pickle

import huggingface_hub.constants
import pytest
from calling import MESSAGES
from llama_index.core import Settings
from llama_index.core.base.llms.types import LLMMetadata, MessageRole
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import MockLLM
from llama_index_world import POOL, CallbackRecorder, RulePredictor, make_llm, make_router
from lookahead_router import CostAware, Router
from lookahead_router.errors import CheckpointError, ConfigurationError, HubError, UnknownCandidateError
from servers.hub_server import HubServer
from servers.openai_server import Reply

from llama_index.llms.lookahead_router import LookaheadRouterLLM
from llama_index.llms.lookahead_router.candidates import intersect


class UnpicklablePredictor(RulePredictor):
    def __reduce__(self):
        raise ConfigurationError("only a predictor loaded from a folder can be pickled")


def test_metadata_is_what_all_candidates_can_do(server):
    large = make_llm("digits", server.url, context_window=32000, max_tokens=500)
    small = make_llm("words", server.url, context_window=4000, max_tokens=200)
    metadata = LookaheadRouterLLM({"digits": large, "words": small}, make_router()).metadata
    assert (metadata.context_window, metadata.num_output) == (4000, 200)
    assert (metadata.is_chat_model, metadata.is_function_calling_model) == (True, True)
    assert metadata.model_name == "lookahead-router"


def test_abilities_are_intersected_and_unknown_limits_left_out():
    able = LLMMetadata(is_chat_model=True, is_function_calling_model=True, num_output=-1)
    for unable in (LLMMetadata(is_function_calling_model=True), LLMMetadata(is_chat_model=True)):
        both = intersect([able, unable])
        assert both.is_chat_model is unable.is_chat_model
        assert both.is_function_calling_model, "whoever calls functions gets the calls that need them"
        assert both.num_output == unable.num_output
    assert intersect([able, able]).num_output == -1


def test_a_system_role_that_not_all_share_is_the_users():
    roles = [LLMMetadata(system_role=role) for role in (MessageRole.SYSTEM, MessageRole.CHATBOT)]
    assert intersect(roles).system_role is MessageRole.USER
    assert intersect(roles[1:]).system_role is MessageRole.CHATBOT


def test_no_key_is_ever_serialised_or_shown(llm):
    texts = [
        json.dumps(llm.to_dict()),
        llm.to_json(),
        repr(llm),
        str(llm),
        str(getattr(llm, "to_payload", llm.to_dict)()),
        llm.model_dump_json(),
    ]
    texts.append(json.dumps(llm.chat(MESSAGES).additional_kwargs))
    texts.append(repr(llm.as_structured_llm(LLMMetadata).to_dict()))
    for text in texts:
        assert "key-of-" not in text
    assert set(llm.to_dict()) == {
        "class_name", "default", "fallbacks", "sticky", "switch_gain", "candidate", "context_chars", "routing",
        "pydantic_program_mode", "system_prompt",
    }  # fmt: skip


def test_what_was_serialised_comes_back_with_the_candidates_given_again(candidates):
    llm = LookaheadRouterLLM(candidates, make_router(), default="words", system_prompt="You are terse.")
    twin = LookaheadRouterLLM.from_json(llm.to_json(), candidates=candidates, router=make_router())
    assert (twin.default, twin.system_prompt) == ("words", "You are terse.")


def test_it_has_a_json_schema(llm):
    assert not {"router", "fallback_on"} & llm.model_json_schema()["properties"].keys()


def test_pickling_keeps_router_and_candidates(candidates):
    llm = LookaheadRouterLLM(candidates, make_router(), default="words", fallbacks="next-best")
    before = llm.chat(MESSAGES)  # now the candidate holds an open client, which cannot be pickled
    twin = pickle.loads(pickle.dumps(llm))
    assert twin.chat(MESSAGES).additional_kwargs["lookahead_router"]["candidate"] == "words"
    assert (twin.default, twin.fallbacks, twin.router.pool) == ("words", "next-best", llm.router.pool)
    assert str(llm.chat(MESSAGES)) == str(before), "pickling must not take anything from the live object"


def test_pickling_the_embedded_router_stores_no_weights(server):
    router = Router.from_pretrained()
    llm = LookaheadRouterLLM({name: make_llm(name, server.url) for name in router.pool.names}, router)
    data = pickle.dumps(llm)
    assert len(data) < 100_000
    assert pickle.loads(data).chat(MESSAGES).additional_kwargs["lookahead_router"]["candidate"] in router.pool.names


def test_what_cannot_be_pickled_is_refused_by_name(candidates, caplog):
    llm = LookaheadRouterLLM(candidates, Router(UnpicklablePredictor(POOL[:2])))
    with pytest.raises(ConfigurationError, match=r"its router cannot, .*only a predictor loaded from a folder"):
        pickle.dumps(llm)
    llm = LookaheadRouterLLM(candidates, make_router(), completion_to_prompt=lambda prompt: prompt)
    with pytest.raises(ConfigurationError, match="its completion_to_prompt cannot"):
        pickle.dumps(llm)
    llm = LookaheadRouterLLM(candidates, make_router(), fallback_on=lambda error: True)
    with pytest.raises(ConfigurationError, match="its fallback_on cannot"):
        pickle.dumps(llm)
    assert llm.router.pool.names == ("digits", "words")
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_a_copy_shares_the_candidates(llm):
    assert copy.copy(llm).candidates["words"] is llm.candidates["words"]
    assert llm.model_copy().router is llm.router


def test_the_callback_manager_reaches_candidates_whenever_it_is_set(candidates):
    first, second, third = (CallbackManager([CallbackRecorder()]) for _ in range(3))
    llm = LookaheadRouterLLM(candidates, make_router(), callback_manager=first)
    for manager in (second, third):
        llm.callback_manager = manager
        llm.chat(MESSAGES)
    counts = [manager.handlers[0].calls.count(("start", "llm")) for manager in (first, second, third)]
    assert counts == [0, 1, 1]


def test_a_candidate_with_handlers_of_its_own_keeps_them(server):
    own, given = (CallbackManager([CallbackRecorder()]) for _ in range(2))
    candidates = {
        "digits": make_llm("digits", server.url),
        "words": make_llm("words", server.url, callback_manager=own),
    }
    llm = LookaheadRouterLLM(candidates, make_router(), callback_manager=given)
    llm.chat(MESSAGES)
    assert own.handlers[0].calls.count(("start", "llm")) == 1
    assert given.handlers[0].calls == []
    assert candidates["digits"].callback_manager is given


def test_handlers_added_later_are_heard(candidates):
    llm = Settings.llm = LookaheadRouterLLM(candidates, make_router())
    recorder = CallbackRecorder()
    llm.callback_manager.add_handler(recorder)
    llm.chat(MESSAGES)
    assert recorder.calls.count(("start", "llm")) == 1


def test_something_else_than_a_mapping_to_llms(candidates):
    for given, message in (
        ({**candidates, "words": "words"}, "'words' needs a LlamaIndex LLM, got str"),
        ({**candidates, "words": None}, "'words' needs a LlamaIndex LLM, got NoneType"),
        ({}, "a mapping .* and not empty"),
        (list(candidates.values()), "a mapping"),
        ({1: MockLLM()}, "names must be strings, got int"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            LookaheadRouterLLM(given, make_router())


@pytest.mark.parametrize("default", [None, "words"])
def test_what_is_wrong_is_told_when_the_llm_is_built(candidates, tmp_path, default):
    """A default must not hide it, call after call."""
    unpriced = CostAware(score_per_usd=10.0)
    for options, error, message in (
        ({"candidates": {**candidates, "word": MockLLM()}}, UnknownCandidateError, r"'word'.*aliases="),
        ({"default": "lazy"}, UnknownCandidateError, "'lazy'"),
        ({"candidate": "lazy"}, UnknownCandidateError, "'lazy'"),
        ({"aliases": {"digit": "numbers"}}, UnknownCandidateError, "'digit'"),
        ({"router": tmp_path / "nowhere"}, CheckpointError, "nowhere"),
        ({"router": 7}, ConfigurationError, "not int"),
        ({"policy": "best"}, ConfigurationError, "policy"),
        ({"policy": unpriced}, ConfigurationError, "price|usd"),
        ({"sticky": "run"}, ConfigurationError, "sticky must be"),
        ({"fallbacks": "random"}, ConfigurationError, "next-best"),
        ({"fallback_on": True}, ConfigurationError, "fallback_on must be a function"),
        ({"route_on": "question"}, ConfigurationError, "route_on must be a function, got str"),
        ({"context_chars": -1}, ConfigurationError, "context_chars"),
        ({"context_chars": "600"}, ConfigurationError, "context_chars"),
    ):
        given = {"candidates": candidates, "router": make_router(), "default": default, **options}
        with pytest.raises(error, match=message):
            LookaheadRouterLLM(**given)


def test_options_that_belong_to_the_candidates(candidates):
    with pytest.raises(ConfigurationError, match="no max_tokens, temperature; set it on the candidates"):
        LookaheadRouterLLM(candidates, make_router(), temperature=0.1, max_tokens=5)


def test_routers_that_cannot_be_loaded(candidates, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError):
        LookaheadRouterLLM(candidates, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubServer() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
        with pytest.raises(HubError, match="nobody/nothing"):
            LookaheadRouterLLM(candidates, "nobody/nothing")
        assert hub.requests, "the Hub was asked"


def test_preparing_tools_is_left_to_the_candidates(llm):
    with pytest.raises(NotImplementedError, match="chat_with_tools"):
        llm._prepare_chat_with_tools([])


def test_the_prompt_is_not_logged(server, llm, caplog):
    server.script = lambda request: Reply("secret answer")
    with caplog.at_level(logging.DEBUG, logger="llama_index.llms.lookahead_router"):
        llm.complete("secret question")
    assert not [record for record in caplog.records if record.name.startswith("llama_index.llms.lookahead_router")]
