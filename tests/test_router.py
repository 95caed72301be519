import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    PredictionError,
    PromptError,
    UncalibratedScoresWarning,
    UnknownCandidateError,
)
from lookahead_router.policies import BestQuality, CostAware, Restricted, Threshold
from lookahead_router.predictors.fitted import fitted_class
from lookahead_router.prompts import Request, estimate_tokens, read_request
from lookahead_router.router import Router
from lookahead_router.types import Candidate, CandidatePool, Prediction


class Fixed:
    """A predictor that answers the same scores for every prompt."""

    name, revision = "fixed", "r1"

    def __init__(self, *scores, names=("a", "b", "c")):
        self.pool = CandidatePool(names)
        self.scores = np.array(scores)

    def predict(self, prompts):
        return Prediction(self.pool, np.tile(self.scores, (len(prompts), 1)))


@pytest.fixture
def router(predictor_folder):
    return Router.from_pretrained(predictor_folder)


def test_the_toy_world_is_routed(router):
    assert router.route("sum 1 2 3 ?").name == "digits"
    assert router.route("rhyme river stone ?").name == "words"


def test_a_decision_explains_itself(router):
    decision = router.route("sum 1 2 3 ?")
    assert decision.scores == decision.utilities
    assert decision.margin == decision.scores["digits"] - decision.scores[decision.runner_up] > 0
    assert decision.policy == "BestQuality()"
    assert decision.revision == router.predictor.revision
    assert decision.latency_seconds > 0
    assert json.loads(json.dumps(decision.to_dict()))["candidate"] == {"name": "digits"}


def test_a_decision_holds_nothing_of_the_prompt(router):
    assert "river" not in json.dumps(router.route("rhyme river stone ?").to_dict())


def test_a_batch_decides_as_single_prompts_do(router, dataset):
    prompts = list(dataset.prompts[:20])
    batch = router.route_batch(prompts)
    for prompt, decision in zip(prompts, batch, strict=True):
        alone = router.route(prompt)
        assert alone.name == decision.name
        assert alone.scores == pytest.approx(decision.scores, abs=1e-6)
    assert [d.name for d in router.route_batch(iter(prompts))] == [d.name for d in batch]


def test_a_conversation_is_routed_on_its_last_user_message(router):
    messages = [
        {"role": "user", "content": "rhyme river ?"},
        {"role": "assistant", "content": "a b"},
        {"role": "user", "content": [{"type": "text", "text": "what is sum 1 + 2 ?"}]},
    ]
    assert router.route(messages).scores == router.route("what is sum 1 + 2 ?").scores
    follow_up = [*messages, {"role": "assistant", "content": "3"}, {"role": "user", "content": "why ?"}]
    assert router.route(follow_up).scores == router.route("what is sum 1 + 2 ?\n\nwhy ?").scores


def test_passages_and_history_cost_and_do_not_decide():
    class Counting:
        pool, name, revision = CandidatePool(["a", "b"]), "counting", None

        def predict(self, prompts):
            assert prompts == ["Who built it?"]
            return Prediction(self.pool, [[0.9, 0.1]], prompt_tokens=[4.0])

    router = Router(Counting()).with_prices({"a": (1.0, 1.0), "b": (1.0, 1.0)})
    plain = router.route("Who built it?")
    passages = ["The bridge was built by Ada Storm. " * 100] * 3
    request = read_request("Who built it?", context=passages)
    routed = router.route("Who built it?", context=passages)
    assert routed.scores == plain.scores == router.route(request).scores
    assert router.route_batch([request])[0].expected_usd == routed.expected_usd
    share = request.n_tokens / estimate_tokens("Who built it?")
    extra = routed.expected_usd["a"] - plain.expected_usd["a"]
    assert extra == pytest.approx((4.0 * share - 4.0) / 1e6)
    history = [{"role": "system", "content": passages[0]}, {"role": "user", "content": "Who built it?"}]
    assert router.route(history).expected_usd["a"] > plain.expected_usd["a"]
    with pytest.raises(PromptError, match="passage"):
        router.route("Who built it?", context=[5])


def test_another_policy_makes_another_router_of_the_same_weights(router):
    class Worst:
        def utilities(self, prediction, pool):
            return -prediction.scores

    contrary = router.with_policy(Worst())
    assert contrary.route("sum 1 2 3 ?").name != router.route("sum 1 2 3 ?").name == "digits"
    assert contrary.predictor is router.predictor
    assert isinstance(router.policy, BestQuality)


