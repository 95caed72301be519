"""Who answers, what the record says, and what is bound, forced and refused."""

import json
import typing

import pytest
from fakes import NAMES, RulePredictor, TextOnlyModel, priced_router, rule_models, rule_router
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, Runnable
from lookahead_router import BestQuality, CostAware, Router
from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    LookaheadRouterWarning,
    PromptError,
    UnknownCandidateError,
)
from pydantic import BaseModel

from langchain_lookahead_router import ChatLookaheadRouter

THRIFTY = CostAware(score_per_usd=1000)


class Sum(BaseModel):
    """A sum."""

    value: int


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def make(router=None, **options):
    return ChatLookaheadRouter(candidates=rule_models(), router=router or rule_router(), **options)


def record_of(message):
    return message.response_metadata["lookahead_router"]


def test_each_prompt_goes_to_the_best_candidate():
    llm = make()
    assert llm.invoke("7 dwarfs").text == "digits: 7 dwarfs"
    assert llm.invoke("seven dwarfs").text == "words: seven dwarfs"
    assert [m.text for m in llm.batch(["7", "seven"], config={"max_concurrency": 2})] == ["digits: 7", "words: seven"]


async def test_async_answers_alike():
    llm = make()
    assert (await llm.ainvoke("7 dwarfs")).text == "digits: 7 dwarfs"
    assert [m.text for m in await llm.abatch(["7", "seven"])] == ["digits: 7", "words: seven"]
    assert "".join([c.text async for c in llm.astream("7 dwarfs")]) == "digits: 7 dwarfs"


def test_the_record_is_plain_json_stands_once_and_holds_nothing_of_the_prompt():
    llm = make()
    record = record_of(llm.invoke("7 tulips"))
    assert json.loads(json.dumps(record)) == record
    assert record["candidate"] == "digits"
    assert record["reason"] == "routed"
    assert record["scores"] == {"digits": 0.9, "words": 0.2, "lazy": 0.5}
    assert record["attempts"] == [{"candidate": "digits", "error": None, "failure": None}]
    assert "tulips" not in json.dumps(record)
    chunks = list(llm.stream("7 tulips"))
    assert [("lookahead_router" in c.response_metadata) for c in chunks].count(True) == 1
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    timeless = {"latency_seconds": 0.0}
    assert {**record_of(whole), **timeless} == {**record, **timeless}


def test_it_stands_in_chains_like_any_chat_model():
    chain = ChatPromptTemplate.from_template("Q: {q}") | make() | StrOutputParser()
    assert chain.invoke({"q": "7"}) == "digits: Q: 7"
    assert list(chain.stream({"q": "7"}))[:2] == ["digits:", " Q:"]


@pytest.mark.parametrize(
    "call",
    [
        lambda llm: llm.invoke("7", model="lazy"),
        lambda llm: llm.bind(model="lazy").invoke("7"),
        lambda llm: llm.invoke("7", config={"configurable": {"lookahead_candidate": "lazy"}}),
        lambda llm: llm.with_config(configurable={"lookahead_candidate": "lazy"}).invoke("7"),
        lambda llm: make(candidate="lazy").invoke("7"),
        lambda llm: llm.configurable_fields(candidate=ConfigurableField(id="who")).invoke(
            "7", config={"configurable": {"who": "lazy"}}
        ),
    ],
)
def test_a_forced_candidate_answers_without_a_prediction(call):
    llm = make()
    message = call(llm)
    assert message.text == "lazy: 7"
    assert record_of(message)["reason"] == "forced"
    assert llm.router.predictor.prompts == []


def test_the_nearest_order_wins():
    llm = make(candidate="digits")
    config = {"configurable": {"lookahead_candidate": "words"}}
    assert llm.invoke("a", config=config).text == "words: a"
    assert llm.invoke("a", config=config, model="lazy").text == "lazy: a"


def test_an_unknown_forced_candidate_is_told_with_the_nearest_name():
    with pytest.raises(UnknownCandidateError, match="Did you mean 'lazy'"):
        make().invoke("7", model="lasy")


