"""Whatever names an application has, and feedback; foreseen by the toy of a predictor for any pool."""

import threading
import warnings

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index.selectors.lookahead_router import LookaheadSelector
from lookahead_router import KeepQuality, Router
from lookahead_router.errors import ConfigurationError, DataError, UnknownCandidateError, UnknownProfileWarning
from predictors.open_world import make_predictor

from llama_index.llms.lookahead_router import LookaheadRouterLLM

PROFILES = {"mine": "llama-3.1-8b-instruct"}
NAMES = ("openai/gpt-4o", "mine")


def make(names=NAMES, **options):
    return LookaheadRouterLLM({name: MockLLM() for name in names}, **{"router": Router(make_predictor()), **options})


def record(llm, prompt="one two"):
    return llm.complete(prompt).additional_kwargs["lookahead_router"]


@pytest.mark.filterwarnings("error::lookahead_router.errors.UnknownProfileWarning")
def test_any_names_are_foreseen_by_their_profiles():
    known = record(make(profiles=PROFILES))["probabilities"]
    plain = record(make(["gpt-4o-2024-11-20", "mine"], profiles=PROFILES))["probabilities"]
    assert known == {"openai/gpt-4o": plain["gpt-4o-2024-11-20"], "mine": plain["mine"]}


def test_an_unknown_name_warns_once_and_works():
    router = Router(make_predictor())
    with pytest.warns(UnknownProfileWarning, match="qqq"):
        llm = make(["gpt-5", "qqq"], router=router)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownProfileWarning)
        llm.default = "qqq"
        assert record(llm)["candidate"] in ("gpt-5", "qqq")


def test_prices_let_quality_choose_among_names_that_nobody_knows():
    prices = {"mine": (0.1, 0.2), "openai/gpt-4o": 1.0}
    assert record(make(profiles=PROFILES, quality=0.0, prices=prices))["candidate"] == "mine"
    dearer = make(profiles=PROFILES, quality=0.0, prices={**prices, "mine": 2.0})
    assert record(dearer)["candidate"] == "openai/gpt-4o"
    dearer.sticky = "turn"  # the dispatcher is made again
    assert record(dearer)["candidate"] == "openai/gpt-4o"
    with pytest.raises(UnknownCandidateError, match="yours"):
        make(profiles=PROFILES, prices={"yours": 1.0})


def test_quality_is_a_policy_and_excludes_another():
    llm = make(["gpt-5", "claude-sonnet-4"], quality=0.0)
    assert record(llm)["candidate"] == "gpt-5"  # the cheaper
    assert llm.routing["policy"] == repr(KeepQuality(0.0))
    with pytest.raises(ConfigurationError, match="one of quality and policy"):
        make(["gpt-5"], quality=0.9, policy=KeepQuality(0.9))
    with pytest.raises(ConfigurationError, match="missing: mine"):
        make(profiles=PROFILES, quality=0.9)
    with pytest.raises(UnknownCandidateError, match="'qqq'"):
        make(profiles={"mine": "qqq"})


def test_feedback_is_known_to_the_next_calls():
    llm = make(profiles=PROFILES)
    before, stored = record(llm)["probabilities"], llm.to_dict()["routing"]["revision"]
    llm.observe([ChatMessage("one two")], "mine", 0.0)
    after = record(llm)["probabilities"]
    assert after["mine"] < before["mine"]
    assert after["openai/gpt-4o"] == before["openai/gpt-4o"]
    assert llm.to_dict()["routing"]["revision"] != stored  # and caches know
    for candidate, score, error in (("nobody", 1.0, UnknownCandidateError), ("mine", 2.0, DataError)):
        with pytest.raises(error):
            llm.observe("one two", candidate, score)
    assert record(llm)["probabilities"] == after


def test_no_feedback_is_lost_while_calls_go_on():
    llm, errors = make(profiles=PROFILES), []

    def use(n):
        try:
            llm.observe("one two", "mine", 1.0) if n % 2 else llm.complete("three")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert {m.candidate.name: m.profile.n_answers for m in llm.router.predictor.members}["mine"] == 8


def test_a_selectors_candidates_are_any_names():
    selector = LookaheadSelector(
        Router(make_predictor()), candidates={"fast": "mine", "smart": "gpt-5"}, profiles=PROFILES
    )
    result = selector.select(["fast", "smart"], "one two")
    assert set(result.scores) == {"mine", "gpt-5"}
    with pytest.raises(UnknownCandidateError, match="'qqq'"):
        LookaheadSelector(Router(make_predictor()), candidates={"fast": "mine"}, profiles={"mine": "qqq"})