def test_ties_go_to_the_earlier_candidate():
    assert Router(Fixed(0.5, 0.9, 0.9)).route("x").name == "b"


def test_the_policy_decides_and_not_the_score():
    class Contrary:
        def utilities(self, prediction, pool):
            return -prediction.scores

    decision = Router(Fixed(0.1, 0.9, 0.5), policy=Contrary()).route("x")
    assert (decision.name, decision.runner_up) == ("a", "c")


def test_a_restricted_router_keeps_scores_and_chooses_among_the_rest():
    router = Router(Fixed(0.1, 0.9, 0.5))
    restricted = router.restrict_to(["c", "a"])
    assert restricted.pool.names == ("a", "c")
    decision = restricted.route("x")
    assert decision.scores == {"a": 0.1, "c": 0.5}
    assert decision.name == "c"
    assert router.route("x").name == "b"
    assert restricted.restrict_to(["a"]).route("x").name == "a"


def test_a_pool_of_one_has_no_runner_up():
    decision = Router(Fixed(0.1, 0.9, 0.5)).restrict_to(["a"]).route("x")
    assert decision.runner_up is None
    assert decision.margin is None


class Calibrated(Fixed):
    def predict(self, prompts):
        scores = super().predict(prompts).scores
        return Prediction(self.pool, scores, scores / 2)


def test_a_decision_tells_probabilities_by_the_names_of_this_router():
    router = Router(Calibrated(0.2, 0.4, 0.8), aliases={"c": "gpt"}).restrict_to(["gpt", "a"])
    assert router.route("hello").probabilities == pytest.approx({"a": 0.1, "gpt": 0.4})
    assert Router(Fixed(0.2, 0.4, 0.8)).route("hello").probabilities is None


def test_a_prediction_goes_by_the_pool_of_this_router():
    router = Router(Calibrated(0.2, 0.4, 0.8), aliases={"c": "gpt"}).restrict_to(["gpt", "a"])
    prediction = router.predict(["hello", "again"])
    assert prediction.pool == router.pool
    np.testing.assert_allclose(prediction.scores, [[0.2, 0.8]] * 2)
    np.testing.assert_allclose(prediction.probabilities, [[0.1, 0.4]] * 2)


def test_a_decision_tells_the_expected_dollars_of_those_that_have_a_price():
    router = Router(Fixed(0.2, 0.4, 0.8)).with_prices({"a": 0.5, "b": (1.0, 3.0)})
    assert router.route("hello").expected_usd == pytest.approx({"a": 0.5, "b": (1.0 * 500 + 3.0 * 500) / 1e6})
    assert Router(Fixed(0.2, 0.4, 0.8)).route("hello").expected_usd is None


def test_lengths_that_the_predictor_foresees_make_the_price_of_this_call():
    class Foresees(Fixed):
        def predict(self, prompts):
            given = super().predict(prompts)
            tokens = np.array([[10.0, 1000.0, 100.0]] * len(prompts))
            return replace(given, expected_tokens=tokens, prompt_tokens=np.full(len(prompts), 20.0))

    router = Router(Foresees(0.2, 0.4, 0.8)).with_prices(dict.fromkeys("abc", (1.0, 2.0)))
    assert router.route("x").expected_usd == pytest.approx({"a": 40e-6, "b": 2020e-6, "c": 220e-6})
    assert router.with_policy(CostAware(1000.0)).route("x").name == "c"


def test_prices_are_checked():
    router = Router(Fixed(0.2, 0.4, 0.8))
    for bad in ("1", (1.0,), None, -1.0, (1.0, float("nan")), True):
        with pytest.raises(ConfigurationError):
            router.with_prices({"a": bad})
    with pytest.raises(UnknownCandidateError):
        router.with_prices({"z": 1.0})


PRICES = [{"name": name, "usd_per_call": cost} for name, cost in (("a", 0.1), ("b", 0.2), ("c", 0.3))]


def test_a_threshold_reads_the_calibrated_probabilities_of_this_routers_candidates():
    router = Router(Calibrated(0.2, 0.4, 0.8, names=PRICES), policy=Threshold(0.15))
    assert router.route("x").name == "b"
    assert router.restrict_to(["a", "c"]).route("x").name == "c"
    assert router.with_policy(Threshold(0.5)).route("x").name == "c"  # nobody reaches it: the highest score


