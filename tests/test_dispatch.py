"""Whom a call goes to, who is asked next, and what the record says; told by an ideal predictor's truths."""

import copy
import pickle

import pytest
from dispatching import NAMES, HTTPError, RulePredictor, asked, call, make

from lookahead_router import (
    Abilities,
    BestQuality,
    Candidate,
    Cooldowns,
    CostAware,
    Dispatcher,
    Holdback,
    Restricted,
    Router,
)
from lookahead_router.dispatch import RULES, RecentThreads
from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    Failure,
    NoAnswerError,
    PromptError,
    UnknownCandidateError,
    failure_of,
)

# Whom to ask


def test_the_decision_answers_and_the_record_holds_its_facts():
    record = call(make())
    assert record["candidate"] == "digits"
    assert record["reason"] == "routed"
    assert record["ranking"] == ["digits", "lazy", "words"]
    assert record["scores"] == {"digits": 0.9, "words": 0.2, "lazy": 0.5}
    assert record["attempts"] == [{"candidate": "digits", "error": None, "failure": None}]
    assert not {"excluded", "cooling", "error"} & record.keys()


def test_a_forced_candidate_is_asked_alone_and_without_a_prediction():
    dispatcher = make()
    dispatcher.router.predictor.error = AssertionError("no prediction")
    assert call(dispatcher, forced="lazy")["reason"] == "forced"
    with pytest.raises(HTTPError):
        call(dispatcher, {"lazy": HTTPError(429)}, forced="lazy")
    with pytest.raises(UnknownCandidateError):
        dispatcher.plan("7", forced="nobody")


def test_a_kept_candidate_goes_first_unless_it_cannot_take_the_request():
    dispatcher = make(abilities={"lazy": Abilities({"images": False})})
    record = call(dispatcher, {"lazy": HTTPError(503)}, keep="lazy")
    assert record["reason"] == "sticky"
    assert asked(record) == ["lazy", "digits"]
    assert call(make(abilities=dispatcher.abilities), keep="lazy", needs=["images"])["candidate"] == "digits"


def test_a_thread_stays_with_whom_it_was_answered_by():
    dispatcher = make(sticky="thread")
    assert call(dispatcher, {"digits": HTTPError(429)}, thread="a")["candidate"] == "lazy"
    record = call(dispatcher, text="words", thread="a")
    assert (record["candidate"], record["reason"]) == ("lazy", "sticky")
    assert call(dispatcher, text="words", thread="b")["candidate"] == "words"
    assert make().threads == {}


def test_the_default_answers_where_the_predictor_fails_or_there_is_nothing_to_route_on():
    dispatcher = make(default="lazy")
    record = call(dispatcher, text="  ")
    assert (record["candidate"], record["reason"], record["error"]) == ("lazy", "default", "PromptError")
    dispatcher.router.predictor.error = RuntimeError("boom about tulips")
    record = call(dispatcher, {"lazy": HTTPError(500)})
    assert asked(record) == ["lazy", "digits"]
    assert "tulips" not in repr(record)
    with pytest.raises(PromptError):
        make().plan("")


def test_a_wrong_option_is_never_hidden_by_the_default():
    dispatcher = make(default="lazy")
    dispatcher.router.predictor.error = ConfigurationError("wrong")
    with pytest.raises(ConfigurationError, match="wrong"):
        dispatcher.plan("7")


# Who can take the request


def test_who_lacks_an_ability_is_left_out_and_the_unknown_is_no_reason():
    pool = [Candidate(name="digits", capabilities={"tools"}), "words", "lazy"]
    dispatcher = make(pool=pool, abilities={"lazy": Abilities({"images": False})})
    record = call(dispatcher, needs=["images"])
    assert record["candidate"] == "words"
    assert record["excluded"] == {
        "digits": "has no images, says its entry in the pool",
        "lazy": "has no images, says its model",
    }
    assert call(dispatcher, needs=["tools"])["candidate"] == "digits"
    assert call(dispatcher, needs=["structured output"])["candidate"] == "digits"


def test_windows_of_models_go_before_those_of_the_pool():
    pool = [Candidate(name=name, context_window_tokens=100) for name in NAMES]
    dispatcher = make(pool=pool, abilities={"digits": Abilities(window_tokens=50)})
    assert call(dispatcher, n_tokens=50)["candidate"] == "digits"
    record = call(dispatcher, n_tokens=51)
    assert record["excluded"] == {"digits": "takes 50 tokens, the conversation has about 51"}
    assert "digits" not in asked(call(dispatcher, {"lazy": HTTPError(429)}, n_tokens=51))


def test_what_seems_too_long_for_everyone_goes_to_the_largest_window():
    windows = {"digits": 50, "words": 100, "lazy": 70}
    dispatcher = make(abilities={name: Abilities(window_tokens=n) for name, n in windows.items()})
    record = call(dispatcher, n_tokens=10_000)
    assert record["candidate"] == "words"
    assert set(record["excluded"]) == {"digits", "lazy"}


