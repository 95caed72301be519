"""Whether a conversation stays with the candidate that holds it: `sticky="adaptive"`."""

from dataclasses import replace

import pytest
from dispatching import call, make

from lookahead_router import (
    Abilities,
    Candidate,
    CandidatePool,
    CostAware,
    Dispatcher,
    KeepQuality,
    Prediction,
    Request,
    Router,
    read_request,
)
from lookahead_router.errors import ConfigurationError


class Fixed:
    """Always foresees the same."""

    name, revision = "fixed", "1"

    def __init__(self, pool, scores):
        self.pool, self.scores = CandidatePool(pool), scores

    def predict(self, prompts):
        return Prediction(self.pool, [self.scores] * len(prompts), prompt_tokens=[100.0] * len(prompts))


def fixed(scores, pool=("a", "b"), **options):
    return Dispatcher(Router(Fixed(pool, scores)), sticky="adaptive", **options)


def talk(*texts):
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


TOPIC = read_request(talk("Write a haiku about rain.", "Drops.", "Plan a weekend in Rome for two people and a dog."))
UNMARKED = read_request(talk("Write a haiku about rain.", "Drops on a roof.", "How many drops fall?"))
FOLLOW_UP = read_request(talk("Write a haiku about rain.", "Drops.", "and a shorter one?"))


LIKELY_FOLLOW_UP = replace(UNMARKED, new_topic=0.4)


@pytest.mark.parametrize(
    ("request_", "gain", "stays"), [(TOPIC, 0.01, True), (TOPIC, 0.03, False), (LIKELY_FOLLOW_UP, 0.067, True),
                                    (LIKELY_FOLLOW_UP, 0.068, False), (UNMARKED, 0.2, True), (FOLLOW_UP, 0.5, True)]
)  # fmt: skip
def test_it_stays_unless_the_gain_is_above_the_threshold_which_rises_with_the_odds_against_a_new_topic(
    request_, gain, stays
):
    record = fixed([0.5, 0.5 + gain]).plan(request_, held="a").record
    assert (record["candidate"], record["reason"]) == (("a", "sticky") if stays else ("b", "routed"))
    told = record["stickiness"]
    assert told["gain"] == pytest.approx(gain)
    assert (told["held"], told["instead"], told["stays"]) == ("a", "b", stays)
    against = max((1 - request_.new_topic) / request_.new_topic, 1)
    assert told["switch_gain"] == pytest.approx(min(0.02 * against**3, 1))
    assert record["scores"]["b"] == pytest.approx(0.5 + gain)


def test_the_threshold_is_the_callers():
    assert fixed([0.5, 0.8], switch_gain=0.4).plan(TOPIC, held="a").name == "a"
    assert fixed([0.5, 0.501], switch_gain=0).plan(TOPIC, held="a").name == "b"
    for wrong in (-0.1, 1.1, "0.1", True, float("nan")):
        with pytest.raises(ConfigurationError, match="switch_gain"):
            fixed([0.5, 0.5], switch_gain=wrong)


def test_whoever_is_the_best_anyway_is_routed_to_and_nothing_is_weighed():
    record = fixed([0.9, 0.5]).plan(TOPIC, held="a").record
    assert (record["candidate"], record["reason"]) == ("a", "routed")
    assert "stickiness" not in record


def test_a_greeting_holds_nothing():
    hi = read_request(talk("hi", "Hello!", "Write a haiku about rain."))
    assert fixed([0.5, 0.51]).plan(hi, held="a").name == "b"
    dispatcher = make(sticky="adaptive", switch_gain=1.0)
    assert call(dispatcher, text="hi", thread="t")["candidate"] == "words"
    assert dict(dispatcher.threads) == {}
    assert call(dispatcher, text="Solve 3 + 4 = x for me.", thread="t")["candidate"] == "digits"
    assert call(dispatcher, text="Write a story about a fox.", thread="t")["candidate"] == "digits"
    assert call(dispatcher, text="thanks", thread="t")["candidate"] == "digits"


def test_a_holder_that_cannot_take_the_request_is_left():
    dispatcher = fixed([0.5, 0.5], abilities={"a": Abilities({"tools": False})})
    assert dispatcher.plan(TOPIC, held="a", needs=["tools"]).name == "b"
    assert dispatcher.plan(TOPIC, held="gone").name == "a"


def test_who_holds_counts_for_nothing_without_the_option():
    assert Dispatcher(Router(Fixed(["a", "b"], [0.5, 0.51]))).plan(TOPIC, held="a").name == "b"


def priced(name, usd, cached=None):
    return Candidate(
        name=name,
        input_usd_per_million_tokens=usd,
        output_usd_per_million_tokens=usd,
        cached_input_usd_per_million_tokens=cached,
    )


def test_the_price_of_losing_the_cache_counts_where_it_is_given():
    long = Request("Write a limerick.", n_tokens=10_000, n_earlier_tokens=9_000, has_topic=True)
    policy = CostAware(score_per_usd=100)
    for cached, name in ((None, "b"), (1.0, "a")):
        pool = [priced("a", 10.0, cached), priced("b", 8.0)]
        dispatcher = fixed([0.5, 0.5], pool, policy=policy, switch_gain=0.0)
        record = dispatcher.plan(long, held="a").record
        assert record["candidate"] == name
        assert ("cache_usd" in record["stickiness"]) == (cached is not None)


def test_a_policy_that_keeps_quality_stays_where_the_holder_is_good_enough_with_the_gain():
    pool = [priced("cheap", 0.1), priced("dear", 10.0)]
    for cheap, name in ((0.94, "cheap"), (0.80, "dear")):
        dispatcher = fixed([cheap, 1.0], pool, policy=KeepQuality(0.95))
        assert dispatcher.plan(TOPIC, held="cheap").name == name


def test_the_record_holds_nothing_of_the_prompt():
    assert "rain" not in repr(fixed([0.5, 0.51]).plan(TOPIC, held="a").record)
