"""Calls reach the best candidate, and look from outside like direct ones."""

import hashlib

import pytest
from calling import ADD, HIGHER_CALLS, MESSAGES, PLAIN_CALLS, TOOL_CALLS, call_the_first_tool
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index_world import (
    NUMBERS_QUERY,
    WORDS_QUERY,
    CallbackRecorder,
    RulePredictor,
    make_llm,
    make_router,
    recorded_events,
)
from lookahead_router import Router
from lookahead_router.errors import ConfigurationError

from llama_index.llms.lookahead_router import LookaheadRouterLLM, LookaheadRoutingEvent


def by_name(call):
    return call.__name__


def words(text):
    """A tokenizer that needs no download."""
    return text.split()


def observed(make_llm_under, server):
    """An LLM with handlers of its own, and what they will have seen."""
    counter, recorder = TokenCountingHandler(tokenizer=words), CallbackRecorder()
    return make_llm_under(CallbackManager([counter, recorder])), counter, recorder


@pytest.mark.parametrize("call", [*PLAIN_CALLS, *TOOL_CALLS, *HIGHER_CALLS], ids=by_name)
async def test_events_callbacks_tokens_and_requests_are_those_of_a_direct_call(server, call):
    server.script = call_the_first_tool

    def direct(manager):
        return make_llm("words", server.url, callback_manager=manager)

    def routed(manager):
        candidates = {name: make_llm(name, server.url) for name in ("digits", "words")}
        return LookaheadRouterLLM(candidates, make_router(), callback_manager=manager)

    seen = []
    for make in (direct, routed):
        llm, counter, recorder = observed(make, server)
        server.requests.clear()
        with recorded_events() as events:
            responses = await call(llm)
        names = [name for name in events.names() if name != LookaheadRoutingEvent.class_name()]
        tokens = [(e.prompt_token_count, e.completion_token_count) for e in counter.llm_token_counts]
        texts = [str(response) for response in responses]
        # A chunk that shows nothing is held back, so the caller's own events may come after the candidate's next one.
        own = [name for name in names if not name.startswith("LLMStructured")]
        seen.append((own, sorted(names), recorder.calls, tokens, texts, list(server.requests)))
    assert seen[0] == seen[1]
    names, _, callbacks, tokens, _, requests = seen[1]
    assert [name for name in names if name.endswith(("ChatStartEvent", "CompletionStartEvent"))], "there was a call"
    assert ("start", "llm") in callbacks
    assert len(tokens) == 1
    assert [request["model"] for request in requests] == ["words"]
    assert len(events.of(LookaheadRoutingEvent)) == 1


@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_every_response_and_every_chunk_says_who_answered(llm, call):
    responses = await call(llm)
    assert responses
    for response in responses:
        record = response.additional_kwargs["lookahead_router"]
        assert record["candidate"] == "words"
        assert record["scores"] == pytest.approx({"digits": 0.3, "words": 0.8})
        assert (record["reason"], record["ranking"], record["failed"]) == ("routed", ["words", "digits"], [])
        assert record["attempts"] == [{"candidate": "words", "error": None, "failure": None}]
        assert "river" not in str(record)


async def test_what_the_candidate_said_of_itself_is_kept(llm, candidates):
    assert candidates["words"].chat(MESSAGES).additional_kwargs["total_tokens"] > 0
    routed, direct = llm.chat(MESSAGES), candidates["words"].chat(MESSAGES)
    assert {k: v for k, v in routed.additional_kwargs.items() if k != "lookahead_router"} == direct.additional_kwargs
    assert routed.raw.usage == direct.raw.usage


def test_the_last_user_message_decides(llm):
    history = [*MESSAGES, ChatMessage(role="assistant", content="At its source."), ChatMessage(content=NUMBERS_QUERY)]
    assert str(llm.chat(history)).startswith("assistant: digits: ")
    assert str(llm.chat([*history, ChatMessage(role="assistant", content="3")])).startswith("assistant: digits: ")