@pytest.mark.parametrize(
    "call",
    [
        lambda llm: make(priced_router(), policy=THRIFTY).invoke("7"),
        lambda llm: llm.invoke("7", config={"configurable": {"lookahead_policy": THRIFTY}}),
        lambda llm: llm.configurable_fields(policy=ConfigurableField(id="policy")).invoke(
            "7", config={"configurable": {"policy": THRIFTY}}
        ),
    ],
)
def test_the_policy_can_be_set_for_all_calls_or_for_one(call):
    message = call(make(priced_router()))
    assert message.text == "lazy: 7"
    assert "CostAware" in record_of(message)["policy"]


def test_fields_set_later_count():
    llm = make(priced_router())
    assert llm.invoke("7").text == "digits: 7"
    llm.policy = THRIFTY
    assert llm.invoke("7").text == "lazy: 7"
    assert llm.model_copy(update={"policy": BestQuality()}).invoke("7").text == "digits: 7"


def test_some_of_the_pool_may_be_candidates_and_aliases_may_name_them():
    models = rule_models()
    llm = ChatLookaheadRouter(
        candidates={"small": models["lazy"], "words": models["words"]}, router=rule_router(), aliases={"lazy": "small"}
    )
    message = llm.invoke("7")
    assert message.text == "lazy: 7"
    assert record_of(message)["candidate"] == "small"


def test_tools_are_bound_to_the_chosen_candidate():
    llm = make()
    bound = llm.bind_tools([add])
    assert bound.invoke("3").tool_calls[0]["args"] == {"a": 3, "b": 3}
    _, kwargs = llm.candidates["digits"].calls[-1]
    assert kwargs["tools"][0]["function"]["name"] == "add"
    assert "tool_choice" not in kwargs
    llm.bind_tools([add], tool_choice="add").invoke("3")
    _, kwargs = llm.candidates["digits"].calls[-1]
    assert kwargs["tool_choice"]["function"]["name"] == "add"


def test_provider_tools_reach_the_candidate_as_they_are():
    taken = []

    class Native(type(rule_models()["lazy"])):
        def bind_tools(self, tools, **kwargs):
            taken.append((tools, kwargs))
            return self.bind(**kwargs)

    models = {**rule_models(), "digits": Native(label="digits")}
    bound = ChatLookaheadRouter(candidates=models, router=rule_router()).bind_tools(
        [{"google_search": {}}], strict=True
    )
    bound.invoke("7")
    bound.invoke("8")
    assert taken == [([{"google_search": {}}], {"strict": True})]  # converted once, however many calls


def test_structured_output_comes_from_the_chosen_candidate():
    llm = make()
    assert llm.with_structured_output(Sum).invoke("41") == Sum(value=41)
    raw = llm.with_structured_output(Sum, include_raw=True).invoke("41")
    assert raw["parsed"] == Sum(value=41)
    assert record_of(raw["raw"])["candidate"] == "digits"
    chunks = list(llm.with_structured_output(Sum, include_raw=True).stream("41"))
    assert any("raw" in chunk for chunk in chunks)


async def test_structured_output_is_async_too():
    structured = make().with_structured_output(Sum)
    assert await structured.ainvoke("41") == Sum(value=41)
    assert [chunk async for chunk in structured.astream("41")][-1] == Sum(value=41)


def test_bindings_work_through_fallbacks_and_retries():
    backup = rule_models()["lazy"]
    broken = ChatLookaheadRouter(candidates=rule_models(fails=ValueError("down")), router=rule_router())
    assert broken.with_fallbacks([backup]).bind_tools([add]).invoke("3").tool_calls[0]["name"] == "add"
    assert broken.with_fallbacks([backup]).with_structured_output(Sum).invoke("5") == Sum(value=5)
    flaky = make()
    failures = iter([ConnectionError("once"), None])
    original = type(flaky.candidates["digits"])._reply

    class Flaky(type(flaky.candidates["digits"])):
        def _reply(self, messages, kwargs):
            error = next(failures)
            if error is not None:
                raise error
            return original(self, messages, kwargs)

    llm = ChatLookaheadRouter(candidates={**rule_models(), "digits": Flaky(label="digits")}, router=rule_router())
    assert llm.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).invoke("7").text == "digits: 7"


@pytest.mark.parametrize("name", ["bind_tools", "with_structured_output"])
def test_return_annotations_resolve_at_runtime(name):
    hint = typing.get_type_hints(getattr(ChatLookaheadRouter, name))["return"]
    assert issubclass(typing.get_origin(hint), Runnable)


