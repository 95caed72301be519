import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from predictors.open_world import make_predictor, make_tokenizer

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import (
    ConfigurationError,
    DataError,
    PredictionError,
    PromptError,
    UnknownCandidateError,
    UnknownProfileWarning,
)
from lookahead_router.policies import CostAware, KeepQuality, WithinMargin
from lookahead_router.predictors.passes import one_pass
from lookahead_router.router import Router
from lookahead_router.types import Candidate

PROMPTS = ["one two", "three", "four five six", "one"]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def predictor(tokenizer):
    return make_predictor(tokenizer)


def answers(n=40, names=("mine",), **outcome):
    words = ("one", "two", "three", "four")
    return RoutingDataset.from_examples(
        RoutingExample(f"{words[i % 4]} seven", {name: Outcome(score=float(i % 2), **outcome) for name in names})
        for i in range(n)
    )


def test_a_prediction_tells_probabilities_errors_and_lengths(predictor):
    prediction = predictor.predict(PROMPTS)
    assert prediction.pool.names == ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct")
    np.testing.assert_array_equal(prediction.scores, prediction.probabilities)
    assert ((prediction.probabilities > 0) & (prediction.probabilities < 1)).all()
    assert (prediction.standard_errors > 0).all()
    assert (prediction.expected_tokens >= 1).all()
    assert prediction.prompt_tokens.tolist() == [2, 1, 3, 1]
    assert len(predictor.predict([])) == 0


def test_the_arrays_of_a_prediction_are_its_own(predictor):
    with one_pass():
        prediction, other = (predictor.predict(PROMPTS[:1]) for _ in range(2))
    scores, lengths = prediction.scores.copy(), other.prompt_tokens.copy()
    prediction.probabilities[:] = 0
    prediction.prompt_tokens[:] = 0
    np.testing.assert_array_equal(prediction.scores, scores)
    np.testing.assert_array_equal(other.prompt_tokens, lengths)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("scores", {"mean": float("nan")}),
        ("standard_errors", {"covariance": float("nan")}),
        ("standard_errors", {"covariance": -1e9}),
        ("expected_tokens", {"lengths": float("nan")}),
    ],
)
def test_profiles_that_give_no_numbers_give_no_prediction(predictor, name, broken):
    profile = predictor.members[1].profile
    arrays = {of: np.full_like(getattr(profile, of), value) for of, value in broken.items()}
    damaged = predictor.with_profiles({predictor.pool.names[1]: replace(profile, **arrays)})
    with pytest.raises(PredictionError, match=f"^({name}|scores) holds a value that is not finite"):
        damaged.predict(PROMPTS)


def test_a_row_depends_on_its_prompt_alone_and_a_column_on_its_candidate(predictor):
    whole = predictor.predict(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        np.testing.assert_allclose(predictor.predict([prompt]).scores[0], whole.scores[row])
    turned = predictor.with_candidates(["llama-3.1-8b-instruct", "gpt-4o-2024-08-06"])
    np.testing.assert_allclose(turned.predict(PROMPTS).scores[:, ::-1], whole.scores)
    alone = predictor.with_candidates(["llama-3.1-8b-instruct"])
    np.testing.assert_allclose(alone.predict(PROMPTS).scores[:, 0], whole.scores[:, 1])


def test_known_names_come_with_the_catalogues_prices_and_ones_own_win(predictor):
    known = predictor.with_candidates(["openai/gpt-4o", Candidate(name="claude-sonnet-4", usd_per_call=0.5)])
    first, second = known.pool
    assert (first.input_usd_per_million_tokens, first.output_usd_per_million_tokens) == (2.5, 10.0)
    assert second.to_dict() == {"name": "claude-sonnet-4", "usd_per_call": 0.5}
    assert [member.match.how for member in known.members] == ["newest", "exact"]


def test_two_names_of_one_model_are_two_candidates_with_the_same_numbers(predictor):
    both = predictor.with_candidates(["gpt-4o-2024-08-06", "azure/gpt-4o-2024-08-06"])
    scores = both.predict(PROMPTS).scores
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1])


def test_a_stranger_starts_from_the_population_with_a_warning_that_says_what_helps(predictor):
    with pytest.warns(
        UnknownProfileWarning, match=r"nothing is known of mine: .*profiles=\{name: known name\}"
    ) as told:
        strange = predictor.with_candidates(["gpt-4o-2024-08-06", "mine"])
    assert len(told) == 1
    errors = strange.predict(PROMPTS).standard_errors
    assert (errors[:, 1] > errors[:, 0]).all()