def test_without_calibration_scores_stand_in_and_a_warning_says_so():
    router = Router(Fixed(0.2, 0.4, 0.8, names=PRICES), policy=Threshold(0.3))
    with pytest.warns(UncalibratedScoresWarning, match="use a calibrated predictor"):
        assert router.route("x").name == "b"
    with pytest.warns(UncalibratedScoresWarning):
        assert router.restrict_to(["a", "c"]).route("x").name == "c"


def test_a_lookahead_predictor_without_calibration_warns_too(predictor_folder):
    costs = dict.fromkeys(("digits", "words", "lazy"), 1.0)
    aliases = {name: Candidate(name=name, usd_per_call=cost) for name, cost in costs.items()}
    router = Router.from_pretrained(predictor_folder, policy=Threshold(0.1), aliases=aliases)
    with pytest.warns(UncalibratedScoresWarning, match="not calibrated"):
        router.route("sum 1 2 ?")
    assert Router.from_pretrained(predictor_folder).route("sum 1 2 ?")


def test_a_candidate_that_the_policy_excludes_keeps_its_score_and_nothing_else():
    router = Router(Fixed(0.1, 0.9, 0.5), policy=Restricted(deny=["b"]))
    decision = router.route("x")
    assert decision.name == "c"
    assert decision.scores == {"a": 0.1, "b": 0.9, "c": 0.5}
    assert decision.utilities == {"a": 0.1, "c": 0.5}
    assert decision.ranking == ("c", "a")
    assert decision.margin == pytest.approx(0.4)
    json.dumps(decision.to_dict(), allow_nan=False)
    assert router.excluded == {"b": "is on the deny list"}
    assert Router(Fixed(0.1, 0.9, 0.5)).excluded == {}


def test_an_only_candidate_has_no_runner_up():
    decision = Router(Fixed(0.1, 0.9, 0.5), policy=Restricted(allow=["a"])).route("x")
    assert (decision.name, decision.ranking) == ("a", ("a",))
    assert (decision.runner_up, decision.margin) == (None, None)
    json.dumps(decision.to_dict(), allow_nan=False)


def test_names_that_a_policy_lists_follow_the_router():
    router = Router(Fixed(0.1, 0.9, 0.5), policy=Restricted(deny=["b"]))
    assert router.restrict_to(["a", "c"]).route("x").name == "c"
    assert router.with_aliases({"b": "other"}).route("x").name == "c"
    assert router.with_aliases({"b": "other"}).restrict_to(["a", "other"]).route("x").name == "a"
    assert Router(Fixed(0.1, 0.9, 0.5), policy=Restricted(deny=["gpt"]), aliases={"b": "gpt"}).route("x").name == "c"
    with pytest.raises(UnknownCandidateError):
        router.with_policy(Restricted(deny=["d"]))
    with pytest.raises(ConfigurationError, match="b is on the deny list"):
        router.restrict_to(["b"])


def test_a_policy_that_excludes_everybody_is_an_error():
    class Nobody:
        def utilities(self, prediction, pool):
            return np.full(prediction.scores.shape, -np.inf)

    with pytest.raises(ConfigurationError, match="excludes every candidate of a, b, c"):
        Router(Fixed(0.1, 0.9, 0.5), policy=Nobody())


@pytest.mark.parametrize(
    "policy", ["best-quality", BestQuality, 3, object(), CostAware(1.0), Threshold(0.5), Restricted(deny=["abc"])]
)
def test_a_policy_that_cannot_decide_is_an_error_when_the_router_is_built(policy):
    with pytest.raises(ConfigurationError):
        Router(Fixed(0.1, 0.9, 0.5), policy=policy)
    with pytest.raises(ConfigurationError):
        Router(Fixed(0.1, 0.9, 0.5)).with_policy(policy)


@pytest.mark.parametrize("bad", [np.nan, np.inf, "x"])
def test_a_utility_that_is_no_number_does_not_win(bad):
    class Odd:
        def utilities(self, prediction, pool):
            utilities = prediction.scores.astype(object)
            utilities[:, 0] = bad
            return np.array(utilities.tolist())

    with pytest.raises(ConfigurationError, match="utility"):
        Router(Fixed(0.1, 0.9, 0.5), policy=Odd())


