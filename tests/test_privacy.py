"""Personal data and secrets go to local candidates, in decisions and in dispatch, or to nobody."""

import pickle

import pytest
from dispatching import HTTPError, RulePredictor, asked, call
from routes.axes import AxesEmbedder, route, routes

from lookahead_router import (
    Candidate,
    Cascade,
    Dispatcher,
    OwnCheck,
    Privacy,
    Reliability,
    Restricted,
    Router,
    Routes,
    read_request,
)
from lookahead_router.dispatch.checks import Reply
from lookahead_router.errors import ConfigurationError, PrivacyError, UnknownCandidateError

MAIL = "tell anna@post.de of the 7 tulips"


class Rules(RulePredictor):
    def __init__(self, pool=("digits", "words", "lazy")):
        super().__init__(pool)
        self.embedder = AxesEmbedder()


def router(*local, **options):
    return Router(Rules(), privacy=Privacy(local=local, **options))


def dispatcher(*local, refuse=False, **options):
    privacy = Privacy(local=local, refuse=refuse)
    return Dispatcher(Router(Rules()), privacy=privacy, **{"fallbacks": "next-best", **options})


def test_what_is_private_goes_to_the_best_of_the_local_candidates():
    decision = router("words", "lazy").route(MAIL)
    assert (decision.name, decision.private) == ("lazy", ("e-mail address",))
    assert decision.utilities.keys() == {"words", "lazy"}
    assert router("words").route("7 tulips").name == "digits"
    assert router("words").route("7 tulips").private == ()


def test_without_a_local_candidate_it_is_refused_with_the_kind_and_no_text():
    for refusing in (router(), router("lazy", refuse=True)):
        with pytest.raises(PrivacyError) as error:
            refusing.route(MAIL)
        assert error.value.kinds == ("e-mail address",)
        assert "e-mail address" in str(error.value)
        assert "anna" not in str(error.value)
        assert pickle.loads(pickle.dumps(error.value)).kinds == error.value.kinds
        assert refusing.route("7 tulips").name == "digits"


def test_candidates_say_so_of_themselves():
    pool = [Candidate(name="digits"), Candidate(name="words", local=True), Candidate(name="lazy")]
    ours = Router(Rules(pool), privacy=Privacy())
    assert ours.route(MAIL).name == "words"
    renamed = ours.with_aliases({"words": "w"})
    assert renamed.route(MAIL).name == "w"
    assert router("words").with_aliases({"words": "w"}).with_prices({"w": 1.0}).route(MAIL).name == "w"
    other = router("words").with_aliases({"words": Candidate(name="w")})  # somebody else, who does not say it
    with pytest.raises(PrivacyError):
        other.route(MAIL)
    with pytest.raises(PrivacyError):
        router("words").restrict_to(["digits", "lazy"]).route(MAIL)


def test_a_batch_decides_row_by_row():
    decisions = router("lazy").route_batch(["7 tulips", MAIL, "roses"])
    assert [decision.name for decision in decisions] == ["digits", "lazy", "words"]
    assert [bool(decision.private) for decision in decisions] == [False, True, False]


def test_earlier_turns_and_passages_count():
    said = [{"role": "user", "content": MAIL}, {"role": "assistant", "content": "done"}]
    assert router("lazy").route([*said, {"role": "user", "content": "What is the square root of 49?"}]).name == "lazy"
    assert router("lazy").route("who is it? 7", context=[MAIL]).name == "lazy"


def test_routes_yield_where_they_have_no_local_candidate():
    written = Routes([route("code", "words", "lazy"), route("law", "digits")])
    ours = Router(Rules(), routes=written, privacy=Privacy(local=["lazy"]))
    decided = ours.route(f"code for {MAIL}")
    assert (decided.name, decided.route) == ("lazy", "code")
    decided = ours.route(f"law for {MAIL}")
    assert (decided.name, decided.route) == ("lazy", "law")
    assert ours.route("law").name == "digits"


def test_a_policy_that_denies_the_local_candidate_leaves_nobody():
    ours = Router(Rules(), policy=Restricted(deny=("lazy",)), privacy=Privacy(local=["lazy"]))
    with pytest.raises(PrivacyError):
        ours.route(MAIL)


def test_mistakes_are_errors_when_the_router_is_built():
    with pytest.raises(UnknownCandidateError):
        router("nobody")
    for wrong in (True, "words", {"local": ["words"]}):
        with pytest.raises(ConfigurationError, match="privacy must be Privacy"):
            Router(Rules(), privacy=wrong)


def test_a_router_with_privacy_survives_pickling():
    assert pickle.loads(pickle.dumps(router("lazy"))).route(MAIL).name == "lazy"


# Dispatch


