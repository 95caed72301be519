"""Routes in plain words: what belongs to one goes to its candidates."""

import pytest
from dispatching import RulePredictor
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from lookahead_router import Privacy, Router
from lookahead_router.errors import PrivacyError, UnknownCandidateError
from routes.axes import AxesEmbedder, routes

from llama_index.llms.lookahead_router import LookaheadRouterLLM


def make(*names, **options):
    llms = {name: MockLLM() for name in names or ("digits", "words", "lazy")}
    return LookaheadRouterLLM(llms, Router(RulePredictor()), routes=routes().fit(AxesEmbedder()), **options)


def record(response):
    return response.additional_kwargs["lookahead_router"]


def test_a_call_goes_by_its_route_and_the_record_says_so():
    llm = make()
    assert [record(llm.complete(text))["candidate"] for text in ("code 7", "law 7", "tulips 7")] == [
        "lazy",
        "lazy",
        "digits",
    ]
    assert record(llm.complete("code 7"))["route"] == "code"
    llm.default = "words"  # the dispatcher is made again
    assert record(llm.complete("code 7"))["route"] == "code"


def test_a_follow_up_keeps_the_route():
    said = [
        ChatMessage(role="user", content="write code that sorts a list of 7 names"),
        ChatMessage(role="assistant", content="done"),
        ChatMessage(role="user", content="and in Rust?"),
    ]
    assert record(make().chat(said))["route"] == "code"


def test_a_candidate_that_is_none_is_an_error_when_the_llm_is_built():
    with pytest.raises(UnknownCandidateError):
        make("digits", "words")


def test_personal_data_goes_to_local_candidates_or_to_nobody():
    llm = LookaheadRouterLLM(
        {name: MockLLM() for name in ("digits", "words", "lazy")},
        Router(RulePredictor()),
        privacy=Privacy(local=["lazy"]),
        default="digits",
        fallbacks="next-best",
    )
    assert record(llm.complete("mail anna@post.de 7"))["candidate"] == "lazy"
    assert record(llm.complete("7"))["candidate"] == "digits"
    said = [ChatMessage(role="user", content="mail anna@post.de"), ChatMessage(role="assistant", content="done")]
    assert record(llm.chat([*said, ChatMessage(role="user", content="What is the root of 49?")]))["candidate"] == "lazy"
    llm.sticky = "turn"  # the dispatcher is made again
    assert record(llm.complete("mail anna@post.de 7"))["candidate"] == "lazy"
    for call in (llm.complete, llm.stream_complete):
        with pytest.raises(PrivacyError):
            list(call("mail anna@post.de 7", candidate="digits"))