def test_utilities_of_another_shape_are_refused():
    class Odd:
        def utilities(self, prediction, pool):
            return prediction.scores[:, :1]

    with pytest.raises(ConfigurationError, match="shape"):
        Router(Fixed(0.1, 0.9, 0.5), policy=Odd())


def test_a_predictor_that_reads_requests_gets_them_and_another_one_texts():
    class Seeing(Fixed):
        def predict(self, prompts):
            self.seen = prompts
            return super().predict(prompts)

    reading, other = Seeing(0.1, 0.9, 0.5), Seeing(0.1, 0.9, 0.5)
    reading.reads_context = True
    for predictor in (reading, other):
        Router(predictor).route("  What? ")
    assert reading.seen == [Request("What?")]
    assert other.seen == ["What?"]
    Router(other).route(Request("  What? "))
    assert other.seen == ["What?"]


def test_a_predictor_whose_output_is_no_prediction_decides_nothing():
    for scores in ((0.1, np.nan, 0.5), (0.1, np.inf, 0.5), (0.1, 1.2, 0.5), (0.1, 0.2)):
        with pytest.raises(PredictionError):
            Router(Fixed(*scores)).route("x")

    class Short(Fixed):
        def predict(self, prompts):
            return super().predict(prompts[:1])

    with pytest.raises(PredictionError, match="1 rows for 2 prompts"):
        Router(Short(0.1, 0.9, 0.5)).route_batch(["x", "y"])


def test_measured_costs_come_with_an_alias_or_the_pool():
    pool = CandidatePool(["a", "b", "c"]).with_call_costs([0.0, 1.0, 0.0])
    router = Router(Fixed(0.1, 0.9, 0.5), policy=CostAware(1.0), aliases={c.name: c for c in pool})
    assert router.route("x").name == "c"


def test_restriction_to_nobody_or_to_a_stranger_is_an_error():
    router = Router(Fixed(0.1, 0.9, 0.5, names=("alpha", "beta", "gamma")))
    with pytest.raises(ConfigurationError, match="keep at least one of alpha, beta, gamma"):
        router.restrict_to([])
    with pytest.raises(UnknownCandidateError, match="Did you mean 'alpha'") as caught:
        router.restrict_to(["alpa"])
    assert caught.value.nearest == "alpha"


def test_aliases_rename_candidates_everywhere():
    router = Router(Fixed(0.1, 0.9, 0.5), aliases={"b": "my-model"})
    decision = router.route("x")
    assert decision.name == "my-model"
    assert set(decision.scores) == {"a", "my-model", "c"}
    assert router.restrict_to(["my-model"]).pool.names == ("my-model",)
    assert router.with_aliases({"a": "other"}).pool.names == ("other", "my-model", "c")


def test_an_alias_of_a_stranger_or_of_a_taken_name_is_an_error():
    with pytest.raises(UnknownCandidateError):
        Router(Fixed(0.1, 0.9, 0.5), aliases={"z": "y"})
    with pytest.raises(ConfigurationError, match="unique"):
        Router(Fixed(0.1, 0.9, 0.5), aliases={"a": "b"})


def test_derived_routers_share_the_predictor(router):
    derived = router.restrict_to(["digits", "words"]).with_aliases({"digits": "d"})
    assert derived.predictor is router.predictor
    assert derived.policy == BestQuality()


def test_a_pickled_router_keeps_pool_policy_and_aliases(router):
    derived = router.restrict_to(["digits", "lazy"]).with_aliases({"lazy": "l"})
    again = pickle.loads(pickle.dumps(derived))
    assert again.pool == derived.pool
    assert again.route("rhyme river ?").scores == derived.route("rhyme river ?").scores


def test_a_deep_copy_shares_the_weights(router):
    assert copy.deepcopy(router).predictor is router.predictor


def test_a_bad_prompt_is_named(router):
    with pytest.raises(PromptError, match=r"^the prompt is empty"):
        router.route(" ")
    with pytest.raises(PromptError, match=r"^prompt 1: the prompt is empty"):
        router.route_batch(["x", ""])
    for lone in ("x", b"x", {"role": "user", "content": "x"}):
        with pytest.raises(PromptError, match="use route"):
            router.route_batch(lone)


