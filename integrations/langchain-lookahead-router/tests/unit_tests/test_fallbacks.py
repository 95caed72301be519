"""What happens when a candidate fails."""

import pytest
from fakes import rule_models, rule_router
from langchain_core.callbacks import BaseCallbackHandler
from lookahead_router import Restricted

from langchain_lookahead_router import ChatLookaheadRouter, is_transient


class HTTPError(Exception):
    """As most clients raise it."""

    def __init__(self, status_code):
        super().__init__(f"status {status_code} about tulips")
        self.status_code = status_code


def make(failures, fallbacks="next-best", **options):
    models = rule_models()
    for name, changes in failures.items():
        models[name] = models[name].model_copy(update=changes)
    return ChatLookaheadRouter(candidates=models, router=rule_router(), fallbacks=fallbacks, **options)


def attempts(message):
    return [(a["candidate"], a["error"]) for a in message.response_metadata["lookahead_router"]["attempts"]]


ASK = {
    "invoke": lambda llm: llm.invoke("7"),
    "stream": lambda llm: sum_of(llm.stream("7")),
    "generate": lambda llm: llm.generate([llm._convert_input("7").to_messages()]).generations[0][0].message,
}


def sum_of(chunks):
    first, *others = chunks
    return first + others


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_the_next_best_by_predicted_score_answers(ask):
    message = ask(make({"digits": {"fails": HTTPError(429)}}))
    assert message.text == "lazy: 7"  # 0.5, before the 0.2 of `words`
    assert attempts(message) == [("digits", "HTTPError"), ("lazy", None)]
    assert "tulips" not in repr(message.response_metadata)
    message = ask(make({"digits": {"fails": HTTPError(503)}, "lazy": {"fails": TimeoutError()}}))
    assert attempts(message) == [("digits", "HTTPError"), ("lazy", "TimeoutError"), ("words", None)]


async def test_async_falls_back_alike():
    llm = make({"digits": {"fails": HTTPError(429)}})
    assert attempts(await llm.ainvoke("7")) == [("digits", "HTTPError"), ("lazy", None)]
    assert attempts(sum_of([c async for c in llm.astream("7")])) == [("digits", "HTTPError"), ("lazy", None)]


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_without_fallbacks_the_failure_is_raised(ask):
    with pytest.raises(HTTPError):
        ask(make({"digits": {"fails": HTTPError(429)}}, fallbacks=None))


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_the_last_failure_is_raised_when_all_fail(ask):
    everyone = {name: {"fails": HTTPError(500 + i)} for i, name in enumerate(("digits", "lazy", "words"))}
    with pytest.raises(HTTPError, match="502"):
        ask(make(everyone))


@pytest.mark.parametrize("error", [HTTPError(400), HTTPError(401), ValueError("bad schema")])
def test_a_rejected_request_is_not_sent_on(error):
    with pytest.raises(type(error)):
        make({"digits": {"fails": error}}).invoke("7")


def test_the_caller_may_say_what_is_worth_another_candidate():
    llm = make({"digits": {"fails": ValueError("bad schema")}}, fallback_on=lambda error: isinstance(error, ValueError))
    assert attempts(llm.invoke("7")) == [("digits", "ValueError"), ("lazy", None)]


def test_a_forced_candidate_has_no_fallback():
    with pytest.raises(HTTPError):
        make({"lazy": {"fails": HTTPError(429)}}).invoke("7", model="lazy")


def test_default_and_sticky_candidates_have_one():
    llm = make({"lazy": {"fails": HTTPError(429)}}, default="lazy")
    llm.router.predictor.error = RuntimeError("boom")
    assert attempts(llm.invoke("7")) == [("lazy", "HTTPError"), ("digits", None)]


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_a_candidate_that_the_policy_rules_out_is_no_fallback(ask):
    llm = make({"digits": {"fails": HTTPError(429)}}, policy=Restricted(deny=["lazy"]))
    message = ask(llm)
    assert attempts(message) == [("digits", "HTTPError"), ("words", None)]
    record = message.response_metadata["lookahead_router"]
    assert record["excluded"] == {"lazy": "is on the deny list"}
    assert set(record["scores"]) == {"digits", "words", "lazy"}
    assert record["ranking"] == ["digits", "words"]


