"""`LookaheadRouter`, alone and in LangChain's own ways of routing."""

import copy
import json
import pickle
import threading

import pytest
from fakes import RulePredictor, priced_router, rule_models, rule_router
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.runnables.router import RouterRunnable
from lookahead_router import Candidate, CostAware, Router
from lookahead_router.errors import ConfigurationError, PromptError, UnknownCandidateError

from langchain_lookahead_router import LookaheadRouter


@pytest.mark.parametrize(
    "value",
    [
        "What is 2 + 2?",
        ChatPromptTemplate.from_template("What is {a} + 2?").invoke({"a": 2}),
        [HumanMessage("What is 2 + 2?")],
        HumanMessage("What is 2 + 2?"),
        [("system", "Be brief."), ("human", "What is 2 + 2?")],
        {"messages": [SystemMessage("Be brief."), HumanMessage("What is 2 + 2?"), AIMessage("4")]},
        [HumanMessage([{"type": "text", "text": "What is 2 + 2?"}])],
    ],
)
def test_every_form_of_prompt_gives_the_same_decision(value):
    decision = LookaheadRouter(rule_router()).invoke(value)
    assert decision["candidate"] == "digits"
    assert decision["scores"] == {"digits": 0.9, "words": 0.2, "lazy": 0.5}
    assert decision["ranking"] == ["digits", "lazy", "words"]
    assert decision["margin"] == pytest.approx(0.4)


def test_the_decision_is_plain_json_and_holds_nothing_of_the_prompt():
    decision = LookaheadRouter(rule_router()).invoke("A secret about tulips")
    assert json.loads(json.dumps(decision)) == decision
    assert "tulips" not in json.dumps(decision)


async def test_async_decides_alike_and_off_the_event_loop():
    threads = []

    class Watched(RulePredictor):
        def predict(self, prompts):
            threads.append(threading.current_thread())
            return super().predict(prompts)

    router = LookaheadRouter(Router(Watched()))
    assert (await router.ainvoke("Tulips"))["candidate"] == "words"
    assert threads[0] is not threading.main_thread()


def test_a_policy_and_a_part_of_the_pool_can_be_named():
    router = LookaheadRouter(priced_router(), candidates=["words", "lazy"], policy=CostAware(score_per_usd=1000))
    assert router.invoke("Tulips")["candidate"] == "lazy"
    assert list(router.invoke("Tulips")["scores"]) == ["words", "lazy"]


def test_aliases_name_the_candidates_and_bring_prices():
    aliases = {"words": "openai:gpt-5-mini", "lazy": Candidate(name="cheap", output_usd_per_million_tokens=1.0)}
    assert set(LookaheadRouter(rule_router(), aliases=aliases).invoke("a")["scores"]) == {
        "digits",
        "openai:gpt-5-mini",
        "cheap",
    }


def test_pick_feeds_a_router_runnable():
    models = RouterRunnable(runnables=rule_models())
    chain = RunnableParallel(key=LookaheadRouter(rule_router()).pick("candidate"), input=RunnablePassthrough()) | models
    assert chain.invoke("7 dwarfs").text == "digits: 7 dwarfs"
    assert "".join(chunk.text for chunk in chain.stream("seven dwarfs")) == "words: seven dwarfs"


def test_a_lambda_may_return_the_model_of_the_decision():
    models, router = rule_models(), LookaheadRouter(rule_router())
    chain = RunnableLambda(lambda prompt: models[router.invoke(prompt)["candidate"]])
    assert chain.invoke("7 dwarfs").text == "digits: 7 dwarfs"


def test_batch_and_configurable_fields():
    router = LookaheadRouter(priced_router()).configurable_fields(policy=ConfigurableField(id="policy"))
    assert [d["candidate"] for d in router.batch(["7", "seven"])] == ["digits", "words"]
    thrifty = router.with_config(configurable={"policy": CostAware(score_per_usd=1000)})
    assert thrifty.invoke("7")["candidate"] == "lazy"


def test_the_embedded_predictor_decides_among_its_pool():
    pool = Router.from_pretrained().pool
    assert LookaheadRouter().invoke("Write a haiku about rain.")["candidate"] in pool.names


def test_copies_share_the_weights_and_pickles_decide_alike():
    router = LookaheadRouter(rule_router())
    assert copy.deepcopy(router).router is router.router
    assert pickle.loads(pickle.dumps(router)).invoke("7")["candidate"] == "digits"


@pytest.mark.parametrize("value", ["", "   ", [AIMessage("hi")], [HumanMessage("")], 7, b"x", {"text": "hi"}])
def test_what_cannot_be_routed_is_refused(value):
    with pytest.raises(PromptError):
        LookaheadRouter(rule_router()).invoke(value)


def test_wrong_options_are_told():
    with pytest.raises(ConfigurationError, match="not int"):
        LookaheadRouter(7)
    with pytest.raises(ConfigurationError, match="no revisions"):
        LookaheadRouter(revision="v1")
    with pytest.raises(ConfigurationError, match="leave out"):
        LookaheadRouter(rule_router(), revision="v1")
    with pytest.raises(UnknownCandidateError, match="digit'"):
        LookaheadRouter(rule_router(), candidates=["digit"])
    with pytest.raises(ConfigurationError, match="price"):
        LookaheadRouter(rule_router(), policy=CostAware(score_per_usd=1000))


@pytest.mark.parametrize(
    "options",
    [
        {"context_chars": "600"},
        {"context_chars": True},
        {"context_chars": -1},
        {"candidates": "digits"},
        {"aliases": ["digits"]},
        {"prices": [1.0]},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_what_pydantic_finds_wrong_is_an_error_of_ours_without_the_value(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))) as caught:
        LookaheadRouter(rule_router(), **options)
    assert "input_value" not in str(caught.value)
    assert caught.value.__cause__ is None