@pytest.mark.parametrize("call", TOOL_CALLS, ids=by_name)
async def test_tool_calls_are_read_by_the_llm_that_answered(server, llm, call):
    server.script = call_the_first_tool
    (selection,) = llm.get_tool_calls_from_response((await call(llm))[-1])
    assert (selection.tool_name, selection.tool_kwargs) == ("add", {"a": 3, "b": 4})


def test_no_tool_call_is_an_error_only_if_it_should_be(llm):
    response = llm.chat(MESSAGES)
    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="at least one tool call"):
        llm.get_tool_calls_from_response(response)


def test_a_response_of_another_llm_is_refused(llm, candidates):
    with pytest.raises(ConfigurationError, match="None, which is none of the candidates digits, words"):
        llm.get_tool_calls_from_response(candidates["words"].chat(MESSAGES))


def test_the_user_message_of_a_tool_call_is_routed_with_the_history(server, candidates):
    server.script = call_the_first_tool
    predictor = RulePredictor(("digits", "words"))
    llm = LookaheadRouterLLM(candidates, Router(predictor))
    llm.chat_with_tools([ADD], ChatMessage(content="one"), [ChatMessage(content="two")])
    llm.chat_with_tools([ADD], "three", [ChatMessage(content="four")])
    llm.chat_with_tools([ADD], chat_history=[ChatMessage(content="five"), ChatMessage(role="assistant", content="6")])
    assert predictor.prompts == ["two\n\none", "four\n\nthree", "five"]  # words that do not stand alone


async def test_tools_go_to_those_who_can_call_them(server):
    server.script = call_the_first_tool
    candidates = {
        "digits": make_llm("digits", server.url),
        "words": make_llm("words", server.url, is_function_calling_model=False),
    }
    llm = LookaheadRouterLLM(candidates, make_router())
    assert llm.metadata.is_function_calling_model
    for response in (llm.chat_with_tools([ADD], WORDS_QUERY), await llm.achat_with_tools([ADD], WORDS_QUERY)):
        record = response.additional_kwargs["lookahead_router"]
        assert (record["candidate"], record["excluded"]) == ("digits", {"words": "has no tools, says its model"})
    assert llm.chat(MESSAGES).additional_kwargs["lookahead_router"]["candidate"] == "words"


def test_tools_that_nobody_can_call_are_refused(server):
    candidates = {name: make_llm(name, server.url, is_function_calling_model=False) for name in ("digits", "words")}
    llm = LookaheadRouterLLM(candidates, make_router())
    assert not llm.metadata.is_function_calling_model
    with pytest.raises(ConfigurationError, match="no candidate can take this request: digits has no tools"):
        llm.chat_with_tools([ADD], NUMBERS_QUERY)
    assert server.requests == []


async def test_one_routing_event_with_a_hash_instead_of_the_prompt(llm):
    with recorded_events() as events:
        llm.chat(MESSAGES)
        await llm.acomplete(NUMBERS_QUERY)
    first, second = events.of(LookaheadRoutingEvent)
    assert (first.candidate, second.candidate) == ("words", "digits")
    assert first.prompt_sha256 == hashlib.sha256(WORDS_QUERY.encode()).hexdigest()
    assert second.prompt_sha256 == hashlib.sha256(NUMBERS_QUERY.encode()).hexdigest()
    assert first.span_id.startswith("LookaheadRouterLLM.chat-")
    assert "river" not in str(first.model_dump())


def test_it_is_an_llm_that_calls_functions(llm):
    assert isinstance(llm, LLM)
    assert isinstance(llm, FunctionCallingLLM)
    assert llm.class_name() == "LookaheadRouterLLM"


def test_abandoning_a_stream_closes_the_candidates_own(server, llm):
    stream = llm.stream_chat(MESSAGES)
    next(stream)
    with recorded_events() as events:
        stream.close()
    assert "ExceptionEvent" in events.names()  # how LlamaIndex tells of a closed stream


async def test_abandoning_an_asynchronous_stream_closes_the_candidates_own(server, llm):
    stream = await llm.astream_chat(MESSAGES)
    await anext(stream)
    with recorded_events() as events:
        await stream.aclose()
    assert "ExceptionEvent" in events.names()
