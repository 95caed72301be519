"""Dispatching among whatever names an application has; foreseen by the toy of a predictor for any pool."""

import pickle
import threading
import warnings

import pytest
from dispatching import RulePredictor
from predictors.open_world import make_predictor

from lookahead_router import Candidate, CostAware, Dispatcher, KeepQuality, Router
from lookahead_router.errors import (
    ConfigurationError,
    DataError,
    PromptError,
    UnknownCandidateError,
    UnknownProfileWarning,
)


@pytest.fixture
def router():
    return Router(make_predictor())


def how(dispatcher) -> dict[str, str]:
    return {member.candidate.name: member.match.how for member in dispatcher.router.predictor.members}


def scores(dispatcher, text="one two"):
    return dispatcher.plan(text).record["scores"]


def test_names_that_the_pool_lacks_join(router):
    dispatcher = Dispatcher(router, ["openai/gpt-4o", "llama-3.1-8b-instruct"])
    assert dispatcher.router.pool.names == ("llama-3.1-8b-instruct", "openai/gpt-4o")
    assert how(dispatcher)["openai/gpt-4o"] == "newest"
    assert scores(dispatcher)["openai/gpt-4o"] == scores(Dispatcher(router, ["gpt-4o-2024-11-20"]))["gpt-4o-2024-11-20"]


def test_the_order_of_candidates_and_who_else_is_there_do_not_move_the_numbers(router):
    names = ["claude-sonnet-4", "gpt-5", "llama-3.1-8b-instruct"]
    one, other = (scores(Dispatcher(router, each)) for each in (names, names[::-1]))
    assert one == other
    assert scores(Dispatcher(router, names[:1])) == {names[0]: one[names[0]]}