def test_nor_is_it_one_where_the_predictor_fails_or_a_thread_would_stay_with_it():
    failing = {name: {"fails": HTTPError(429)} for name in ("digits", "words")}
    llm = make(failing, policy=Restricted(deny=["lazy"]), default="digits")
    llm.router.predictor.error = RuntimeError("boom")
    with pytest.raises(HTTPError):
        llm.invoke("7")
    assert [len(llm.candidates[name].calls) for name in ("digits", "words", "lazy")] == [1, 1, 0]
    threads = {"t": "lazy"}
    llm = make({}, policy=Restricted(deny=["lazy"]), sticky="thread", threads=threads)
    assert llm.invoke("7", {"configurable": {"thread_id": "t"}}).text == "digits: 7"


def test_without_a_router_to_ask_a_policy_leaves_the_default_alone(tmp_path):
    models = rule_models()
    models["digits"] = models["digits"].model_copy(update={"fails": HTTPError(429)})
    options = {"candidates": models, "router": tmp_path / "nowhere", "default": "digits", "fallbacks": "next-best"}
    assert ChatLookaheadRouter(**options).invoke("7").text == "words: 7"
    with pytest.raises(HTTPError):
        ChatLookaheadRouter(**options, policy=Restricted(deny=["words"])).invoke("7")


def test_a_stream_that_breaks_is_raised_and_not_begun_again():
    llm = make({"digits": {"breaks_after": 2}})
    stream = llm.stream("7 dwarfs live here")
    assert [next(stream).text, next(stream).text] == ["digits:", " 7"]
    with pytest.raises(ConnectionError):
        next(stream)
    assert len(llm.candidates["lazy"].calls) == 0


async def test_an_async_stream_that_breaks_is_raised_and_not_begun_again():
    llm = make({"digits": {"breaks_after": 2}})
    stream = llm.astream("7 dwarfs live here")
    assert [(await anext(stream)).text, (await anext(stream)).text] == ["digits:", " 7"]
    with pytest.raises(ConnectionError):
        await anext(stream)
    assert len(llm.candidates["lazy"].calls) == 0


def test_each_attempt_is_a_run_that_knows_what_failed_before():
    class Runs(BaseCallbackHandler):
        def __init__(self):
            self.records, self.errors = [], []

        def on_chat_model_start(self, serialized, messages, *, metadata, **kwargs):
            self.records.append(metadata["lookahead_router"])

        def on_llm_error(self, error, **kwargs):
            self.errors.append(error)

    runs = Runs()
    make({"digits": {"fails": HTTPError(429)}}).invoke("7", {"callbacks": [runs]})
    assert [[a["candidate"] for a in record["attempts"]] for record in runs.records] == [
        ["digits"],
        ["digits", "lazy"],
    ]
    assert len(runs.errors) == 1


class Response:
    def __init__(self, status_code):
        self.status_code = status_code


def error_with(**attributes):
    error = RuntimeError("x")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionResetError(),
        HTTPError(429),
        HTTPError(529),
        error_with(code=503),
        error_with(response=Response(500)),
        error_with(response={"ResponseMetadata": {"HTTPStatusCode": 429}}),
        error_with(is_retryable=True),
        type("ClientConnectionError", (Exception,), {"code": 1006})(),  # a websocket's number, no status
        type("APITimeoutError", (type("APIConnectionError", (Exception,), {}),), {})(),
    ],
)
def test_failures_of_the_moment(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error", [HTTPError(400), HTTPError(404), error_with(code="rate"), ValueError(), error_with(status_code=True)]
)
def test_failures_of_the_request(error):
    assert not is_transient(error)
