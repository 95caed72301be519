"""The usual policy: a workhorse for ordinary prompts, on made predictions and on the embedded weights."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from lookahead_router import (
    BestQuality,
    Candidate,
    CandidatePool,
    Dispatcher,
    KeepQuality,
    Prediction,
    Restricted,
    Route,
    Router,
    Routes,
    Workhorse,
)
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import CheckpointError, ConfigurationError, UnknownCandidateError
from lookahead_router.evaluation.audit import audit
from lookahead_router.evaluation.audit_suite import read_suite
from lookahead_router.policies import check_policy, rename
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.predictors.profiles import Foreseen
from lookahead_router.routes.definition import Match
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.workhorse import usual_policy

BARS = ("typos", "case", "whitespace", "boilerplate", "templates", "upgrades")
HARD = "Prove that there are infinitely many primes of the form 4k + 3."


def pool_of(**usd) -> CandidatePool:
    return CandidatePool(Candidate(name=name, usd_per_call=each) for name, each in usd.items())


def chosen(policy, pool, *scores) -> str:
    prediction = Prediction(pool, np.array([scores]))
    return pool.names[int(policy.utilities(prediction, pool)[0].argmax())]


ABC = pool_of(a=1.0, b=0.1, c=0.01)


def test_it_answers_unless_another_is_better_by_more_than_the_gain():
    policy = Workhorse("b", gain=0.05)
    assert chosen(policy, ABC, 0.84, 0.80, 0.1) == "b"
    assert chosen(policy, ABC, 0.86, 0.80, 0.1) == "a"
    assert chosen(Workhorse("b", gain=0.0), ABC, 0.81, 0.80, 0.1) == "a"


def test_the_next_in_line_takes_its_place_where_it_may_not_be_chosen():
    policy = Workhorse("b", instead=["c", "a"])
    assert chosen(Restricted(policy, deny=["b"]), ABC, 0.80, 0.99, 0.79) == "c"
    assert chosen(Restricted(policy, deny=["b", "c"]), ABC, 0.80, 0.99, 0.79) == "a"
    assert chosen(Restricted(Workhorse("b"), deny=["b"]), ABC, 0.80, 0.99, 0.79) == "a"


def test_names_follow_a_pool_and_unknown_ones_are_errors():
    policy = Workhorse("b", instead=["c"])
    assert rename(policy, ABC, {"a": "x", "c": "z"}) == Workhorse("z")
    assert rename(policy, ABC, {"a": "x"}) == BestQuality()
    for wrong in (Workhorse("d"), Workhorse("a", instead=["d"]), Restricted(Workhorse("d"), deny=["a"])):
        with pytest.raises(UnknownCandidateError, match="'d'"):
            check_policy(wrong, ABC)


@pytest.mark.parametrize(
    "arguments",
    [{"gain": 1.1}, {"gain": -0.1}, {"gain": float("nan")}, {"gain": True}, {"instead": "b"}, {"instead": [1]}],
)
def test_settings_that_cannot_be_are_errors(arguments):
    with pytest.raises(ConfigurationError):
        Workhorse("a", **arguments)
    with pytest.raises(ConfigurationError):
        Workhorse("")


def test_it_is_a_value_that_says_its_name():
    policy = Workhorse("a", instead=["b"])
    assert pickle.loads(pickle.dumps(policy)) == policy != Workhorse("a")
    assert len({policy, Workhorse("a", instead=("b",))}) == 1
    assert repr(policy) == "Workhorse(name='a', gain=0.03)"


def in_general(pool, *scores) -> Prediction:
    return Prediction(pool, np.array([scores]), expected_tokens=np.full((1, 3), 100.0), prompt_tokens=np.array([50.0]))


def test_the_cheapest_of_those_that_are_good_enough_in_general_is_chosen():
    assert usual_policy(in_general(ABC, 0.9, 0.87, 0.6), ABC) == Workhorse("b", instead=["a", "c"])
    assert usual_policy(in_general(ABC, 0.9, 0.85, 0.6), ABC) == Workhorse("a", instead=["b", "c"])
    assert usual_policy(in_general(ABC, 0.6, 0.6, 0.6), ABC) == Workhorse("c", instead=["b", "a"])


def test_without_a_price_or_without_knowledge_the_best_is_chosen():
    unpriced = CandidatePool([*ABC.subset(["a", "b"]), Candidate(name="c")])
    assert usual_policy(in_general(unpriced, 0.9, 0.87, 0.6), unpriced) == BestQuality()
    assert usual_policy(None, ABC) == BestQuality()


@pytest.fixture(scope="module")
def router():
    return Router.from_pretrained()


def test_the_default_pool_has_one_and_it_leaves_hard_prompts_to_others(router):
    assert router.policy == Workhorse(
        "gpt-4o-mini",
        instead=["deepseek-r1", "gpt-4o", "gemini-2.5-pro", "claude-sonnet-4", "llama-3.1-8b-instruct"],
    )
    for prompt in ("hi", "Plan a weekend in Rome.", "Écris un haïku sur la mer.", "hola, ¿qué tal?"):
        assert router.route(prompt).name == "gpt-4o-mini"
    hard = router.route(HARD)
    assert hard.name != "gpt-4o-mini"
    assert hard.probabilities[hard.name] > hard.probabilities["gpt-4o-mini"] + 0.03
    assert hard.policy == "Workhorse(name='gpt-4o-mini', gain=0.03)"


def test_ordinary_prompts_are_foreseen_as_any_others_are(router):
    predictor, population = router.predictor, router.predictor.population
    *demands, difficulty, log_tokens, verbosity, tokens = population.ordinary.T
    among = np.repeat(population.anchors[:1].astype(float), len(tokens), axis=0)
    foreseen = Foreseen(np.stack(demands, axis=1), difficulty, log_tokens, verbosity, among)
    profiles = [member.profile for member in predictor.members]
    general = predictor.in_general
    np.testing.assert_allclose(general.scores[0], population.predict(foreseen, profiles)[0].mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(
        general.expected_tokens[0], population.expected_tokens(foreseen, profiles).mean(axis=0), rtol=1e-9
    )
    assert general.prompt_tokens[0] == pytest.approx(tokens.mean())


def test_it_is_chosen_anew_with_every_pool_and_price(router):
    assert router.restrict_to(["gpt-4o", "llama-3.1-8b-instruct"]).policy == Workhorse(
        "gpt-4o", instead=["llama-3.1-8b-instruct"]
    )
    free = router.with_prices({"claude-sonnet-4": (0.0, 0.0)})
    assert free.policy.name == free.route("hi").name == "claude-sonnet-4"
    assert router.with_aliases({"gpt-4o-mini": "mine"}).policy.name == "mine"
    assert router.with_candidates(["gpt-5", "gpt-5-mini", "gpt-4o"]).policy.name == "gpt-5-mini"
    assert Router.from_pretrained(candidates=["llama-3.1-8b-instruct", "gemma-2-9b-it"]).policy == BestQuality()


def test_a_policy_of_ones_own_stays(router):
    own = router.with_policy(Workhorse("gpt-4o", gain=0.1))
    assert own.restrict_to(["gpt-4o", "deepseek-r1"]).policy == Workhorse("gpt-4o", gain=0.1)
    assert own.with_prices({"gpt-4o": 1.0}).policy == own.policy
    assert own.with_policy(None).policy == router.policy
    assert Router.from_pretrained(quality=0.9).restrict_to(["gpt-4o"]).policy == KeepQuality(0.9)
    with pytest.raises(UnknownCandidateError):
        router.with_policy(Workhorse("gpt-5"))


def test_answers_of_ones_own_may_change_it(router):
    failed = [
        RoutingExample(f"Question {n}: what is the capital of country {n}?", {"gpt-4o-mini": Outcome(score=0.0)})
        for n in range(60)
    ]
    learnt = router.onboard(RoutingDataset.from_examples(failed))
    assert learnt.policy.name != "gpt-4o-mini"


def test_it_travels_with_save_and_pickle_and_older_folders_choose_the_best(router, tmp_path):
    router.save(tmp_path / "new")
    assert Router.from_pretrained(tmp_path / "new").policy == router.policy
    assert pickle.loads(pickle.dumps(router)).policy == router.policy
    predictor = OpenPoolPredictor.load(tmp_path / "new")
    predictor.population = replace(predictor.population, ordinary=None)
    predictor.save(tmp_path / "old")
    with np.load(tmp_path / "old" / "profiles.npz") as arrays:
        assert "population.ordinary" not in arrays
    assert Router.from_pretrained(tmp_path / "old").policy == BestQuality()


def test_ordinary_prompts_of_another_network_are_an_error(router, tmp_path):
    router.save(tmp_path / "folder")
    folder = PredictorFolder(tmp_path / "folder")
    with np.load(folder.profiles) as arrays:
        changed = dict(arrays) | {"population.ordinary": np.zeros((5, 7))}
    np.savez(folder.profiles, **changed)
    folder.write(folder.read_config(), folder.read_pool())
    with pytest.raises(CheckpointError, match=r"population\.ordinary has the shape"):
        OpenPoolPredictor.load(folder.path)


def check_audit(candidates, questions) -> None:
    report = audit(Router.from_pretrained(candidates=candidates), questions, n_resamples=10)
    found = {name: report.figures[name].value for name in BARS}
    assert max(found.values()) <= 0.05, found


def test_no_clothes_and_no_padding_move_it():
    english = [replace(question, prompts={"en": question.prompts["en"]}) for question in read_suite()[::3]]
    check_audit(None, english)


@pytest.mark.slow
@pytest.mark.parametrize(
    "candidates",
    [
        None,
        ["gpt-4o", "gpt-4o-mini", "claude-3.5-sonnet", "llama-3.1-8b-instruct", "mistral-7b-instruct"],
        ["o3-mini", "gemini-2.0-flash", "claude-3.7-sonnet", "gpt-4o-mini"],
    ],
    ids=["default", "old and new", "newer"],
)
def test_the_audit_passes(candidates):
    check_audit(candidates, read_suite())


def test_whoever_dispatches_has_one_too():
    dispatcher = Dispatcher(None, ["gpt-4o", "gpt-4o-mini"])
    assert dispatcher.router.policy == Workhorse("gpt-4o-mini", instead=["gpt-4o"])
    plan = dispatcher.plan("hi")
    assert plan.record["policy"] == "Workhorse(name='gpt-4o-mini', gain=0.03)"
    assert plan.record["ranking"][0] == "gpt-4o-mini"
    best = dispatcher.plan("hi", policy=BestQuality())
    assert best.record["policy"] == "BestQuality()"


def test_a_route_admits_whom_it_admits_and_its_first_in_line_answers(router):
    cheap = Route(
        name="chat",
        description="greetings and small talk",
        examples=["hello there", "how are you?", "good morning"],
        candidates=["llama-3.1-8b-instruct", "deepseek-r1"],
    )
    routed = router.with_routes(Routes(routes=[cheap], otherwise=["gpt-4o", "gpt-4o-mini"]))
    within = routed.within(Match("chat"))
    assert within.route("hi").name == "deepseek-r1"
    fewer = within.restrict_to(["llama-3.1-8b-instruct", "gpt-4o"])
    assert fewer.route("hi").name == "llama-3.1-8b-instruct"
    assert routed.within(Match(None)).route("hi").name == "gpt-4o-mini"
