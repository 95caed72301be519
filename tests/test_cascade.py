"""Cascades at run time: who is asked, what is seen, what is taken, and the record."""

import json

import pytest
from dispatching import HTTPError, RulePredictor

from lookahead_router import (
    Cascade,
    Cooldowns,
    Dispatcher,
    OwnCheck,
    Prediction,
    Reliability,
    Router,
    read_reply,
)
from lookahead_router.dispatch.checks import Reply
from lookahead_router.errors import ConfigurationError, UnknownCandidateError

NAMES = ("small", "large", "other")
GOOD = OwnCheck(lambda question, text: "good" in text, Reliability(0.95, 0.05), name="good")
AGREES = Reliability(0.98, 0.3, 0.01)


class Flat:
    """The same chances for every prompt."""

    name, revision = "flat", "1"

    def __init__(self, chances=(0.7, 0.9, 0.5)):
        from lookahead_router import CandidatePool

        self.pool = CandidatePool(
            [
                {"name": name, "usd_per_call": usd, "input_usd_per_million_tokens": 1e6 * usd}
                | {"output_usd_per_million_tokens": 0.0}
                for name, usd in zip(NAMES, (0.001, 0.01, 0.05), strict=True)
            ]
        )
        self.chances = chances

    def predict(self, prompts):
        return Prediction(self.pool, [self.chances] * len(prompts))


def make(cascade=None, chances=(0.7, 0.9, 0.5), **options):
    cascade = Cascade([GOOD], score_per_usd=10) if cascade is None else cascade
    return Dispatcher(Router(Flat(chances)), cascade=cascade, **options)


def run(dispatcher, answers, **wishes):
    """Asks as an adapter does; the attempts at the end, or what was raised."""
    attempts = dispatcher.plan("Which river?", **wishes)
    while True:
        answer = answers[attempts.name]
        if isinstance(answer, Exception):
            if attempts.move_on(answer):
                continue
            if attempts.answer is None:
                raise answer
            return attempts
        if attempts.settles(answer, lambda text=answer: Reply(text, input_tokens=1, output_tokens=2)):
            return attempts


def asked(attempts):
    return [each["candidate"] for each in attempts.record["attempts"]]


def test_a_good_answer_of_the_cheap_one_ends_it():
    attempts = run(make(), {"small": "good one"})
    assert attempts.answer == "good one"
    assert asked(attempts) == ["small"]
    assert attempts.record["cascade"]["accepted"] == attempts.record["candidate"] == "small"


def test_a_bad_answer_is_followed_by_the_next_and_all_calls_are_in_the_record():
    attempts = run(make(), {"small": "bad", "large": "good"})
    record = attempts.record
    assert attempts.answer == "good"
    assert record["attempts"] == [{"candidate": n, "error": None, "failure": None} for n in ("small", "large")]
    cascade = record["cascade"]
    assert [hop["checks"] for hop in cascade["hops"]] == [{"good": False}, {}]  # the last decides nothing
    first = cascade["hops"][0]
    assert first["chance"] == pytest.approx(0.7)
    assert first["chance_after"] == pytest.approx(0.7 * 0.05 / (0.7 * 0.05 + 0.3 * 0.95))
    assert cascade["expected_usd"] == pytest.approx(0.011)
    assert cascade["usd"] == pytest.approx(0.011)
    assert json.loads(json.dumps(record)) == record
    assert "river" not in json.dumps(record)
    assert "bad" not in json.dumps(record["cascade"])


def test_the_earlier_answer_is_taken_where_the_later_one_looks_worse():
    half = OwnCheck(lambda question, text: None if "silent" in text else "good" in text, Reliability(0.9, 0.3))
    attempts = run(make(Cascade([half], 1), (0.7, 0.6, 0.1)), {"small": "silent", "large": "bad"})
    assert asked(attempts) == ["small", "large"]
    assert attempts.answer == "silent"
    assert attempts.record["candidate"] == "small"


def test_what_is_not_worth_its_price_is_not_asked_and_calls_are_limited():
    assert asked(run(make(Cascade([GOOD], 1000)), {"small": "bad"})) == ["small"]
    bad = dict.fromkeys(NAMES, "bad")
    assert len(asked(run(make(Cascade([GOOD], 0)), bad))) == 2
    assert len(asked(run(make(Cascade([GOOD], 0, max_calls=3)), bad))) == 3


def test_two_that_agree_are_believed():
    from lookahead_router import Agreement

    def cascade():
        return Cascade([Agreement(AGREES)], 2, max_calls=3, order=["small", "other", "large"])

    chances = (0.6, 0.7, 0.6)
    agreed = run(make(cascade(), chances), {"small": "B", "other": "(B)", "large": "C"})
    assert asked(agreed) == ["small", "other"]
    apart = run(make(cascade(), chances), {"small": "B", "other": "A", "large": "C"})
    assert asked(apart) == ["small", "other", "large"]
    assert apart.answer == "C"


