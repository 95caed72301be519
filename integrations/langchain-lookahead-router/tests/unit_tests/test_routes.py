"""Routes in plain words: what belongs to one goes to its candidates, everywhere in the adapter."""

import pickle
from types import SimpleNamespace

import pytest
from dispatching import RulePredictor
from fakes import RuleChatModel
from langchain_core.messages import AIMessage, HumanMessage
from lookahead_router import Privacy, Router
from lookahead_router.errors import PrivacyError, UnknownCandidateError
from routes.axes import AxesEmbedder, routes

from langchain_lookahead_router import ChatLookaheadRouter, LookaheadRouter, LookaheadRouterMiddleware

NAMES = ("digits", "words", "lazy")


def fitted():
    return routes().fit(AxesEmbedder())


def chat(**options):
    models = {name: RuleChatModel(label=name) for name in NAMES}
    return ChatLookaheadRouter(candidates=models, router=Router(RulePredictor()), routes=fitted(), **options)


def record(llm, prompt):
    return llm.invoke(prompt).response_metadata["lookahead_router"]


def test_a_chat_model_answers_by_its_route_and_the_record_says_so():
    assert [record(chat(), text)["candidate"] for text in ("code 7", "law 7", "tulips 7")] == ["lazy", "lazy", "digits"]
    assert record(chat(), "code 7")["route"] == "code"
    assert record(chat(), "tulips")["route"] is None
    again = pickle.loads(pickle.dumps(chat().routes))
    assert record(chat().model_copy(update={"routes": again}), "law")["route"] == "law"


def test_a_follow_up_keeps_the_route():
    said = [HumanMessage("write code that sorts a list of 7 names"), AIMessage("done"), HumanMessage("and in Rust?")]
    assert record(chat(), said)["route"] == "code"


def test_the_decision_alone_and_agents_have_routes_as_well():
    decided = LookaheadRouter(Router(RulePredictor()), routes=fitted()).invoke("law")
    assert (decided["candidate"], decided["route"]) == ("lazy", "law")
    models = {name: RuleChatModel(label=name) for name in NAMES}
    middleware = LookaheadRouterMiddleware(candidates=models, router=Router(RulePredictor()), routes=fitted())
    assert middleware._planner.plan([HumanMessage("law 7")]).record["route"] == "law"


def test_a_candidate_that_is_none_is_an_error_when_the_model_is_built():
    models = {name: RuleChatModel(label=name) for name in NAMES[:2]}
    with pytest.raises(UnknownCandidateError):
        ChatLookaheadRouter(candidates=models, router=Router(RulePredictor()), routes=fitted())


MAIL = "mail anna@post.de 7"


def private(**options):
    models = {name: RuleChatModel(label=name) for name in NAMES}
    return ChatLookaheadRouter(
        candidates=models, router=Router(RulePredictor()), privacy=Privacy(local=["lazy"]), default="digits", **options
    )


def test_personal_data_goes_to_local_candidates_or_to_nobody():
    assert record(private(fallbacks="next-best"), MAIL)["candidate"] == "lazy"
    assert record(private(), MAIL)["private"] == ["e-mail address"]
    assert record(private(), "7")["candidate"] == "digits"
    said = [HumanMessage(MAIL), AIMessage("done"), HumanMessage("What is the root of 49?")]
    assert record(private(), said)["candidate"] == "lazy"
    with pytest.raises(PrivacyError):
        private().invoke(MAIL, model="digits")
    with pytest.raises(PrivacyError):
        list(private().stream(MAIL, model="digits"))


def test_an_agent_leaves_nothing_private_to_its_own_model():
    models = {name: RuleChatModel(label=name) for name in NAMES}
    middleware = LookaheadRouterMiddleware(candidates=models, router=Router(RulePredictor()), privacy=Privacy())

    request = SimpleNamespace(messages=[HumanMessage(MAIL)], state={}, tools=(), response_format=None)
    with pytest.raises(PrivacyError):
        middleware.wrap_model_call(request, lambda request: pytest.fail("somebody was asked"))
    middleware._planner.dispatcher.router.predictor.error = OSError("down")
    request.messages = [HumanMessage("7")]
    with pytest.raises(OSError, match="down"):
        middleware.wrap_model_call(request, lambda request: pytest.fail("somebody was asked"))