def test_the_keys_of_the_config_hold_behind_bindings():
    config = {"configurable": {"lookahead_candidate": "words"}}
    message = make().bind_tools([add]).invoke("3", config=config)
    assert message.tool_calls[0]["name"] == "add"
    assert record_of(message)["candidate"] == "words"
    assert {spec.id for spec in make().config_specs} == {"lookahead_candidate", "lookahead_policy", "lookahead_query"}


def test_stop_and_other_options_reach_the_candidate():
    stops = []

    class Watched(type(rule_models()["lazy"])):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            stops.append((stop, kwargs))
            return super()._generate(messages, stop, **kwargs)

    llm = ChatLookaheadRouter(candidates={**rule_models(), "digits": Watched(label="digits")}, router=rule_router())
    llm.invoke("7", stop=["x"], temperature=0.3)
    llm.invoke("7")
    assert stops == [(["x"], {"temperature": 0.3}), (None, {})]


def test_caches_are_the_candidates_own():
    models = {name: model.model_copy(update={"cache": InMemoryCache()}) for name, model in rule_models().items()}
    llm = ChatLookaheadRouter(candidates=models, router=rule_router())
    first, second = llm.invoke("7"), llm.invoke("7")
    assert len(models["digits"].calls) == 1
    assert record_of(first)["candidate"] == record_of(second)["candidate"] == "digits"
    assert "lookahead_router" not in models["digits"].invoke("7").response_metadata


def test_a_failing_predictor_leaves_the_answer_to_default(caplog):
    llm = make(rule_router(error=RuntimeError("boom about tulips")), default="lazy")
    message = llm.invoke("tulips")
    assert message.text == "lazy: tulips"
    assert record_of(message) == {
        "candidate": "lazy",
        "reason": "default",
        "error": "RuntimeError",
        "attempts": [{"candidate": "lazy", "error": None, "failure": None}],
    }
    assert "tulips" not in caplog.text
    assert "RuntimeError" in caplog.text


def test_without_default_the_failure_is_raised():
    with pytest.raises(RuntimeError, match="boom"):
        make(rule_router(error=RuntimeError("boom"))).invoke("7")


def test_default_answers_what_cannot_be_routed_and_never_hides_a_wrong_option():
    image = [HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])]
    assert record_of(make(default="lazy").invoke(image))["error"] == "PromptError"
    with pytest.raises(PromptError):
        make().invoke(image)
    config = {"configurable": {"lookahead_policy": THRIFTY}}
    with pytest.raises(ConfigurationError, match="price"):
        make(default="lazy").invoke("7", config)


def test_a_location_is_loaded_once_however_often_the_model_is_built(monkeypatch, tmp_path):
    loads = []

    def load(location=None, **options):
        loads.append((location, options))
        return rule_router()

    monkeypatch.setattr(Router, "from_pretrained", load)
    where = str(tmp_path / "once")
    llm = ChatLookaheadRouter(candidates=rule_models(), router=where, revision="v1").configurable_fields(
        candidate=ConfigurableField(id="who")
    )
    for _ in range(3):
        assert llm.invoke("7", config={"configurable": {"who": None}}).text == "digits: 7"
    assert loads == [(where, {"revision": "v1"})]


def test_output_version_shapes_the_answer_of_whoever_answers():
    llm = make(output_version="v1")
    assert llm.invoke("7").content == [{"type": "text", "text": "digits: 7"}]
    assert make().invoke("7").content == "digits: 7"


def test_disable_streaming_holds_for_the_candidates():
    chunks = list(make(disable_streaming=True).stream("7 dwarfs"))
    assert [chunk.text for chunk in chunks] == ["digits: 7 dwarfs"]


def test_callbacks_tags_and_metadata_of_the_router_reach_the_candidate():
    class Starts(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, *, tags, metadata, **kwargs):
            starts.append((tags, metadata["team"], metadata["ls_provider"]))

    starts = []
    make(callbacks=[Starts()], tags=["mine"], metadata={"team": "a"}).invoke("7 dwarfs")
    assert starts == [(["mine"], "a", "rulechatmodel")]