def test_an_empty_batch_is_no_decision(router):
    assert router.route_batch([]) == []


# Baselines


@pytest.fixture
def baseline_folder(dataset, tmp_path):
    fitted_class("best-single")().fit(dataset).save(tmp_path / "baseline")
    return tmp_path / "baseline"


@pytest.fixture
def knn_folder(dataset, embedder, tmp_path):
    knn = fitted_class("knn")(embedder=embedder, n_neighbors=5).fit(dataset.filter(split="train"))
    knn.fit_calibration(dataset).save(tmp_path / "knn")
    return tmp_path / "knn"


def test_a_saved_baseline_routes_like_any_predictor(knn_folder):
    router = Router.from_pretrained(knn_folder)
    assert router.route("sum 1 2 3 ?").name == "digits"
    assert router.route("rhyme river stone ?").name == "words"
    assert Router.from_pretrained(str(knn_folder), backend="auto", revision=None).route("x").predictor == "knn"
    probabilities = router.restrict_to(["digits", "words"]).route("sum 1 2 3 ?").probabilities
    assert 0 <= probabilities["words"] < 0.5 < probabilities["digits"] <= 1


def test_an_uncalibrated_baseline_has_no_probabilities(baseline_folder):
    assert Router.from_pretrained(baseline_folder).route("x").probabilities is None


@pytest.mark.parametrize(
    "option", [{"backend": "torch"}, {"n_threads": 2}, {"revision": "main"}, {"token": "t"}, {"local_files_only": True}]
)
def test_options_that_a_baseline_has_not_are_refused(baseline_folder, option):
    with pytest.raises(ConfigurationError, match=f"^{next(iter(option))}: .*(is a best-single|only for a repository)"):
        Router.from_pretrained(baseline_folder, **option)


def test_a_folder_of_something_else_is_a_checkpoint_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"missing pool\.json, tokenizer\.json"):
        Router.from_pretrained(tmp_path)


# Candidates by the user's names


def test_a_fixed_pool_takes_the_names_that_it_knows_under_the_users_own():
    router = Router(Fixed(0.1, 0.9, 0.5))
    assert router.with_candidates(["c", "a"]).pool.names == ("a", "c")
    named = router.with_candidates({"mine": "c", "a": Candidate(name="a", usd_per_call=0.5)})
    decision = named.route("x")
    assert decision.scores == {"a": 0.1, "mine": 0.5}
    assert decision.expected_usd == {"a": 0.5}
    with pytest.raises(UnknownCandidateError):
        router.with_candidates(["a", "nobody"])
    with pytest.raises(ConfigurationError, match="fixed by its training"):
        router.with_candidates(["a"], profiles={"a": "b"})
    with pytest.raises(ConfigurationError):
        router.with_candidates([])


def test_candidates_and_quality_are_given_when_a_router_is_loaded(predictor_folder):
    prices = [Candidate(name=name, usd_per_call=cost) for name, cost in (("digits", 1.0), ("words", 2.0))]
    router = Router.from_pretrained(predictor_folder, candidates=prices, quality=0.0)
    assert router.pool.names == ("digits", "words")
    assert router.route("rhyme river stone ?").name == "digits"  # any quality will do, and it is the cheaper one
    with pytest.raises(ConfigurationError, match="one of quality and policy"):
        Router.from_pretrained(predictor_folder, quality=0.9, policy=BestQuality())
    with pytest.raises(ConfigurationError, match="name these too"):
        Router.from_pretrained(predictor_folder, profiles={"a": "b"})
    with pytest.raises(ConfigurationError, match="price"):
        Router.from_pretrained(predictor_folder, quality=0.9)


@pytest.mark.parametrize("given", [None, "digits", 5, Fixed])
def test_what_is_no_predictor_makes_no_router(given):
    with pytest.raises(ConfigurationError, match=r"a predictor is .*from_pretrained"):
        Router(given)


@pytest.mark.parametrize(
    "ask",
    [
        lambda router: router.restrict_to(5),
        lambda router: router.with_aliases(["digits"]),
        lambda router: router.with_prices(["digits"]),
        lambda router: router.with_candidates(["digits"], profiles=["digits"]),
    ],
)
def test_options_of_another_type_are_configuration_errors(router, ask):
    with pytest.raises(ConfigurationError):
        ask(router)
