"""Whatever names an application has, and feedback; foreseen by the toy of a predictor for any pool."""

import asyncio
import threading
import warnings

import pytest
from fakes import RuleChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField
from lookahead_router import KeepQuality, Router
from lookahead_router.errors import ConfigurationError, DataError, UnknownCandidateError, UnknownProfileWarning
from predictors.open_world import make_predictor

from langchain_lookahead_router import ChatLookaheadRouter, LookaheadRouter, LookaheadRouterMiddleware

PROFILES = {"mine": "llama-3.1-8b-instruct"}


def models(*names):
    return {name: RuleChatModel(label=name) for name in names or ("openai/gpt-4o", "mine")}


def chat(**options):
    settings = {"candidates": models(), "router": Router(make_predictor()), "profiles": PROFILES}
    return ChatLookaheadRouter(**{**settings, **options})


def record(llm, prompt="one two"):
    return llm.invoke(prompt).response_metadata["lookahead_router"]


@pytest.mark.filterwarnings("error")
def test_any_names_are_foreseen_by_their_profiles():
    known = record(chat())["probabilities"]
    names = ["gpt-4o-2024-11-20", "mine"]
    decided = LookaheadRouter(Router(make_predictor()), candidates=names, profiles=PROFILES).invoke("one two")
    assert known["openai/gpt-4o"] == decided["probabilities"]["gpt-4o-2024-11-20"]
    assert known["mine"] == decided["probabilities"]["mine"]


def test_an_unknown_name_warns_once_and_works():
    router = Router(make_predictor())
    with pytest.warns(UnknownProfileWarning, match="qqq"):
        llm = ChatLookaheadRouter(candidates=models("gpt-5", "qqq"), router=router)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownProfileWarning)
        assert record(llm)["candidate"] in ("gpt-5", "qqq")
        assert record(llm.model_copy(update={"default": "qqq"}))["candidate"] in ("gpt-5", "qqq")
        LookaheadRouterMiddleware(candidates=models("gpt-5", "qqq"), router=router)


def test_quality_is_a_policy_and_excludes_another():
    llm = chat(candidates=models("gpt-5", "claude-sonnet-4"), profiles=None, quality=0.0)
    assert record(llm)["candidate"] == "gpt-5"  # the cheaper
    assert record(llm)["policy"] == repr(KeepQuality(0.0))
    with pytest.raises(ConfigurationError, match="one of quality and policy"):
        chat(quality=0.9, policy=KeepQuality(0.9))
    with pytest.raises(ConfigurationError, match="missing: mine"):
        chat(quality=0.9)


def test_prices_let_quality_choose_among_names_that_nobody_knows():
    prices = {"mine": (0.1, 0.2), "openai/gpt-4o": 1.0}
    assert record(chat(quality=0.0, prices=prices))["candidate"] == "mine"
    assert record(chat(quality=0.0, prices={**prices, "mine": 2.0}))["candidate"] == "openai/gpt-4o"
    options = {"router": Router(make_predictor()), "profiles": PROFILES, "quality": 0.0, "prices": prices}
    assert LookaheadRouter(candidates=list(models()), **options).invoke("one two")["candidate"] == "mine"
    LookaheadRouterMiddleware(candidates=models(), **options)
    with pytest.raises(UnknownCandidateError, match="yours"):
        chat(prices={"yours": 1.0})
    with pytest.raises(ConfigurationError):
        chat(prices={"mine": "cheap"})


def test_a_copy_at_other_prices_is_asked_at_these():
    llm = chat(quality=0.0, prices={"mine": 1.0, "openai/gpt-4o": 2.0})
    assert record(llm)["candidate"] == "mine"
    assert record(llm.model_copy(update={"prices": {"mine": 2.0, "openai/gpt-4o": 1.0}}))["candidate"] != "mine"


@pytest.mark.parametrize("make", [chat, lambda **o: LookaheadRouterMiddleware(**{"candidates": models(), **o})])
def test_a_profile_of_nobody_is_told_at_once(make):
    with pytest.raises(UnknownCandidateError, match="'qqq'"):
        make(router=Router(make_predictor()), profiles={"mine": "qqq"})


def test_feedback_is_known_to_the_next_calls_bindings_and_copies():
    llm = chat(aliases={"gpt-5": "smart"}, candidates=models("smart", "mine"))
    bound = llm.bind(stop=["x"])
    before = record(llm)["probabilities"]
    llm.observe([HumanMessage("one two")], "smart", 0.0)
    after = record(llm)["probabilities"]
    assert after["smart"] < before["smart"]
    assert after["mine"] == before["mine"]
    configurable = llm.configurable_fields(candidate=ConfigurableField(id="who"))
    for other in (bound, llm.model_copy(update={"default": "mine"}), configurable):
        assert record(other)["probabilities"] == after


def test_feedback_that_cannot_be_learnt_from_is_told_and_changes_nothing():
    llm = chat()
    before = llm.router
    for candidate, score, error in (("nobody", 1.0, UnknownCandidateError), ("mine", 2.0, DataError)):
        with pytest.raises(error):
            llm.observe("one two", candidate, score)
    assert llm.router is before


def test_no_feedback_is_lost_while_calls_go_on():
    llm = chat()
    errors = []

    def use(n):
        try:
            llm.observe("one two", "mine", 1.0) if n % 2 else llm.invoke("three")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    learnt = {member.candidate.name: member.profile.n_answers for member in llm.router.predictor.members}
    assert learnt["mine"] == 12


def test_decisions_and_agents_learn_too():
    router = Router(make_predictor())
    decides = LookaheadRouter(router, candidates=["gpt-5"])
    before = decides.invoke("one two")["probabilities"]["gpt-5"]
    asyncio.run(decides.aobserve("one two", "gpt-5", 0.0))
    assert decides.invoke("one two")["probabilities"]["gpt-5"] < before
    agent = LookaheadRouterMiddleware(candidates=models("gpt-5"), router=router)
    agent.observe({"messages": [HumanMessage("one two")]}, "gpt-5", 0.0)
    assert agent.router.route("one two").probabilities == decides.invoke("one two")["probabilities"]


def test_a_decision_model_takes_any_names():
    decisions = pytest.importorskip("langchain_lookahead_router.decisions")
    from langchain_core.decisions import Choice

    model = decisions.LookaheadDecisionModel(
        router=Router(make_predictor()), candidates=["gpt-5", "mine"], profiles=PROFILES
    )
    question = Choice(criteria={"gpt-5": "", "own": {"candidate": "mine"}}, instructions="Who?")
    answer = model._classify({"messages": [HumanMessage("one two")]}, {"who": question}).answers["who"]
    assert set(answer["probabilities"] if isinstance(answer, dict) else answer.probabilities) == {"gpt-5", "own"}