def test_an_answer_that_nothing_could_change_is_final_and_is_not_looked_at():
    looked = []
    check = OwnCheck(lambda question, text: looked.append(text), Reliability(0.55, 0.5))
    attempts = make(Cascade([check], 10), (0.95, 0.9, 0.5)).plan("x")
    assert attempts.is_final
    assert attempts.settles("anything", lambda: Reply("anything"))
    assert looked == []
    assert not make().plan("x").is_final


def test_an_answer_in_hand_is_worth_more_than_an_error():
    attempts = run(make(), {"small": "bad", "large": HTTPError(503)})
    assert attempts.answer == "bad"
    assert [each["failure"] for each in attempts.record["attempts"]] == [None, "overload"]
    assert attempts.record["candidate"] == "small"


def test_without_an_answer_the_error_is_raised_and_fallbacks_ask_on():
    with pytest.raises(HTTPError):
        run(make(), {"small": HTTPError(503)})
    attempts = run(make(fallbacks="next-best"), {"small": HTTPError(503), "large": "good"})
    assert asked(attempts) == ["small", "large"]
    assert attempts.answer == "good"
    failing = {name: HTTPError(503) for name in NAMES}
    with pytest.raises(HTTPError) as raised:
        run(make(fallbacks="next-best"), failing)
    assert "raised by the candidate" in raised.value.__notes__[0]
    with pytest.raises(HTTPError):
        run(make(fallbacks="next-best"), {"small": HTTPError(400)})


def test_where_the_window_is_too_small_only_larger_ones_are_asked():
    from lookahead_router import Abilities

    abilities = {name: Abilities(window_tokens=n) for name, n in zip(NAMES, (4_000, 4_000, 64_000), strict=True)}
    overflow = HTTPError(413)
    attempts = run(make(fallbacks="next-best", abilities=abilities), {"small": overflow, "other": "good"})
    assert asked(attempts) == ["small", "other"]


def test_a_call_that_may_ask_nobody_else_takes_the_best_answer_that_is_there():
    attempts = make().plan("x")
    assert not attempts.stop()
    assert not attempts.settles("bad", lambda: Reply("bad"))
    assert attempts.name == "large"
    assert attempts.stop()
    assert (attempts.answer, attempts.record["candidate"]) == ("bad", "small")
    assert attempts.record["cascade"]["accepted"] == "small"


def test_an_empty_answer_after_which_nobody_is_left_is_passed_on():
    attempts = make().plan("x")
    assert not attempts.move_on(HTTPError(503))
    assert attempts.settles("", lambda: Reply(""))
    assert attempts.answer == ""


def test_the_plan_says_what_may_come():
    plan = make(Cascade(["refusal", GOOD], 10, max_calls=3, order=["small", "large", "other"])).plan("x").plan
    plan = json.loads(json.dumps(plan))
    paths = {words: [call["candidate"] for call in plan.pop(words)] for words in ("if_passing", "if_failing")}
    assert paths == {"if_passing": ["small"], "if_failing": ["small", "large"]}
    assert plan == {
        "checks": ["refusal", "good"],
        "score_per_usd": 10,
        "max_calls": 3,
        "order": ["small", "large", "other"],
        "is_final": False,
    }


def test_an_order_goes_on_without_whoever_failed():
    cascade = Cascade([GOOD], 1, max_calls=2, order=["small", "other", "large"])
    attempts = run(make(cascade, fallbacks="next-best"), {"small": "bad", "other": HTTPError(503), "large": "good"})
    assert asked(attempts) == ["small", "other", "large"]
    assert attempts.answer == "good"


def test_whoever_is_in_a_cooldown_is_not_asked():
    cooldowns = Cooldowns()
    from lookahead_router.errors import Failure

    cooldowns.failed("small", Failure.OVERLOAD)
    attempts = run(make(cooldowns=cooldowns), {"large": "good", "other": "good"})
    assert asked(attempts) == ["large"]
    assert attempts.record["cooling"] == {"small": "overload"}


def test_forced_kept_and_tool_calls_are_no_cascades():
    dispatcher = make(sticky="thread", threads={"t": "other"})
    for wishes in ({"forced": "small"}, {"thread": "t"}, {"needs": ["tools"]}, {"needs": ["structured output"]}):
        attempts = dispatcher.plan("x", **wishes)
        assert attempts.is_final
        assert attempts.settles("bad", lambda: Reply("bad"))
        assert "cascade" not in attempts.record


def test_a_thread_stays_with_whose_answer_was_taken():
    dispatcher = make(sticky="thread")
    run(dispatcher, {"small": "bad", "large": "good"}, thread="t")
    assert dispatcher.threads["t"] == "large"


