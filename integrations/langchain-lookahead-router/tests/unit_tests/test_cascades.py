"""Cascades: several candidates are asked, one answer is taken, and streams show that one alone."""

import asyncio

import numpy as np
import pytest
from fakes import NAMES, RuleChatModel, rule_models, rule_router
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from lookahead_router import CandidatePool, Cascade, OwnCheck, Prediction, Reliability, Router
from lookahead_router.errors import ConfigurationError
from servers.openai_server import Reply

from langchain_lookahead_router import ChatLookaheadRouter

GOOD = OwnCheck(lambda question, text: "good" in text, Reliability(0.95, 0.05), name="good")


class Flat:
    name, revision = "flat", "1"
    pool = CandidatePool([{"name": name, "usd_per_call": usd} for name, usd in zip(NAMES, (1, 10, 50), strict=True)])

    def predict(self, prompts):
        return Prediction(self.pool, np.tile([0.7, 0.9, 0.5], (len(prompts), 1)))


class Says(RuleChatModel):
    says: str = ""

    def _reply(self, messages, kwargs):
        super()._reply(messages, kwargs)
        return Reply(self.says)


def make(cascade=None, changes=None, **says):
    models = {name: Says(label=name, says=says.get(name, "bad"), **(changes or {}).get(name, {})) for name in NAMES}
    cascade = Cascade([GOOD], 0.01) if cascade is None else cascade
    return ChatLookaheadRouter(candidates=models, router=Router(Flat()), cascade=cascade)


def sum_of(chunks):
    first, *others = chunks
    return first + others


async def alist(chunks):
    return [chunk async for chunk in chunks]


ASK = {
    "invoke": lambda llm: llm.invoke("x"),
    "ainvoke": lambda llm: asyncio.run(llm.ainvoke("x")),
    "stream": lambda llm: sum_of(list(llm.stream("x"))),
    "astream": lambda llm: sum_of(asyncio.run(alist(llm.astream("x")))),
    "generate": lambda llm: llm.generate([llm._convert_input("x").to_messages()]).generations[0][0].message,
}
every_way = pytest.mark.parametrize("ask", ASK.values(), ids=ASK)


def record(message):
    return message.response_metadata["lookahead_router"]


@every_way
def test_a_good_answer_of_the_cheap_one_ends_it(ask):
    llm = make(digits="a good one")
    message = ask(llm)
    assert message.text == "a good one"
    assert record(message)["cascade"]["accepted"] == "digits"
    assert llm.candidates["words"].calls == []


@every_way
def test_a_bad_answer_is_followed_by_the_next_and_only_that_is_shown(ask):
    message = ask(make(digits="bad one", words="a good one"))
    assert message.text == "a good one"
    assert [each["candidate"] for each in record(message)["attempts"]] == ["digits", "words"]
    assert record(message)["candidate"] == record(message)["cascade"]["accepted"] == "words"
    assert record(message)["cascade"]["hops"][0]["output_tokens"] == 2


@every_way
def test_an_answer_in_hand_is_given_where_the_next_fails(ask):
    message = ask(make(digits="bad one", changes={"words": {"fails": ConnectionError("x")}}))
    assert message.text == "bad one"
    assert record(message)["candidate"] == "digits"
    assert [each["error"] for each in record(message)["attempts"]] == [None, "ConnectionError"]


@every_way
def test_an_empty_answer_is_no_answer(ask):
    message = ask(make(digits="bad one", words=""))
    assert message.text == "bad one"
    with pytest.raises(ConnectionError):
        ask(make(changes={"digits": {"fails": ConnectionError("x")}}))


def test_a_stream_comes_as_it_is_where_no_check_could_change_a_thing():
    weak = OwnCheck(lambda question, text: False, Reliability(0.55, 0.5))
    llm = make(Cascade([weak], 10), digits="one two three")
    chunks = llm.stream("x")
    assert isinstance(next(chunks), AIMessageChunk)
    llm = make(Cascade([weak], 10), digits="one two three", changes={"digits": {"breaks_after": 1}})
    with pytest.raises(ConnectionError):
        list(llm.stream("x"))


def test_a_stream_that_breaks_before_it_was_shown_leaves_the_answer_in_hand():
    llm = make(digits="bad one", words="x y z", changes={"words": {"breaks_after": 2}})
    llm.cascade = Cascade([GOOD], 0.0, max_calls=3, order=NAMES)
    assert sum_of(list(llm.stream("x"))).text == "bad one"


def test_tools_structured_output_and_forced_calls_are_no_cascades():
    llm = make()
    assert "cascade" not in record(llm.invoke("x", model="digits"))
    bound = llm.bind_tools([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])
    assert "cascade" not in record(bound.invoke("x"))


def test_every_call_is_a_run_of_its_own():
    starts = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args, **kwargs):
            starts.append(kwargs.get("metadata", {}).get("lookahead_router", {}).get("candidate"))

    make(words="good").invoke("x", {"callbacks": [Handler()]})
    assert starts == ["digits", "words"]


def test_what_is_wrong_with_a_cascade_is_said_when_the_model_is_built():
    with pytest.raises(ConfigurationError, match="cascade must be Cascade"):
        make("agreement")
    with pytest.raises(ConfigurationError, match="missing"):
        ChatLookaheadRouter(candidates=rule_models(), router=rule_router(), cascade=Cascade([GOOD], 1))


def test_the_accepted_message_keeps_its_own_usage():
    message = make(words="a good one").invoke("x")
    assert isinstance(message, AIMessage)
    assert message.usage_metadata["output_tokens"] == 3
    assert [hop["output_tokens"] for hop in record(message)["cascade"]["hops"]] == [1, 3]