def test_a_relative_stands_in_with_more_doubt_and_says_so(predictor):
    with pytest.warns(UnknownProfileWarning, match=r"gpt-5\.5: not known; starts from its relative gpt-5"):
        relative = predictor.with_candidates(["gpt-5", "gpt-5.5"])
    prediction = relative.predict(PROMPTS)
    assert (prediction.standard_errors[:, 1] > prediction.standard_errors[:, 0]).all()


def test_a_profile_can_be_lent(predictor):
    for lent in (
        predictor.with_candidates(["mine"], profiles={"mine": "llama-3.1-8b-instruct"}),
        predictor.with_candidates({"mine": "llama-3.1-8b-instruct"}),
    ):
        np.testing.assert_array_equal(lent.members[0].profile.mean, predictor.members[1].profile.mean)
        assert not lent.pool["mine"].has_price
    with pytest.raises(UnknownCandidateError, match="nobody"):
        predictor.with_candidates(["mine"], profiles={"mine": "nobody"})
    with pytest.raises(UnknownCandidateError, match="other"):
        predictor.with_candidates(["mine"], profiles={"other": "gpt-5"})


@pytest.mark.parametrize("bad", [[], ["a", "a"], "gpt-4o", [3], [None]])
def test_no_pool_is_an_error(predictor, bad):
    with pytest.raises(ConfigurationError):
        predictor.with_candidates(bad)


def test_answers_make_a_stranger_join_and_leave_the_old_router_alone(predictor):
    router = Router(predictor)
    onboarded = router.onboard(answers(names=("mine", "gpt-4o-2024-08-06"), output_tokens=50, cost_usd=0.25))
    assert router.pool.names == ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct")
    assert onboarded.pool.names == ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct", "mine")
    counts = [member.profile.n_answers for member in onboarded.predictor.members]
    assert counts == [4040, 9000, 40]
    assert onboarded.pool["mine"].usd_per_call == 0.25
    assert onboarded.pool["gpt-4o-2024-08-06"].usd_per_call is None  # it has token prices
    assert onboarded.predictor.revision != router.predictor.revision == "0123456789ab"
    decision = onboarded.route("two seven")
    assert decision.probabilities["mine"] > onboarded.route("one seven").probabilities["mine"]


def test_answers_beside_tell_how_hard_the_same_prompts_are(predictor):
    router = Router(predictor)
    few = answers(names=("mine",))
    hard = RoutingDataset.from_examples(
        RoutingExample(prompt, {"gpt-4o-2024-08-06": Outcome(score=0.0), "mine": Outcome(score=0.5)})
        for prompt in dict.fromkeys(few.prompts)
    )
    alone, beside = router.onboard(few), router.onboard(few, beside=hard)
    chances = [one.route("two seven").probabilities["mine"] for one in (alone, beside)]
    assert chances[1] > chances[0]
    known = [one.predictor.members[0].profile for one in (alone, beside)]
    np.testing.assert_array_equal(known[0].mean, known[1].mean)  # learnt from before, and not again
    with pytest.raises(DataError, match="say nothing of these prompts"):
        router.onboard(few, beside=answers(names=("mine",)))


def test_names_of_the_router_count_and_not_those_of_the_predictor(predictor):
    router = Router(predictor, aliases={"llama-3.1-8b-instruct": "local"}).restrict_to(["local"])
    onboarded = router.onboard(answers(names=("local", "new")))
    assert onboarded.pool.names == ("local", "new")
    assert onboarded.predictor.pool.names == ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct", "new")
    observed = onboarded.observe("one seven", "local", 1.0)
    before, after = (one.route("one seven").probabilities["local"] for one in (onboarded, observed))
    assert after > before


def test_answers_of_a_part_of_the_candidates_change_only_theirs(predictor):
    onboarded = Router(predictor).onboard(answers(names=("gpt-4o-2024-08-06",)))
    before, after = predictor.predict(PROMPTS), onboarded.predict(PROMPTS)
    np.testing.assert_array_equal(before.scores[:, 1], after.scores[:, 1])
    assert (before.scores[:, 0] != after.scores[:, 0]).all()