def test_candidates_that_cannot_take_the_request_are_not_in_it():
    from lookahead_router import Abilities

    dispatcher = make(abilities={"small": Abilities(can={"images": False})})
    assert dispatcher.plan("x", needs=["images"]).name == "large"


def test_whom_the_policy_rules_out_is_not_in_it():
    from lookahead_router import Restricted

    bad = dict.fromkeys(NAMES, "bad")
    asked_ones = asked(run(make(Cascade([GOOD], 0, max_calls=3), policy=Restricted(deny=["small"])), bad))
    assert sorted(asked_ones) == ["large", "other"]


@pytest.mark.parametrize(
    ("make_it", "error", "message"),
    [
        (lambda: Cascade([], 1), ConfigurationError, "at least one check"),
        (lambda: Cascade(["luck"], 1), ConfigurationError, "unknown check 'luck'"),
        (lambda: Cascade(["refusal"], -1), ConfigurationError, "score_per_usd must be a finite number >= 0"),
        (lambda: Cascade(["refusal"], "1"), ConfigurationError, "score_per_usd must be a finite number >= 0"),
        (lambda: Cascade(["refusal"], 1, max_calls=1), ConfigurationError, "max_calls must be a whole number"),
        (lambda: Cascade(["refusal"], 1, max_calls=True), ConfigurationError, "max_calls must be a whole number"),
        (lambda: Cascade(["refusal"], 1, order=["a"]), ConfigurationError, "at least as many"),
        (lambda: Cascade(["refusal"], 1, order=["a", "a"]), ConfigurationError, "each candidate once"),
        (lambda: make(Cascade(["refusal"], 1, order=["small", "b"])), UnknownCandidateError, "b"),
        (lambda: make("agreement"), ConfigurationError, r"cascade must be Cascade\(...\), got str"),
        (
            lambda: Dispatcher(Router(RulePredictor()), cascade=Cascade(["refusal"], 1)),
            ConfigurationError,
            "missing: digits, words, lazy",
        ),
    ],
)
def test_what_is_wrong_with_a_cascade_is_said_when_it_is_built(make_it, error, message):
    with pytest.raises(error, match=message):
        make_it()


def test_why_an_answer_ended_and_how_probable_it_was_are_read_from_what_apis_tell():
    cut = read_reply("x", {"finish_reason": "length"})
    assert cut.is_cut is True
    assert read_reply("x", {"stop_reason": "end_turn"}).is_cut is False
    assert read_reply("x", {"stop_reason": "max_tokens"}).is_cut is True
    assert read_reply("x", None).is_cut is None
    told = {"logprobs": {"content": [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": -0.3}]}}
    assert read_reply("x", told).mean_logprob == pytest.approx(-0.2)
    for odd in ({"logprobs": None}, {"logprobs": {"content": [{"token": "a"}]}}, {"logprobs": {"content": []}}):
        assert read_reply("x", odd).mean_logprob is None


def test_why_it_ended_is_on_record():
    def stopped(cascade, answers, chances=(0.7, 0.9, 0.5)):
        return run(make(cascade, chances), answers).record["cascade"]["stopped"]

    bad = dict.fromkeys(NAMES, "bad")
    assert stopped(Cascade([GOOD], 10), {"small": "good"}) == "not-worth-it"
    assert stopped(Cascade([GOOD], 0), bad) == "max-calls"
    assert stopped(Cascade([GOOD], 0, max_calls=4), bad) == "nobody-left"
    assert stopped(Cascade([GOOD], 10), {"small": "bad", "large": HTTPError(503)}) == "failure"
    settled = OwnCheck(lambda question, text: True, Reliability(0.55, 0.5))
    assert stopped(Cascade([settled], 10), bad, (0.95, 0.9, 0.5)) == "settled"
    attempts = make().plan("x")
    attempts.settles("bad", lambda: Reply("bad"))
    assert "stopped" not in attempts.record["cascade"] or attempts.is_final
    attempts.stop()
    assert attempts.record["cascade"]["stopped"] == "budget"


def test_the_plan_foretells_who_is_asked_where_answers_pass_or_fail():
    from lookahead_router import Agreement

    cascade = Cascade([GOOD, Agreement(AGREES)], 2, max_calls=3)
    for chances in ((0.6, 0.7, 0.6), (0.3, 0.9, 0.8), (0.95, 0.5, 0.5)):
        plan = make(cascade, chances).plan("Which river?").plan
        apart = run(make(cascade, chances), {name: f"bad {name}" for name in NAMES})
        assert [call["candidate"] for call in plan["if_failing"]] == asked(apart)
        alike = run(make(cascade, chances), dict.fromkeys(NAMES, "good"))
        assert [call["candidate"] for call in plan["if_passing"]] == asked(alike)
        hops = apart.record["cascade"]["hops"]
        assert [call["chance"] for call in plan["if_failing"]] == pytest.approx([hop["chance"] for hop in hops])
