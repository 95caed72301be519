"""What happens when a candidate or the predictor fails."""

import httpx
import openai
import pytest
from calling import ADD, MESSAGES, PLAIN_CALLS, TOOL_CALLS
from llama_index.core.llms import ChatMessage
from llama_index_world import WORDS_QUERY, FailingPredictor, RulePredictor, make_llm, make_router
from lookahead_router import Restricted, Router
from lookahead_router.errors import ConfigurationError, PromptError
from servers.openai_server import Reply, repeat_last_message

from llama_index.llms.lookahead_router import LookaheadRouterLLM

POOL = ("digits", "words", "lazy")


def failing(*names, **reply):
    """A script by which some candidates fail."""
    settings = {"status": 429, "content": "slow down", **reply}
    return lambda request: Reply(**settings) if request["model"] in names else repeat_last_message(request)


@pytest.fixture
def candidates(server):
    return {name: make_llm(name, server.url) for name in POOL}


@pytest.fixture
def patient(candidates):
    return LookaheadRouterLLM(candidates, make_router(POOL), fallbacks="next-best")


def failure(name, error="RateLimitError", kind="rate limit"):
    return {"candidate": name, "error": error, "failure": kind}


def by_name(call):
    return call.__name__


def record_of(responses):
    return responses[-1].additional_kwargs["lookahead_router"]


@pytest.mark.parametrize("call", [*PLAIN_CALLS, *TOOL_CALLS], ids=by_name)
async def test_the_next_best_candidate_answers_and_the_record_says_so(server, patient, call):
    server.script = failing("words", "digits")
    record = record_of(await call(patient))
    assert server.models_called() == ["words", "digits", "lazy"]  # by falling utility
    assert record["candidate"] == "lazy"
    assert record["ranking"][0] == "words"
    assert record["failed"] == [failure("words", "RateLimitError"), failure("digits", "RateLimitError")]
    assert [attempt["candidate"] for attempt in record["attempts"]] == ["words", "digits", "lazy"]


@pytest.mark.parametrize("call", TOOL_CALLS, ids=by_name)
async def test_every_candidate_gets_the_same_messages(server, patient, call):
    server.script = failing("words", "digits")
    await call(patient)
    first, *others = [request["messages"] for request in server.requests]
    assert others == [first, first]


@pytest.mark.parametrize("predictor", [RulePredictor, FailingPredictor], ids=by_name)
@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_a_candidate_that_the_policy_rules_out_is_no_fallback(server, candidates, call, predictor):
    server.script = failing("words")
    router = Router(predictor(POOL), policy=Restricted(deny=["digits"]))
    llm = LookaheadRouterLLM(candidates, router, fallbacks="next-best", default="words")
    assert record_of(await call(llm))["candidate"] == "lazy"
    assert server.models_called() == ["words", "lazy"]


@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_without_fallbacks_the_error_is_the_candidates(server, candidates, call):
    server.script = failing("words")
    with pytest.raises(openai.RateLimitError):
        await call(LookaheadRouterLLM(candidates, make_router(POOL)))
    assert server.models_called() == ["words"]


@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_when_all_fail_the_last_error_is_raised_and_names_the_others(server, patient, call):
    server.script = lambda request: Reply("down", status=429 if request["model"] == "lazy" else 503)
    with pytest.raises(openai.RateLimitError) as info:
        await call(patient)
    assert server.models_called() == ["words", "digits", "lazy"]
    (note,) = info.value.__notes__
    assert "'lazy', after others had failed: words (overload), digits (overload)" in note


@pytest.mark.parametrize("call", [*PLAIN_CALLS, *TOOL_CALLS], ids=by_name)
async def test_a_rejected_request_is_raised_at_once(server, patient, call):
    server.script = failing("words", status=400)
    with pytest.raises(openai.BadRequestError) as info:
        await call(patient)
    assert server.models_called() == ["words"]
    assert not hasattr(info.value, "__notes__")


@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_a_rejected_request_ends_it_even_after_a_fallback(server, patient, call):
    server.script = lambda request: Reply(status=503 if request["model"] == "words" else 400)
    with pytest.raises(openai.BadRequestError) as info:
        await call(patient)
    assert "'digits', after others had failed: words (overload)" in info.value.__notes__[0]
    assert server.models_called() == ["words", "digits"]


@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_a_candidate_that_takes_too_long_is_followed_by_the_next_best(server, candidates, call):
    server.script = failing("words", status=200, delay_seconds=5)
    candidates["words"] = make_llm("words", server.url, timeout=0.1)
    record = record_of(await call(LookaheadRouterLLM(candidates, make_router(POOL), fallbacks="next-best")))
    assert (record["candidate"], record["failed"]) == ("digits", [failure("words", "APITimeoutError", "timeout")])


def test_a_candidate_that_nobody_serves_is_followed_by_the_next_best(candidates):
    candidates["words"] = make_llm("words", "http://127.0.0.1:9/v1")  # the discard port: nothing listens
    llm = LookaheadRouterLLM(candidates, make_router(POOL), fallbacks="next-best")
    assert record_of([llm.chat(MESSAGES)])["failed"] == [failure("words", "APIConnectionError", "connection lost")]