def test_wrong_options_are_told_when_the_router_is_built():
    with pytest.raises(ConfigurationError, match="did you mean 'fallbacks'"):
        make(fallback="next-best")
    with pytest.raises(ConfigurationError, match="fallbacks"):
        make(fallbacks="best")
    with pytest.raises(ConfigurationError, match="context_chars"):
        make(context_chars=-1)
    for policy in ("cheap", BestQuality, THRIFTY):
        with pytest.raises(ConfigurationError, match=r"utilities|price"):
            make(policy=policy)
    with pytest.raises(ConfigurationError, match="route_on"):
        make(route_on="question")
    with pytest.raises(ConfigurationError, match="function"):
        make(fallback_on=TimeoutError("x"))
    with pytest.raises(UnknownCandidateError):
        make(default="nobody")
    with pytest.raises(UnknownCandidateError):
        ChatLookaheadRouter(candidates={"nobody": rule_models()["lazy"]}, router=rule_router())
    with pytest.raises(ConfigurationError, match="mapping"):
        ChatLookaheadRouter(candidates=[], router=rule_router())
    with pytest.raises(ConfigurationError, match="bind tools"):
        ChatLookaheadRouter(candidates={"lazy": rule_models()["lazy"].with_retry()}, router=rule_router())
    for name, value in (("cache", InMemoryCache()), ("rate_limiter", InMemoryRateLimiter())):
        with pytest.raises(ConfigurationError, match="on the candidates"):
            make(**{name: value})


def test_candidates_that_a_fixed_pool_does_not_hold_are_told_with_the_ways_out():
    models = {"gpt-5-mini": rule_models()["lazy"]}
    with pytest.raises(UnknownCandidateError, match=r"'gpt-5-mini'.*aliases=.*router="):
        ChatLookaheadRouter(candidates=models, router=rule_router(), default="gpt-5-mini")


@pytest.mark.parametrize("options", [{}, {"default": "lazy"}, {"candidate": "lazy"}])
def test_a_predictor_that_is_not_there_is_told_when_the_router_is_built(tmp_path, options):
    with pytest.raises(CheckpointError):
        ChatLookaheadRouter(candidates=rule_models(), router=str(tmp_path / "nothing"), **options)


def test_generation_options_warn_and_show_no_value():
    with pytest.warns(LookaheadRouterWarning, match="api_key, temperature") as caught:
        make(temperature=0.1, api_key="sk-hidden")
    assert "sk-hidden" not in str(caught[0].message)


def test_generation_belongs_to_the_candidates():
    with pytest.raises(NotImplementedError, match="invoke"):
        make()._generate([HumanMessage("7")])
    assert issubclass(ChatLookaheadRouter, BaseChatModel)


def test_generate_gives_the_candidates_results():
    llm = make()
    result = llm.generate([[HumanMessage("7")], [HumanMessage("seven")]])
    assert [row[0].text for row in result.generations] == ["digits: 7", "words: seven"]
    assert [record_of(row[0].message)["candidate"] for row in result.generations] == ["digits", "words"]
    assert len(result.run) == 2
    assert llm.generate([[HumanMessage("7")]]).llm_output == {"model_name": "digits"}


async def test_agenerate_gives_the_candidates_results():
    result = await make().agenerate([[HumanMessage("7")], [HumanMessage("seven")]])
    assert [row[0].text for row in result.generations] == ["digits: 7", "words: seven"]


def test_token_counts_are_the_largest_among_the_candidates():
    models = rule_models()
    models["lazy"].custom_get_token_ids = lambda text: list(range(len(text)))
    for name in ("digits", "words"):
        models[name].custom_get_token_ids = lambda text: [0]
    llm = ChatLookaheadRouter(candidates=models, router=rule_router())
    assert llm.get_num_tokens("12345") == 5


def test_traces_name_the_router_and_agents_cannot_mistake_it_for_a_model():
    llm = make()
    assert llm._get_ls_params()["ls_provider"] == "lookahead_router"
    assert llm._get_ls_params(model="lazy")["ls_model_name"] == "lazy"
    assert not any(hasattr(llm, name) for name in ("model", "model_name", "model_id"))


def test_only_text_models_are_enough_for_text():
    models = {name: TextOnlyModel(label=name) for name in NAMES}
    llm = ChatLookaheadRouter(candidates=models, router=Router(RulePredictor()))
    assert llm.invoke([HumanMessage("7"), AIMessage("x"), HumanMessage("seven")]).text == "digits: text"
    assert "".join(chunk.text for chunk in llm.stream("7")) == "digits: text"
