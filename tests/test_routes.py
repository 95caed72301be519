"""Routers with routes: within the one that a request belongs to, the policy decides among its candidates."""

import copy
import pickle

import pytest
from dispatching import RulePredictor, asked, call, make
from routes.axes import AxesEmbedder, route, routes

from lookahead_router import (
    Candidate,
    CostAware,
    Dispatcher,
    KeepQuality,
    Prediction,
    Restricted,
    Route,
    Router,
    Routes,
    read_request,
)
from lookahead_router.errors import ConfigurationError, PredictionError, UnknownCandidateError
from lookahead_router.policies import BestQuality
from lookahead_router.routes.orders import Listed, Preferred


class Rules(RulePredictor):
    """`digits` is best where there is a digit, `words` elsewhere; its embedder is plain."""

    def __init__(self, pool=("digits", "words", "lazy")):
        super().__init__(pool)
        self.embedder = AxesEmbedder()


def router(written=None, **options):
    return Router(Rules(), routes=routes() if written is None else written, **options)


def test_the_route_limits_whom_the_scores_choose_among():
    decision = router().route("code 7")
    assert (decision.name, decision.route) == ("lazy", "code")  # `digits` is better, and not of the route
    assert decision.utilities.keys() == {"words", "lazy"}
    assert decision.scores.keys() == {"digits", "words", "lazy"}
    assert router().route("code").name == "words"
    assert router().route("law").name == "lazy"


def test_what_belongs_to_no_route_goes_to_the_whole_pool_or_to_those_named_for_it():
    decision = router().route("tulips")
    assert (decision.name, decision.route) == ("words", None)
    assert decision.similarity < 0.9
    assert router(routes(otherwise=["lazy"])).route("tulips").name == "lazy"


def test_without_routes_a_decision_knows_of_none():
    decision = Router(Rules()).route("code")
    assert (decision.route, decision.similarity) == (None, None)
    assert decision.to_dict()["route"] is None


def test_a_batch_decides_as_single_prompts_do():
    prompts = ["code 7", "tulips", "law", "code", "food 1", "tulips 2"]
    ours = router(routes(otherwise=["lazy", "digits"]))
    batch = ours.route_batch(prompts)
    for prompt, decision in zip(prompts, batch, strict=True):
        alone = ours.route(prompt)
        assert (alone.name, alone.route) == (decision.name, decision.route)
        assert alone.similarity == pytest.approx(decision.similarity)


def test_a_follow_up_keeps_the_route_and_another_topic_leaves_it():
    said = [
        {"role": "user", "content": "write code that sorts a list of names"},
        {"role": "assistant", "content": "ok"},
    ]
    assert router().route([*said, {"role": "user", "content": "and in Rust?"}]).route == "code"
    assert (
        router().route([*said, {"role": "user", "content": "What does employment law say of notice?"}]).route == "law"
    )


def test_the_first_listed_answers_where_the_route_says_so_whatever_is_foreseen():
    written = Routes([route("code", "lazy", "words", order="listed")])
    assert router(written).route("code").ranking == ("lazy", "words")


def test_the_rest_of_the_pool_follows_where_the_route_is_not_strict():
    written = Routes([route("code", "lazy", "digits", strict=False)])
    assert router(written).route("code").ranking == ("lazy", "digits", "words")
    listed = Routes([route("code", "digits", "lazy", strict=False, order="listed")])
    assert router(listed).route("code").ranking == ("digits", "lazy", "words")


def test_prices_and_exclusions_of_the_policy_hold_within_a_route():
    prices = {"digits": 1.0, "words": 1.0, "lazy": 0.01}
    dear = Router(Rules()).with_prices(prices).with_policy(CostAware(10.0)).with_routes(routes())
    assert dear.route("code").name == "lazy"
    assert dear.with_policy(KeepQuality(0.9)).route("code").name == "words"
    denied = Router(Rules(), policy=Restricted(deny=("words",)), routes=routes())
    assert denied.route("code").name == "lazy"