async def test_the_caller_may_say_which_errors_are_worth_another_candidate(server, candidates):
    server.script = failing("words", status=400)
    llm = LookaheadRouterLLM(
        candidates,
        make_router(POOL),
        fallbacks="next-best",
        fallback_on=lambda error: isinstance(error, openai.BadRequestError),
    )
    for record in (record_of([llm.chat(MESSAGES)]), record_of([await llm.achat(MESSAGES)])):
        assert record["failed"] == [failure("words", "BadRequestError", "bad request")]
    server.script = failing("words", status=503)
    with pytest.raises(openai.InternalServerError):
        llm.chat(MESSAGES)


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("call", [*PLAIN_CALLS, *TOOL_CALLS], ids=by_name)
async def test_a_key_or_a_model_of_one_candidate_ends_no_request(server, patient, call, status):
    server.script = failing("words", status=status)
    assert record_of(await call(patient))["candidate"] == "digits"


async def test_a_candidate_that_fails_is_asked_last_for_a_while(server, patient):
    server.script = failing("words")
    assert record_of([patient.chat(MESSAGES)])["candidate"] == "digits"
    record = record_of([await patient.achat(MESSAGES)])
    assert (record["candidate"], record["cooling"]) == ("digits", {"words": "rate limit"})
    assert server.models_called() == ["words", "digits", "digits"]


@pytest.mark.parametrize("name", ["stream_chat", "stream_complete"])
def test_a_stream_that_breaks_after_its_first_chunk_is_not_restarted(server, patient, name):
    server.script = failing("words", status=200, content="one two three four", breaks_after=2)
    stream = getattr(patient, name)(MESSAGES if name == "stream_chat" else WORDS_QUERY)
    assert next(stream).additional_kwargs["lookahead_router"]["candidate"] == "words"
    with pytest.raises(httpx.RemoteProtocolError):
        list(stream)
    assert server.models_called() == ["words"]


@pytest.mark.parametrize("name", ["astream_chat", "astream_complete"])
async def test_an_asynchronous_stream_that_breaks_is_not_restarted_either(server, patient, name):
    server.script = failing("words", status=200, content="one two three four", breaks_after=2)
    stream = await getattr(patient, name)(MESSAGES if name == "astream_chat" else WORDS_QUERY)
    assert (await anext(stream)).additional_kwargs["lookahead_router"]["candidate"] == "words"
    with pytest.raises(httpx.RemoteProtocolError):
        [chunk async for chunk in stream]
    assert server.models_called() == ["words"]


async def test_where_routing_fails_the_default_answers(server, candidates):
    llm = LookaheadRouterLLM(candidates, Router(FailingPredictor(POOL)), default="lazy")
    for record in (record_of([llm.chat(MESSAGES)]), record_of([await llm.achat(MESSAGES)])):
        assert (record["candidate"], record["reason"], record["error"]) == ("lazy", "default", "RuntimeError")
    assert server.models_called() == ["lazy", "lazy"]


def test_where_the_default_fails_too_the_others_are_asked_in_turn(server, candidates):
    server.script = failing("lazy")
    llm = LookaheadRouterLLM(candidates, Router(FailingPredictor(POOL)), default="lazy", fallbacks="next-best")
    assert record_of([llm.chat(MESSAGES)])["candidate"] == "digits"


async def test_without_a_default_the_error_of_routing_is_raised(server, candidates):
    llm = LookaheadRouterLLM(candidates, Router(FailingPredictor(POOL)))
    with pytest.raises(RuntimeError, match="out of memory"):
        llm.complete(WORDS_QUERY)
    with pytest.raises(RuntimeError, match="out of memory"):
        await llm.acomplete(WORDS_QUERY)
    assert server.requests == []


async def test_a_default_hides_no_wrong_option(server, candidates):
    class Misconfigured(RulePredictor):
        def predict(self, prompts):
            raise ConfigurationError("prices are missing")

    llm = LookaheadRouterLLM(candidates, Router(Misconfigured(POOL)), default="lazy")
    with pytest.raises(ConfigurationError, match="prices are missing"):
        llm.chat(MESSAGES)
    with pytest.raises(ConfigurationError, match="prices are missing"):
        await llm.achat(MESSAGES)
    assert server.requests == []


def test_a_conversation_without_a_user_message_needs_a_default(candidates):
    messages = [ChatMessage(role="system", content="Say hello.")]
    with pytest.raises(PromptError, match="user"):
        LookaheadRouterLLM(candidates, Router(RulePredictor(POOL))).chat(messages)
    llm = LookaheadRouterLLM(candidates, Router(RulePredictor(POOL)), default="words")
    assert record_of([llm.chat(messages)])["reason"] == "default"


def test_tools_reach_the_next_best_candidate(server, patient):
    server.script = lambda request: (
        Reply(status=503) if request["model"] == "words" else Reply(tool_calls=(("add", {}),))
    )
    response = patient.chat_with_tools([ADD], "how much")
    assert patient.get_tool_calls_from_response(response)[0].tool_name == "add"
