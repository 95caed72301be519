"""`LookaheadDecisionModel`, alone and in LangChain's own router middleware."""

import copy
import pickle
import threading

import pytest

pytest.importorskip("langchain_core.decisions", reason="needs langchain-core 1.8")

from fakes import RuleChatModel, RulePredictor, priced_router, rule_models, rule_router
from langchain.agents import create_agent
from langchain.agents.middleware import ModelChoice, ModelRouterMiddleware
from langchain_core.decisions import Choice, Noul
from langchain_core.messages import AIMessage, HumanMessage
from lookahead_router import CostAware, Restricted, Router
from lookahead_router.errors import CheckpointError, ConfigurationError, PromptError, UnknownCandidateError

from langchain_lookahead_router import LookaheadDecisionModel

WHO = Choice(instructions="Who?", criteria={"fast": {"candidate": "lazy", "cost": 1}, "good": {"candidate": "digits"}})


def ask(state, question=WHO, **options):
    model = LookaheadDecisionModel(**{"router": rule_router(), **options})
    return model.invoke({"state": state, "questions": {"who": question}}).choices["who"]


def test_the_choice_is_the_routers_and_scores_become_probabilities():
    answer = ask("What is 7?")
    assert answer.choice == "good"
    assert answer.probabilities == {"fast": pytest.approx(0.5 / 1.4), "good": pytest.approx(0.9 / 1.4)}
    assert answer.confidence == pytest.approx(0.9)


def test_a_candidate_that_the_policy_excludes_has_no_share():
    answer = ask("What is 7?", policy=Restricted(deny=["digits"]))
    assert (answer.choice, answer.probabilities) == ("fast", {"fast": 1.0, "good": 0.0})


@pytest.mark.parametrize(
    "state",
    [
        HumanMessage("7"),
        [HumanMessage("7"), AIMessage("seven")],
        {"messages": [HumanMessage("7")], "user": "someone"},
        {"deep": [{"deeper": HumanMessage("7")}]},
        {"question": "7", "note": "none"},
        AIMessage("7"),
    ],
)
def test_messages_and_texts_are_found_anywhere_in_the_state(state):
    assert ask(state).choice == "good"


def test_route_on_picks_the_question_out_of_the_state():
    state = {"question": "Who?", "documents": "Chapter 7, 1984"}
    assert ask(state).choice == "good"
    assert ask(state, route_on=lambda state: state["question"]).choice == "fast"
    assert ask(state, route_on=lambda state: None).choice == "good"
    with pytest.raises(ConfigurationError, match="route_on"):
        LookaheadDecisionModel(route_on="question")


def test_wrong_options_are_told_when_the_model_is_built(tmp_path):
    with pytest.raises(CheckpointError):
        LookaheadDecisionModel(router=tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="price"):
        LookaheadDecisionModel(router=rule_router(), policy=CostAware(score_per_usd=1000))


def test_labels_may_be_names_of_candidates():
    answer = ask("seven", Choice(instructions="Who?", criteria={"words": "anything", "lazy": None}))
    assert answer.choice == "words"


async def test_async_and_batch_answer_alike():
    model = LookaheadDecisionModel(router=rule_router())
    request = {"state": "7", "questions": {"who": WHO}}
    assert (await model.ainvoke(request)).choices["who"].choice == "good"
    assert [r.choices["who"].choice for r in model.batch([request, {**request, "state": "x"}])] == ["good", "fast"]


async def test_async_predicts_off_the_event_loop():
    threads = []

    class Watched(RulePredictor):
        def predict(self, prompts):
            threads.append(threading.current_thread())
            return super().predict(prompts)

    await LookaheadDecisionModel(router=Router(Watched())).ainvoke({"state": "7", "questions": {"who": WHO}})
    assert threads[0].name.startswith("lookahead-router")


def test_a_policy_counts():
    assert ask("7", router=priced_router(), policy=CostAware(score_per_usd=1000)).choice == "fast"


def test_what_it_cannot_answer_is_refused():
    with pytest.raises(ConfigurationError, match="Choice only"):
        ask("7", Noul(instructions="Is it?"))
    with pytest.raises(UnknownCandidateError):
        ask("7", Choice(instructions="Who?", criteria={"nobody": None}))
    with pytest.raises(ConfigurationError, match="same candidate"):
        ask("7", Choice(instructions="Who?", criteria={"lazy": None, "fast": {"candidate": "lazy"}}))
    with pytest.raises(PromptError):
        ask({"n": 7})


def test_it_is_the_classifier_of_langchains_own_middleware():
    models = rule_models()
    choices = {
        "fast": ModelChoice(model=models["lazy"], criteria={"candidate": "lazy"}),
        "good": ModelChoice(model=models["digits"], criteria={"candidate": "digits"}),
    }
    classifier = LookaheadDecisionModel(router=rule_router())
    middleware = ModelRouterMiddleware(choices=choices, instructions="Who?", classifier=classifier)
    agent = create_agent(RuleChatModel(label="own"), middleware=[middleware])
    result = agent.invoke({"messages": [HumanMessage("7")]})
    assert result["messages"][-1].text == "digits: 7"
    assert result["model_route"].choice == "good"


def test_copies_and_pickles():
    model = LookaheadDecisionModel(router=rule_router())
    assert copy.deepcopy(model).router is model.router
    request = {"state": "7", "questions": {"who": WHO}}
    assert pickle.loads(pickle.dumps(model)).invoke(request).choices["who"].choice == "good"