def test_routes_are_checked_when_the_router_is_built():
    with pytest.raises(UnknownCandidateError):
        Router(Rules(("digits", "words", "other")), routes=routes())
    with pytest.raises(ConfigurationError, match="the route 'law': the policy excludes every candidate"):
        Router(Rules(), policy=Restricted(deny=("lazy",)), routes=routes())
    with pytest.raises(ConfigurationError, match="requests of no route"):
        Router(Rules(), policy=Restricted(deny=("digits",)), routes=Routes([route("code", "words")], ["digits"]))
    with pytest.raises(ConfigurationError, match="the route 'law'"):
        router().with_policy(Restricted(deny=("lazy",)))
    for wrong in ("routes.yaml", Routes, [route("code")], 7):
        with pytest.raises(ConfigurationError, match="routes must be Routes"):
            router().with_routes(wrong)
    with pytest.raises(ConfigurationError, match="no example"):
        router(Routes([route("code", n=0)]))


def test_names_follow_the_router_and_a_route_that_loses_its_candidates_is_an_error():
    renamed = router().with_aliases({"lazy": "l", "words": Candidate(name="w", usd_per_call=1.0)})
    assert renamed.route("code 7").name == "l"
    assert renamed.routes.routes["code"].candidates == ("w", "l")
    assert router().restrict_to(["digits", "lazy"]).route("code").name == "lazy"
    with pytest.raises(ConfigurationError, match="left without a candidate"):
        router().restrict_to(["digits", "words"])
    assert router().with_routes(None).restrict_to(["digits"]).route("law").name == "digits"


def test_the_scores_are_those_of_a_router_without_routes():
    plain = Router(Rules()).route("code 7")
    assert router().route("code 7").scores == plain.scores


def test_examples_are_embedded_once():
    ours = router()
    embedder = ours.predictor.embedder
    n = embedder.n_texts
    assert n > 0
    ours.with_aliases({"lazy": "l"}).with_policy(BestQuality()).route("code")
    assert embedder.n_texts == n + 1


def test_a_router_with_routes_survives_pickling_and_copies():
    for again in (pickle.loads(pickle.dumps(router())), copy.deepcopy(router())):
        assert again.route("code 7").route == "code"


def test_nothing_of_the_prompt_is_in_a_decision():
    assert "secret" not in repr(router().route("code of my secret"))


# Policies of routes


@pytest.mark.parametrize("policy", [Listed(("b", "nobody")), Preferred(BestQuality(), ("b", "nobody"))])
def test_who_is_preferred_goes_first_and_names_that_are_not_there_are_passed_over(policy):
    prediction = Prediction(("a", "b", "c") and Rules(("a", "b", "c")).pool, [[1.0, 0.0, 0.5]])
    utilities = policy.utilities(prediction, prediction.pool)[0]
    assert utilities.argsort()[::-1].tolist() == [1, 0, 2]


def test_who_is_excluded_stays_so_among_the_preferred():
    pool = Rules(("a", "b", "c")).pool
    policy = Preferred(Restricted(deny=("b",)), ("b", "c"))
    utilities = policy.utilities(Prediction(pool, [[1.0, 0.9, 0.1]]), pool)[0]
    assert utilities[1] == float("-inf")
    assert utilities[2] > utilities[0]


# Dispatch


def dispatcher(**options):
    return Dispatcher(Router(Rules()), fallbacks="next-best", **{"routes": routes(), **options})


def test_the_record_says_route_and_similarity():
    record = call(dispatcher(), text="code 7")
    assert (record["candidate"], record["route"]) == ("lazy", "code")
    assert 0.9 < record["similarity"] <= 1
    assert record["excluded"].keys() == {"digits"}
    record = call(dispatcher(), text="tulips")
    assert record["route"] is None
    assert record["similarity"] < 0.9
    assert "route" not in call(make())


def test_fallbacks_stay_within_a_strict_route():
    from dispatching import HTTPError

    failing = {"lazy": HTTPError(503), "words": HTTPError(503)}
    with pytest.raises(HTTPError):
        call(dispatcher(), failing, text="code 7")
    loose = dispatcher(routes=Routes([route("code", "words", "lazy", strict=False)]))
    assert asked(call(loose, failing, text="code 7")) == ["lazy", "words", "digits"]


