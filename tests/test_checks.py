"""Checks: what passes, what fails, and what they do not speak of."""

import math

import pytest

from lookahead_router.dispatch.checks import (
    Agreement,
    Confidence,
    CutOff,
    OwnCheck,
    Refusal,
    Reliability,
    Reply,
    look,
    outcome_of,
    read_checks,
)
from lookahead_router.errors import ConfigurationError

SURE = Reliability(0.9, 0.2)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("C", "c"),
        ("A)", "a"),
        ("(B) because it is so", "b"),
        ("Let's think. 3 apples. The answer is (D).", "d"),
        ("**Answer:** 1,234", "1234"),
        (r"So we get \boxed{\frac{1}{2}} and \boxed{12}.", "12"),
        ("First 3, then 4, which makes the whole of it come to exactly 1,000.50 dollars", "1000.50"),
        ("Paris", "paris"),
        ("Paris.", "paris"),
        ("```python\nreturn 3\n```", None),
        ("A story about a fox that ran over the hill and was never seen again by anyone", None),
        ("", None),
    ],
)
def test_the_outcome_of_an_answer_is_what_it_comes_to(text, outcome):
    assert outcome_of(text) == outcome


def test_answers_agree_by_their_outcomes_and_not_by_their_words():
    agrees = Agreement().look
    assert agrees("q", Reply("The answer is (C)."), Reply("C")) is True
    assert (
        agrees("q", Reply("The answer is 12"), Reply("I get 13, after some thought about all of these numbers here."))
        is False
    )
    assert agrees("q", Reply("x = 3"), None) is None
    assert agrees("q", Reply("```\nx\n```"), Reply("```\nx\n```")) is None


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "As an AI language model, I have no opinions.",
        "Es tut mir leid, das geht nicht.",
        "Je ne peux pas répondre.",
        "Lo siento, no puedo.",
        "申し訳ありませんが",
        "  ",
    ],
)
def test_refusals_and_empty_answers_fail(text):
    assert Refusal().look("q", Reply(text), None) is False


def test_an_answer_that_speaks_of_sorrow_later_on_passes():
    assert Refusal().look("q", Reply("The capital is Paris. " * 20 + "I'm sorry"), None) is True


def test_cut_offs_and_log_probabilities_are_spoken_of_only_where_the_api_tells():
    assert [CutOff(SURE).look("q", Reply("x", is_cut=cut), None) for cut in (True, False, None)] == [False, True, None]
    passes = Confidence(0.8, SURE).look
    found = [passes("q", Reply("x", mean_logprob=each), None) for each in (math.log(0.81), math.log(0.79), None)]
    assert found == [True, False, None]


def test_an_own_check_that_fails_or_talks_nonsense_says_nothing_and_tells_no_text(caplog):
    def fails(question, text):
        raise RuntimeError(f"{question} and {text}")

    for function in (fails, lambda question, text: "yes", lambda question, text: None):
        assert look(OwnCheck(function, SURE), "tulips", Reply("roses"), None) is None
    assert look(OwnCheck(lambda question, text: text == "roses", SURE), "tulips", Reply("roses"), None) is True
    assert "tulips" not in caplog.text
    assert "roses" not in caplog.text
    assert "RuntimeError" in caplog.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Reliability(1.0, 0.5), "passes_right must be a share between 0 and 1"),
        (lambda: Reliability(0.3, 0.5), "right answers at least as often"),
        (lambda: Reliability(0.3, 0.5, 0.4), "right answers at least as often"),
        (lambda: Reliability(0.5, True), "passes_wrong must be a share"),
        (lambda: Reliability(0.5, 0.5, correlation=1.0), "correlation must lie in"),
        (lambda: Reliability(0.5, 0.5, others_failed=float("nan")), "others_failed must be a finite number"),
        (lambda: Confidence(1.0, SURE), "minimum must lie between 0 and 1"),
        (lambda: OwnCheck("x", SURE), "expected a function, got str"),
        (lambda: OwnCheck(len, 0.9), "reliability must be Reliability"),
        (lambda: OwnCheck(len, SURE, name=" "), "expected a name"),
        (lambda: read_checks("agreement"), "must be a list"),
        (lambda: read_checks([]), "at least one check"),
        (lambda: read_checks(["luck"]), "unknown check 'luck'; choose among agreement, refusal, or pass"),
        (lambda: read_checks([Agreement]), "a check is a name or an object"),
        (lambda: read_checks(["refusal", Refusal()]), "'refusal' stands there twice"),
        (lambda: read_checks([Agreement(SURE)]), "needs passes_mixed"),
        (lambda: read_checks([Refusal(Reliability(0.9, 0.5, 0.5))]), "no passes_mixed"),
        (lambda: read_checks([Refusal(0.9)]), "needs a Reliability"),
    ],
)
def test_what_is_wrong_with_a_check_is_said_when_it_is_built(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