def test_nobody_able_is_an_error_that_names_the_reasons():
    dispatcher = make(abilities={name: Abilities({"audio": False}) for name in NAMES})
    with pytest.raises(ConfigurationError, match="digits has no audio"):
        dispatcher.plan("7", needs=["audio"])


def test_whom_the_policy_rules_out_is_neither_asked_nor_kept():
    dispatcher = make(policy=Restricted(deny=["lazy"]))
    record = call(dispatcher, {"digits": HTTPError(429)}, keep="lazy")
    assert asked(record) == ["digits", "words"]
    assert record["excluded"] == {"lazy": "is on the deny list"}
    routed = call(make(policy=Restricted(deny=["lazy"])))
    assert (routed["ranking"], set(routed["scores"])) == (["digits", "words"], set(NAMES))
    assert call(make(), policy=Restricted(deny=["digits"]))["candidate"] == "lazy"


# Who is asked next

ASKS_NEXT = {
    Failure.RATE_LIMIT: HTTPError(429),
    Failure.OVERLOAD: HTTPError(529),
    Failure.SERVER_ERROR: HTTPError(500),
    Failure.TIMEOUT: TimeoutError(),
    Failure.CONNECTION: ConnectionResetError(),
    Failure.NO_ANSWER: NoAnswerError("digits"),
    Failure.AUTHENTICATION: HTTPError(401),
    Failure.NOT_FOUND: HTTPError(404),
    Failure.CONTEXT_OVERFLOW: HTTPError(413),
    Failure.UNSUPPORTED: type("OptionError", (Exception,), {"code": "unsupported_parameter"})(),
    Failure.CONTENT_FILTER: type("FilterError", (Exception,), {"code": "content_filter"})(),
}
RAISES = {Failure.BAD_REQUEST: HTTPError(400), Failure.UNKNOWN: KeyError("x")}


def test_every_class_of_failure_has_a_rule_and_an_error_here():
    assert set(RULES) == set(Failure) == {*ASKS_NEXT, *RAISES}
    assert all(failure_of(error) is failure for failure, error in {**ASKS_NEXT, **RAISES}.items())


@pytest.mark.parametrize("failure", ASKS_NEXT)
def test_the_next_best_answers(failure):
    error = ASKS_NEXT[failure]
    record = call(make(), {"digits": error})
    assert record["attempts"] == [
        {"candidate": "digits", "error": type(error).__name__, "failure": failure.value},
        {"candidate": "lazy", "error": None, "failure": None},
    ]
    assert "tulips" not in repr(record)


@pytest.mark.parametrize("failure", RAISES)
def test_a_request_that_is_wrong_itself_is_raised_at_once(failure):
    dispatcher = make()
    attempts = dispatcher.plan("7")
    assert not attempts.move_on(RAISES[failure])
    assert attempts.record["attempts"] == [
        {"candidate": "digits", "error": type(RAISES[failure]).__name__, "failure": failure.value}
    ]


@pytest.mark.parametrize("failure", ASKS_NEXT)
def test_without_fallbacks_every_failure_is_raised(failure):
    assert not make(fallbacks=None).plan("7").move_on(ASKS_NEXT[failure])


def test_the_caller_may_say_what_is_worth_another_candidate():
    dispatcher = make(fallback_on=lambda error: isinstance(error, KeyError))
    assert asked(call(dispatcher, {"digits": KeyError()})) == ["digits", "lazy"]
    with pytest.raises(HTTPError):
        call(dispatcher, {"digits": HTTPError(429)})


def test_an_overflow_goes_to_larger_windows_only():
    windows = {"digits": 50, "lazy": 40, "words": 60}
    overflow = HTTPError(413)
    dispatcher = make(abilities={name: Abilities(window_tokens=n) for name, n in windows.items()})
    assert asked(call(dispatcher, {"digits": overflow})) == ["digits", "words"]
    dispatcher = make(abilities={"digits": Abilities(window_tokens=50)})
    assert asked(call(dispatcher, {"digits": overflow})) == ["digits", "lazy"]


def test_the_last_error_says_in_a_note_who_had_failed_before():
    everyone = {"digits": HTTPError(500), "lazy": TimeoutError(), "words": HTTPError(401)}
    with pytest.raises(HTTPError) as raised:
        call(make(), everyone)
    assert raised.value.status_code == 401
    assert raised.value.__notes__ == [
        "raised by the candidate 'words', after others had failed: digits (server error), lazy (timeout)"
    ]


# Streams


def test_chunks_are_held_back_until_one_shows_something():
    held = Holdback()
    assert held.add("", shows=False) == []
    assert held.add("role", shows=False) == []
    assert not held.has_begun
    assert held.add("text", shows=True) == ["", "role", "text"]
    assert held.has_begun
    assert held.add("", shows=False) == [""]
    assert held.rest() == []


def test_the_rest_of_a_stream_that_showed_nothing():
    held = Holdback()
    held.add("role", shows=False)
    assert held.rest() == ["role"]
    assert not held.has_begun


