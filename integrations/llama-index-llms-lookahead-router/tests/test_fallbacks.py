"""What happens when a candidate or the predictor fails."""

import httpx
import openai
import pytest
from calling import ADD, MESSAGES, PLAIN_CALLS, TOOL_CALLS
from llama_index.core.llms import ChatMessage
from llama_index_world import WORDS_QUERY, FailingPredictor, RulePredictor, make_llm, make_router
from lookahead_router import Restricted, Router
from lookahead_router.errors import ConfigurationError, HubError, PromptError
from servers.openai_server import Reply, repeat_last_message

from llama_index.llms.lookahead_router import LookaheadRouterLLM, is_transient

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
    assert record["decision"]["candidate"]["name"] == "words"
    assert record["failed"] == [
        {"candidate": "words", "error": "RateLimitError"},
        {"candidate": "digits", "error": "RateLimitError"},
    ]


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
    assert "'lazy', after others had failed: words (InternalServerError), digits (InternalServerError)" in note


@pytest.mark.parametrize("call", [*PLAIN_CALLS, *TOOL_CALLS], ids=by_name)
async def test_a_rejected_request_is_raised_at_once(server, patient, call):
    server.script = failing("words", status=400)
    with pytest.raises(openai.BadRequestError) as info:
        await call(patient)
    assert server.models_called() == ["words"]
    assert not hasattr(info.value, "__notes__")


async def test_a_rejected_request_ends_it_even_after_a_fallback(server, patient):
    server.script = lambda request: Reply(status=503 if request["model"] == "words" else 400)
    for call in (lambda: patient.achat(MESSAGES), lambda: patient.acomplete(WORDS_QUERY)):
        with pytest.raises(openai.BadRequestError) as info:
            await call()
        assert "'digits', after others had failed: words (InternalServerError)" in info.value.__notes__[0]
    assert server.models_called() == ["words", "digits"] * 2


@pytest.mark.parametrize("call", PLAIN_CALLS, ids=by_name)
async def test_a_candidate_that_takes_too_long_is_followed_by_the_next_best(server, candidates, call):
    server.script = failing("words", status=200, delay_seconds=5)
    candidates["words"] = make_llm("words", server.url, timeout=0.1)
    record = record_of(await call(LookaheadRouterLLM(candidates, make_router(POOL), fallbacks="next-best")))
    assert (record["candidate"], record["failed"]) == ("digits", [{"candidate": "words", "error": "APITimeoutError"}])


def test_a_candidate_that_nobody_serves_is_followed_by_the_next_best(candidates):
    candidates["words"] = make_llm("words", "http://127.0.0.1:9/v1")  # the discard port: nothing listens
    llm = LookaheadRouterLLM(candidates, make_router(POOL), fallbacks="next-best")
    assert record_of([llm.chat(MESSAGES)])["failed"] == [{"candidate": "words", "error": "APIConnectionError"}]


async def test_the_caller_may_say_which_errors_are_worth_another_candidate(server, candidates):
    server.script = failing("words", status=400)
    llm = LookaheadRouterLLM(
        candidates,
        make_router(POOL),
        fallbacks="next-best",
        fallback_on=lambda error: isinstance(error, openai.BadRequestError),
    )
    for record in (record_of([llm.chat(MESSAGES)]), record_of([await llm.achat(MESSAGES)])):
        assert record["failed"] == [{"candidate": "words", "error": "BadRequestError"}]
    server.script = failing("words", status=503)
    with pytest.raises(openai.InternalServerError):
        llm.chat(MESSAGES)


def error_with(kind=Exception, **attributes):
    error = kind("x")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def named(name, *bases):
    return type(name, (*bases, Exception), {})("x")


class Response:
    def __init__(self, status_code):
        self.status_code = status_code


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        *(error_with(status_code=status) for status in (408, 409, 425, 429, 500, 503, 529)),
        error_with(code=429),  # Google's clients
        error_with(status=502),
        error_with(response=Response(503)),
        error_with(response={"ResponseMetadata": {"HTTPStatusCode": 503}}),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
        named("ServerDisconnectedError", type("ClientConnectionError", (), {})),
        error_with(type("ClientConnectionError", (Exception,), {}), code=1006),  # a websocket's number, no status
        named("ConnectionError"),  # not Python's own: that of requests
        HubError("x", repo_id="a/b", revision=None, is_retryable=True),
    ],
    ids=repr,
)
def test_errors_of_the_moment(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad schema"),
        KeyError("name"),
        *(error_with(status_code=status) for status in (400, 401, 403, 404, 422, 600)),
        error_with(code="rate_limit"),
        error_with(status_code=True),
        error_with(httpx.TransportError, response=Response(400)),  # the status says more than the name
        HubError("x", repo_id="a/b", revision=None),
    ],
    ids=repr,
)
def test_errors_of_the_request(error):
    assert not is_transient(error)


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
        assert (record["candidate"], record["decision"], record["routing_error"]) == ("lazy", None, "RuntimeError")
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
    with pytest.raises(PromptError, match="none of the 1 messages is the user's"):
        LookaheadRouterLLM(candidates, Router(RulePredictor(POOL))).chat(messages)
    llm = LookaheadRouterLLM(candidates, Router(RulePredictor(POOL)), default="words")
    assert record_of([llm.chat(messages)])["routing_error"] == "PromptError"


def test_tools_reach_the_next_best_candidate(server, patient):
    server.script = lambda request: (
        Reply(status=503) if request["model"] == "words" else Reply(tool_calls=(("add", {}),))
    )
    response = patient.chat_with_tools([ADD], "how much")
    assert patient.get_tool_calls_from_response(response)[0].tool_name == "add"