def test_feedback_that_is_none_is_refused(predictor):
    router = Router(predictor)
    for bad in (1.5, -0.1, float("nan"), "1", None, True):
        with pytest.raises(DataError, match="a score is a number in"):
            router.observe("one", "gpt-4o-2024-08-06", bad)
    with pytest.raises(UnknownCandidateError):
        router.observe("one", "nobody", 1.0)
    with pytest.raises(PromptError):
        router.observe(" ", "gpt-4o-2024-08-06", 1.0)
    assert router.observe("one", "gpt-4o-2024-08-06", 1).route("one").name


def test_a_dataset_of_no_use_is_refused(predictor):
    dataset = answers()
    with pytest.raises(DataError, match="no prompt"):
        Router(predictor).onboard(dataset.select([]))
    rows = [RoutingExample("one", {"a": Outcome(score=1.0), "b": Outcome()})]
    with pytest.raises(DataError, match="no prompt has a score of b"):
        Router(predictor).onboard(RoutingDataset.from_examples(rows))


def test_a_fixed_pool_neither_onboards_nor_observes():
    class Fixed:
        name, revision = "fixed", None

        def __init__(self, pool):
            self.pool = pool

        def predict(self, prompts):
            from lookahead_router.types import Prediction

            return Prediction(self.pool, np.full((len(prompts), len(self.pool)), 0.5))

    from lookahead_router.types import CandidatePool

    router = Router(Fixed(CandidatePool(["a", "mine"])))
    with pytest.raises(ConfigurationError, match="cannot onboard: its pool is fixed"):
        router.onboard(answers())
    with pytest.raises(ConfigurationError, match="cannot observe"):
        router.observe("one", "a", 1.0)


def test_the_price_of_this_call_decides(predictor):
    router = Router(predictor)
    decision = router.route("one two three")
    tokens = predictor.predict(["one two three"]).expected_tokens[0]
    assert decision.expected_usd["gpt-4o-2024-08-06"] == pytest.approx((3 * 2.5 + tokens[0] * 10.0) / 1e6)
    assert router.with_policy(CostAware(1e9)).route("one").name == "llama-3.1-8b-instruct"


def test_a_share_of_the_best_quality_is_kept_as_cheaply_as_possible(predictor):
    router = Router(predictor)
    cheap = "llama-3.1-8b-instruct"
    for prompt in PROMPTS:
        chances = router.route(prompt).probabilities
        ratio = chances[cheap] / max(chances.values())
        for share in (0.0, ratio - 1e-6, ratio + 1e-6, 1.0):
            if 0 <= share <= 1:
                name = router.with_policy(KeepQuality(share)).route(prompt).name
                assert (name == cheap) == (share <= ratio)
        gap = max(chances.values()) - chances[cheap]
        for margin in (0.0, gap - 1e-6, gap + 1e-6, 1.0):
            if 0 <= margin <= 1:
                name = router.with_policy(WithinMargin(margin)).route(prompt).name
                assert (name == cheap) == (margin >= gap)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), "0.9", None, True])
def test_shares_and_margins_out_of_range_are_refused(bad):
    with pytest.raises(ConfigurationError, match=r"must be a number in \[0, 1\]"):
        KeepQuality(bad)
    with pytest.raises(ConfigurationError, match=r"must be a number in \[0, 1\]"):
        WithinMargin(bad)


def test_decisions_are_plain_json(predictor):
    record = json.loads(json.dumps(Router(predictor).route("one").to_dict()))
    assert record["probabilities"].keys() == record["standard_errors"].keys() == set(predictor.pool.names)


def test_a_predictor_that_was_not_loaded_cannot_be_pickled_and_a_copy_is_itself(predictor):
    assert copy.deepcopy(predictor) is predictor
    with pytest.raises(ConfigurationError, match="only a predictor loaded from a folder"):
        pickle.dumps(predictor)


def test_a_name_that_nobody_knows_joins_as_one_of_the_pool(predictor):
    """What sets this pool apart from the public is known by then, and holds for whoever joins."""

    def answers(names, n=40):
        examples = [RoutingExample(f"one two {row}", {name: Outcome(score=1.0) for name in names}) for row in range(n)]
        return RoutingDataset.from_examples(examples)

    alone = predictor.onboard(answers(["new"], 1))
    after = predictor.onboard(answers(["qqq", "zzz"])).onboard(answers(["new"], 1))
    chances = [each.predict(["one two"]).select(["new"]).scores[0, 0] for each in (alone, after)]
    assert chances[1] > chances[0] + 0.05