def test_an_unknown_name_warns_once_and_works(router):
    with pytest.warns(UnknownProfileWarning, match="nothing is known of qqq"):
        Dispatcher(router, ["gpt-5", "qqq"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Dispatcher(router, ["gpt-5", "qqq"])
    assert again.plan("one two").name in ("gpt-5", "qqq")


def test_a_profile_is_given_and_stays_when_it_is_given_again(router):
    dispatcher = Dispatcher(router, ["gpt-5", "mine"], profiles={"mine": "llama-3.1-8b-instruct"})
    assert how(dispatcher)["mine"] == "given"
    dispatcher.observe("one two", "mine", 0.0)
    again = Dispatcher(dispatcher.base, ["gpt-5", "mine"], profiles={"mine": "llama-3.1-8b-instruct"})
    assert scores(again) == scores(dispatcher)


def test_a_profile_goes_before_the_one_of_the_pool(router):
    names = ["gpt-4o-2024-08-06", "gpt-5"]
    dispatcher = Dispatcher(router, names, profiles={names[0]: "gpt-4o-2024-11-20"})
    assert how(dispatcher)[names[0]] == "given"
    assert scores(dispatcher)[names[0]] != scores(Dispatcher(router, names))[names[0]]


def test_aliases_join_as_well(router):
    aliases = {"gpt-5": "smart", "own": Candidate(name="cheap", usd_per_call=0.0)}
    with pytest.warns(UnknownProfileWarning, match="own"):
        dispatcher = Dispatcher(router, ["smart", "cheap"], aliases=aliases, quality=0.5)
    assert dispatcher.router.pool["cheap"].usd_per_call == 0.0
    assert scores(dispatcher)["smart"] == scores(Dispatcher(router, ["gpt-5"]))["gpt-5"]
    dispatcher.observe("one two", "smart", 1.0)
    assert dispatcher.router.pool.names == ("smart", "cheap")


def test_quality_is_a_policy(router):
    names = ["gpt-5", "llama-3.1-8b-instruct"]
    assert Dispatcher(router, names, quality=0.9).router.policy == KeepQuality(0.9)
    assert Dispatcher(router, names, quality=0.0).plan("one two").name == "llama-3.1-8b-instruct"


@pytest.mark.parametrize(
    ("names", "options", "error", "words"),
    [
        (["gpt-5"], {"quality": 0.9, "policy": CostAware(1.0)}, ConfigurationError, "one of quality and policy"),
        (["gpt-5"], {"quality": 1.5}, ConfigurationError, r"\[0, 1\]"),
        (["gpt-5", "qqq"], {"quality": 0.9}, ConfigurationError, "missing: qqq"),
        (["gpt-5"], {"profiles": {"mine": "gpt-5"}}, UnknownCandidateError, "'mine'"),
        (["gpt-5", "mine"], {"profiles": {"mine": "qqq"}}, UnknownCandidateError, "'qqq'"),
        ([], {}, ConfigurationError, "no candidate"),
        (["", "gpt-5"], {}, ConfigurationError, "name"),
        ([7], {}, ConfigurationError, "name"),
    ],
)
@pytest.mark.filterwarnings("ignore::lookahead_router.errors.UnknownProfileWarning")
def test_what_is_wrong_with_the_names_is_told_at_once(router, names, options, error, words):
    with pytest.raises(error, match=words):
        Dispatcher(router, names, **options)


def test_a_fixed_pool_takes_no_profiles_and_does_not_learn():
    router = Router(RulePredictor())
    with pytest.raises(ConfigurationError, match="fixed by its training"):
        Dispatcher(router, ["lazy"], profiles={"lazy": "gpt-5"})
    with pytest.raises(ConfigurationError, match="cannot observe"):
        Dispatcher(router).observe("7", "lazy", 1.0)


def test_feedback_moves_the_one_who_answered(router):
    dispatcher = Dispatcher(router, ["gpt-5", "llama-3.1-8b-instruct"])
    before = scores(dispatcher)
    learnt = dispatcher.observe("one two", "gpt-5", 0.0)
    after = scores(dispatcher)
    assert learnt is dispatcher.router
    assert after["gpt-5"] < before["gpt-5"]
    assert after["llama-3.1-8b-instruct"] == before["llama-3.1-8b-instruct"]
    assert scores(Dispatcher(router, ["gpt-5"]))["gpt-5"] == before["gpt-5"]


@pytest.mark.parametrize(
    ("feedback", "error"),
    [
        (("one", "nobody", 1.0), UnknownCandidateError),
        (("one", "gpt-5", 1.5), DataError),
        (("one", "gpt-5", float("nan")), DataError),
        (("one", "gpt-5", "good"), DataError),
        (("one", "gpt-5", True), DataError),
        (("   ", "gpt-5", 1.0), PromptError),
        ([[], "gpt-5", 1.0], PromptError),
    ],
)
def test_feedback_that_cannot_be_learnt_from_changes_nothing(router, feedback, error):
    dispatcher = Dispatcher(router, ["gpt-5"])
    before = dispatcher.router
    with pytest.raises(error):
        dispatcher.observe(*feedback)
    assert dispatcher.router is before


def test_no_feedback_is_lost_under_threads(router):
    dispatcher = Dispatcher(router, ["gpt-5"])
    n_before = dispatcher.router.predictor.members[-1].profile.n_answers
    threads = [threading.Thread(target=dispatcher.observe, args=("one two", "gpt-5", 1.0)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dispatcher.router.predictor.members[-1].profile.n_answers == n_before + 16


def test_what_was_learnt_is_pickled_and_what_was_not_is_loaded_again(router, monkeypatch):
    """Pickled by hand here, since the toy comes from no folder."""
    monkeypatch.setattr("lookahead_router.dispatch.sources._load", lambda location, revision: router)
    dispatcher = Dispatcher("anywhere", ["gpt-5"])
    assert dispatcher.__getstate__()["_routers"] is None
    assert scores(pickle.loads(pickle.dumps(dispatcher))) == scores(dispatcher)
    dispatcher.observe("one two", "gpt-5", 0.0)
    assert dispatcher.__getstate__()["_routers"][1] is dispatcher.router