def test_routes_of_the_router_hold_and_others_take_their_place():
    kept = Dispatcher(router())
    assert kept.plan("code 7").record["candidate"] == "lazy"
    other = Dispatcher(router(), routes=Routes([route("code", "digits")]))
    assert other.plan("code").record["candidate"] == "digits"


def test_a_policy_of_one_call_decides_within_the_route():
    ours = dispatcher()
    assert ours.plan("code 7", policy=Restricted(deny=("lazy",))).record["candidate"] == "words"
    with pytest.raises(ConfigurationError, match="excludes every candidate"):
        ours.plan("law", policy=Restricted(deny=("lazy",)))
    assert ours.plan("tulips", policy=Restricted(deny=("lazy",))).record["candidate"] == "words"


def test_a_forced_candidate_answers_whatever_the_route():
    assert dispatcher().plan("code", forced="digits").record["candidate"] == "digits"


def test_what_is_kept_leaves_when_the_route_does_not_hold_it():
    assert dispatcher().plan("code", keep="lazy").record["candidate"] == "lazy"
    assert dispatcher().plan("code", keep="digits").record["candidate"] == "words"


def test_needs_narrow_the_route_down():
    from lookahead_router import Abilities

    ours = dispatcher(abilities={"words": Abilities({"images": False})})
    assert ours.plan("code", needs=["images"]).record["candidate"] == "lazy"


def test_a_route_that_cannot_be_told_counts_as_none_where_there_is_a_default():
    class Broken(AxesEmbedder):
        def embed(self, texts):
            if "tulips" in texts:
                raise OSError("tulips")
            return super().embed(texts)

    fitted = routes().fit(Broken())
    record = dispatcher(routes=fitted, default="lazy").plan("tulips").record
    assert (record["route"], record["route_error"], record["candidate"]) == (None, "OSError", "words")
    with pytest.raises(OSError, match="tulips"):
        dispatcher(routes=fitted).plan("tulips")


def test_a_chat_model_tells_the_route_and_where_it_fails_the_record_says_so():
    asked_of = []

    def complete(prompt):
        asked_of.append(prompt)
        return '{"route": "law"}'

    record = dispatcher(routes=routes().using(complete)).plan(read_request("tulips")).record
    assert (record["route"], record["similarity"], record["candidate"]) == ("law", None, "lazy")
    assert len(asked_of) == 1
    record = dispatcher(routes=routes().using(lambda prompt: 1 / 0)).plan("tulips").record
    assert (record["route"], record["route_error"]) == (None, "ZeroDivisionError")


def test_a_dispatcher_with_routes_survives_pickling():
    assert pickle.loads(pickle.dumps(dispatcher())).plan("code 7").record["route"] == "code"


def test_nothing_to_route_on_belongs_to_no_route():
    record = dispatcher(default="digits", routes=routes(otherwise=["lazy"])).plan("").record
    assert record["candidate"] == "digits"
    assert "route" not in record


def test_the_embedded_network_tells_routes_of_any_names_and_all_that_are_named_are_the_pool():
    written = [
        Route(
            name="cooking",
            description="recipes and food",
            examples=["how long do I boil an egg", "a recipe for leek soup", "what goes with lamb"],
            candidates=["mine"],
        ),
        Route(
            name="programming",
            description="writing and mending programs",
            examples=["reverse a list in Python", "why does this loop never end", "write a unit test for my parser"],
            candidates=["yours", "gpt-4o-mini"],
        ),
    ]
    with pytest.warns(UserWarning, match="nothing is known of"):
        ours = Router.from_pretrained(routes=Routes(written, otherwise=["gpt-4o"]))
    assert ours.pool.names == ("mine", "yours", "gpt-4o-mini", "gpt-4o")
    assert ours.route("give me a recipe for apple pie").route == "cooking"
    assert ours.route("write a Python function that sorts numbers").route == "programming"
    assert ours.route("who was the first emperor of Rome?").name == "gpt-4o"


def test_an_embedder_that_breaks_is_an_error_of_the_prediction():
    class Broken(AxesEmbedder):
        def embed(self, texts):
            return super().embed(texts)[: len(texts) - (len(texts) == 1)]

    with pytest.raises(PredictionError):
        router(routes().fit(Broken())).route("code")
