"""What happens when a candidate fails."""

import pytest
from fakes import RuleChatModel, rule_models, rule_router
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from lookahead_router import Restricted

from langchain_lookahead_router import ChatLookaheadRouter


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


def error_with(**attributes):
    error = RuntimeError("x")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


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
    failing = {"digits": {"fails": HTTPError(429)}}
    expected = [("digits", "HTTPError"), ("lazy", None)]
    assert attempts(await make(failing).ainvoke("7")) == expected
    assert attempts(sum_of([c async for c in make(failing).astream("7")])) == expected


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_without_fallbacks_the_failure_is_raised(ask):
    with pytest.raises(HTTPError):
        ask(make({"digits": {"fails": HTTPError(429)}}, fallbacks=None))


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_the_last_failure_is_raised_when_all_fail(ask):
    everyone = {name: {"fails": HTTPError(500 + i)} for i, name in enumerate(("digits", "lazy", "words"))}
    with pytest.raises(HTTPError, match="502"):
        ask(make(everyone))


@pytest.mark.parametrize("error", [HTTPError(400), HTTPError(422), ValueError("bad schema")])
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


def empty(**changes):
    return AIMessageChunk("", **changes)


USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


class Scripted(RuleChatModel):
    """Streams what it is told to, and answers with the same."""

    script: list

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for each in self.script:
            if isinstance(each, Exception):
                raise each
            yield ChatGenerationChunk(message=each)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        message = AIMessage(self.script[0].content, usage_metadata=self.script[0].usage_metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        return self._generate(messages)


def scripted(*script, **options):
    models = {**rule_models(), "digits": Scripted(label="digits", script=list(script))}
    return ChatLookaheadRouter(candidates=models, router=rule_router(), **{"fallbacks": "next-best", **options})


async def streamed(llm, is_async):
    return [c async for c in llm.astream("7")] if is_async else list(llm.stream("7"))


both = pytest.mark.parametrize("is_async", [False, True])
BLANK = [
    empty(),
    empty(id="a role alone"),
    AIMessageChunk([{"type": "text", "text": "", "index": 0}]),
    empty(response_metadata={"model_name": "digits"}),
    empty(usage_metadata={"input_tokens": 3, "output_tokens": 0, "total_tokens": 3}),
    AIMessageChunk("\n\n"),
    AIMessageChunk([{"type": "reasoning", "id": "rs_1", "summary": [], "status": "in_progress", "index": 0}]),
    AIMessageChunk([{"type": "thinking", "thinking": "", "signature": "", "index": 0}]),
    empty(additional_kwargs={"reasoning_content": "\n", "refusal": None, "parsed": None}),
]


@both
@pytest.mark.parametrize("blank", BLANK, ids=range(len(BLANK)))
async def test_a_stream_that_breaks_before_it_shows_anything_goes_to_the_next_best(blank, is_async):
    chunks = await streamed(scripted(blank, blank, ConnectionError("gone")), is_async)
    assert sum_of(chunks).text == "lazy: 7"
    assert attempts(sum_of(chunks)) == [("digits", "ConnectionError"), ("lazy", None)]


SHOWN = [
    AIMessageChunk("some"),
    AIMessageChunk([{"type": "thinking", "thinking": "hm", "index": 0}]),
    empty(additional_kwargs={"reasoning_content": "hm"}),
    empty(tool_call_chunks=[{"name": "add", "args": "", "id": "1", "index": 0, "type": "tool_call_chunk"}]),
]


@both
@pytest.mark.parametrize("shown", SHOWN, ids=range(len(SHOWN)))
async def test_a_stream_that_breaks_after_it_has_shown_something_is_raised(shown, is_async):
    with pytest.raises(ConnectionError):
        await streamed(scripted(empty(), shown, ConnectionError("gone")), is_async)


@both
async def test_a_candidate_whose_streams_break_in_the_middle_is_asked_last_for_a_while(is_async):
    llm = scripted(AIMessageChunk("some"), TimeoutError())
    with pytest.raises(TimeoutError):
        await streamed(llm, is_async)
    assert attempts(sum_of(await streamed(llm, is_async))) == [("lazy", None)]


@both
async def test_chunks_held_back_are_passed_on_and_the_record_stands_in_the_first(is_async):
    llm = scripted(empty(id="x"), empty(id="x"), AIMessageChunk("some", id="x"), empty(id="x", usage_metadata=USAGE))
    chunks = await streamed(llm, is_async)
    assert [chunk.text for chunk in chunks[:4]] == ["", "", "some", ""]
    assert ["lookahead_router" in chunk.response_metadata for chunk in chunks[:4]] == [True, False, False, False]
    assert sum_of(chunks).usage_metadata["output_tokens"] == 2


@both
async def test_an_error_in_the_body_of_a_stream_is_judged_by_what_it_says(is_async):
    overload = error_with(status_code=200, body={"type": "error", "error": {"type": "overloaded_error"}})
    assert sum_of(await streamed(scripted(empty(), overload), is_async)).text == "lazy: 7"


@both
async def test_an_empty_answer_is_none_and_one_that_counts_tokens_is_one(is_async):
    assert sum_of(await streamed(scripted(empty(), empty()), is_async)).text == "lazy: 7"
    assert sum_of(await streamed(scripted(), is_async)).text == "lazy: 7"
    counted = scripted(empty(usage_metadata=USAGE))
    assert attempts(sum_of(await streamed(counted, is_async))) == [("digits", None)]
    for llm, text in ((scripted(empty()), "lazy: 7"), (counted, "")):
        assert (await llm.ainvoke("7") if is_async else llm.invoke("7")).text == text


def test_an_empty_answer_is_passed_on_where_nobody_else_is_to_be_asked():
    llm = scripted(empty(), fallbacks=None)
    assert llm.invoke("7").text == ""
    assert sum_of(list(llm.stream("7"))).text == ""
    assert attempts(llm.invoke("7")) == [("digits", "NoAnswerError")]
    with pytest.raises(Exception, match="No generation chunks"):
        list(scripted(fallbacks=None).stream("7"))


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_a_candidate_in_its_cooldown_is_not_asked_again_at_every_call(ask):
    llm = make({"digits": {"fails": TimeoutError()}})
    ask(llm)
    message = ask(llm)
    assert attempts(message) == [("lazy", None)]
    assert message.response_metadata["lookahead_router"]["cooling"] == {"digits": "timeout"}
    assert len(llm.candidates["digits"].calls) == 1


def test_the_last_error_tells_who_had_failed_before():
    with pytest.raises(HTTPError) as raised:
        make({name: {"fails": HTTPError(500 + i)} for i, name in enumerate(("digits", "lazy", "words"))}).invoke("7")
    assert "digits (server error), lazy (server error)" in raised.value.__notes__[0]