# What is wrong is said when a dispatcher is built


@pytest.mark.parametrize(
    "options",
    [
        {"fallbacks": "best-next"},
        {"sticky": "always"},
        {"fallback_on": "everything"},
        {"policy": "BestQuality"},
        {"policy": BestQuality},
        {"policy": CostAware(score_per_usd=1)},
        {"default": "nobody"},
        {"aliases": {"nobody": "x"}},
        {"candidates": ["nobody"]},
        {"candidates": []},
    ],
    ids=str,
)
def test_a_wrong_option(options):
    with pytest.raises(ConfigurationError):
        make(**options)


def test_a_candidate_that_the_pool_does_not_hold_is_told_with_the_ways_out():
    with pytest.raises(UnknownCandidateError, match=r"aliases=\{'.*': 'gpt-5-mini', \.\.\.\}.*router="):
        make(candidates=["gpt-5-mini"])


def test_a_failure_after_something_was_shown_counts_and_asks_nobody_else():
    dispatcher = make(fallbacks="next-best")
    attempts = dispatcher.plan("7")
    first = attempts.name
    assert not attempts.move_on(TimeoutError(), has_begun=True)
    assert attempts.record["attempts"] == [{"candidate": first, "error": "TimeoutError", "failure": "timeout"}]
    assert dispatcher.cooldowns.seconds_left(first) > 0
    assert dispatcher.plan("7").name != first


def test_a_router_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError):
        Dispatcher(tmp_path / "nowhere", default="lazy")
    with pytest.raises(ConfigurationError, match="router must be"):
        Dispatcher(42)
    with pytest.raises(ConfigurationError, match="no revisions"):
        Dispatcher(None, revision="v1")
    with pytest.raises(ConfigurationError, match="revision already"):
        Dispatcher(Router(RulePredictor()), revision="v1")


def test_locations_are_loaded_once_per_process():
    assert Dispatcher(None).router.predictor is Dispatcher(None).router.predictor


# Copies


def test_a_pickled_dispatcher_loads_again_and_has_nobody_in_a_cooldown():
    dispatcher = Dispatcher(None, fallbacks="next-best", sticky="thread")
    name = dispatcher.candidates[0]
    dispatcher.cooldowns.failed(name, Failure.TIMEOUT)
    dispatcher.remember("t", name)
    data = pickle.dumps(dispatcher)
    assert len(data) < 5000
    again = pickle.loads(data)
    assert again.router.predictor is dispatcher.router.predictor
    assert again.cooldowns.seconds_left(name) == 0
    assert not again.threads
    assert again.plan("7").record["scores"] == dispatcher.plan("7").record["scores"]


def test_a_deep_copy_shares_cooldowns_and_threads():
    cooldowns, threads = Cooldowns(), RecentThreads()
    assert copy.deepcopy(cooldowns) is cooldowns
    assert copy.deepcopy(threads) is threads


def test_recent_threads_forget_the_one_not_used_longest():
    threads = RecentThreads(max_threads=2)
    for thread in ("a", "b", "a", "c"):
        threads[thread] = "x"
    assert list(threads) == ["a", "c"]


# Whatever is wrong is told when it is built


@pytest.mark.parametrize(
    "build",
    [
        lambda: make(candidates="digits"),
        lambda: make(candidates=[]),
        lambda: make(aliases=["digits"]),
        lambda: make(profiles=["digits"]),
        lambda: make(prices=[1.0]),
        lambda: make(prices={"digits": "1"}),
        lambda: make(threads=[]),
        lambda: make(cooldowns={}),
        lambda: make(abilities={"digits": {"tools": True}}),
        lambda: make(abilities={"nobody": Abilities()}),
        lambda: Abilities(can=["tools"]),
        lambda: Abilities(can={"tool": False}),
        lambda: Abilities(can={"tools": "no"}),
        lambda: Abilities(window_tokens="4096"),
        lambda: Abilities(window_tokens=0),
        lambda: Cooldowns(max_seconds=0),
        lambda: Cooldowns(max_seconds="10"),
        lambda: Cooldowns(max_retry_after_seconds=float("nan")),
        lambda: Cooldowns(clock=3),
        lambda: RecentThreads(0),
        lambda: RecentThreads("10"),
        lambda: make().plan("x", needs=["tool"]),
        lambda: make().plan("x", n_tokens="5"),
        lambda: make().plan("x", n_tokens=-1),
    ],
)
def test_what_is_no_option_is_a_configuration_error(build):
    with pytest.raises(ConfigurationError):
        build()


def test_what_a_model_says_of_itself_goes_before_the_pool():
    router = Router(RulePredictor([Candidate(name=name, capabilities=["text"]) for name in NAMES]))
    dispatcher = Dispatcher(router, abilities={"words": Abilities(can={"tools": True})})
    record = dispatcher.plan("a 1", needs=["tools"]).record
    assert record["candidate"] == "words"
    assert record["excluded"] == dict.fromkeys(("digits", "lazy"), "has no tools, says its entry in the pool")