def test_the_record_says_the_kinds_and_why_the_others_are_out():
    record = call(dispatcher("lazy"), text=read_request(MAIL))
    assert (record["candidate"], record["private"]) == ("lazy", ["e-mail address"])
    assert record["excluded"]["digits"] == "is not local, and the request holds private data (e-mail address)"
    assert "private" not in call(dispatcher("lazy"), text="7")
    assert "anna" not in repr(record)


def test_fallbacks_never_leave_the_local_candidates():
    failing = {"words": HTTPError(503), "lazy": HTTPError(503)}
    ours = dispatcher("words", "lazy")
    attempts = ours.plan(read_request(MAIL))
    seen = [attempts.name]
    while attempts.move_on(failing[attempts.name]):
        seen.append(attempts.name)
    assert seen == ["lazy", "words"]
    assert asked(call(ours, {"lazy": HTTPError(503)}, text=MAIL)) != []


@pytest.mark.parametrize("wish", [{"keep": "digits"}, {"thread": "t"}])
def test_what_is_kept_does_not_reach_beyond_them(wish):
    ours = dispatcher("lazy", sticky="thread", threads={"t": "digits"})
    assert ours.plan(read_request(MAIL), **wish).record["candidate"] == "lazy"
    assert ours.plan("tulips", **wish).record["candidate"] == "digits"


def test_who_holds_the_conversation_does_not_either():
    ours = dispatcher("lazy", sticky="adaptive")
    assert ours.plan(read_request(MAIL), held="digits").record["candidate"] == "lazy"


def test_the_default_is_not_asked_where_it_is_not_local():
    ours = dispatcher("lazy", default="digits")
    ours.router.predictor.error = OSError("down")
    assert ours.plan(read_request(MAIL)).record["candidate"] == "lazy"
    assert ours.plan("tulips").record["candidate"] == "digits"
    with pytest.raises(PrivacyError):
        dispatcher(default="digits").plan(read_request(MAIL))
    empty = read_request([{"role": "system", "content": MAIL}], allow_empty=True)
    assert ours.plan(empty).record["candidate"] == "lazy"


def test_a_forced_candidate_that_is_not_local_is_refused():
    with pytest.raises(PrivacyError, match="'digits' is not local") as error:
        dispatcher("lazy").plan(read_request(MAIL), forced="digits")
    assert error.value.candidate == "digits"
    assert dispatcher("lazy").plan(read_request(MAIL), forced="lazy").record["candidate"] == "lazy"
    assert dispatcher("lazy").plan("tulips", forced="digits").record["candidate"] == "digits"


def test_a_policy_of_one_call_does_not_reach_beyond_them():
    ours = dispatcher("lazy")
    assert ours.plan(read_request(MAIL), policy=Restricted(deny=("words",))).record["candidate"] == "lazy"
    with pytest.raises(PrivacyError):
        ours.plan(read_request(MAIL), policy=Restricted(deny=("lazy",)))


def test_needs_that_no_local_candidate_meets_leave_nobody():
    from lookahead_router import Abilities

    ours = dispatcher("lazy", abilities={"lazy": Abilities({"images": False})})
    with pytest.raises(ConfigurationError, match="no candidate can take this request") as error:
        ours.plan(read_request(MAIL), needs=["images"])
    assert "anna" not in str(error.value)


def test_a_chat_model_that_tells_routes_is_not_asked_of_what_is_private():
    seen = []
    told = routes().using(lambda prompt: seen.append(prompt) or "code")
    ours = dispatcher("lazy", routes=told)
    record = ours.plan(read_request(MAIL)).record
    assert (record["candidate"], record["route"], seen) == ("lazy", None, [])
    assert ours.plan("tulips").record["route"] == "code"
    assert len(seen) == 1
    both = Router(Rules(), routes=told, privacy=Privacy(local=["lazy"]))
    assert both.route(MAIL).route is None
    assert len(seen) == 1
    trusted = routes().using(lambda prompt: "code", local=True)
    assert dispatcher("lazy", routes=trusted).plan(read_request(MAIL)).record["route"] == "code"


def test_a_cascade_asks_local_candidates_alone():
    prices = {"digits": 0.01, "words": 0.001, "lazy": 0.005}
    never = OwnCheck(lambda question, text: False, Reliability(0.95, 0.05), name="never")
    ours = dispatcher("words", "lazy", prices=prices, cascade=Cascade([never], score_per_usd=1, max_calls=3))

    def asks(text):
        attempts, seen = ours.plan(read_request(text)), []
        while True:
            seen.append(attempts.name)
            if attempts.settles("an answer", lambda: Reply("an answer")):
                return set(seen)

    assert asks(MAIL) == {"words", "lazy"}
    assert "digits" in asks("7 tulips")
