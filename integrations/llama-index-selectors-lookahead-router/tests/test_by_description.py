"""Tools over different data: the index by its description, the LLM by foresight; and no silent guess without one."""

import warnings

import pytest
from llama_index.core.query_engine import RouterQueryEngine, SQLAutoVectorQueryEngine
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool, ToolMetadata
from llama_index_world import HashingEmbedding, RulePredictor, make_index, make_llm, make_router, recorded_events
from lookahead_router import Router
from lookahead_router.errors import ConfigurationError, LookaheadRouterWarning

from llama_index.selectors.lookahead_router import LookaheadSelectionEvent, LookaheadSelector, NoSuitableChoiceError

DATA = {
    "cooking": "recipes: bread, soup, sauce, oven",
    "law": "contracts, courts, tenant, landlord",
    "stars": "planets, comets, orbit, moon",
    "music": "violin, piano, symphony, orchestra",
    "sql": "tables: sales, shops, months",
}
QUESTIONS = {
    "How long does bread stay in the oven?": "cooking",
    "Which sauce goes with 2 kinds of soup?": "cooking",
    "Does a landlord enter when the tenant is away?": "law",
    "Do courts read contracts 2 times?": "law",
    "Why does the moon keep an orbit?": "stars",
    "How do the planets and the moon keep 2 comets?": "stars",
    "Who tunes the piano of an orchestra?": "music",
    "Has a symphony 4 parts?": "music",
    "Which of the shops had the best sales?": "sql",
    "What were the sales of May 2024, in tables?": "sql",
}


@pytest.fixture
def by_description(embed_model):
    return EmbeddingSingleSelector.from_defaults(embed_model)


def grid(*names):
    """A tool for each index and each LLM."""
    return [ToolMetadata(name=f"{topic}_{name}", description=text) for topic, text in DATA.items() for name in names]


def tied(*names):
    return {f"{topic}_{name}": name for topic in DATA for name in names}


async def test_ten_questions_over_five_indices_reach_their_index_and_the_better_llm(by_description):
    tools = grid("digits", "words")
    selector = LookaheadSelector(make_router(), candidates=tied("digits", "words"), by_description=by_description)
    for question, topic in QUESTIONS.items():
        result = selector.select(tools, question)
        better = "digits" if any(character.isdigit() for character in question) else "words"
        assert tools[result.ind].name == f"{topic}_{better}"
        assert result.candidate_names == [better]
        assert await selector.aselect(tools, question) == result


def test_indices_with_an_llm_each_or_one_between_them_need_no_grid(by_description):
    tools = [
        ToolMetadata(name="cooking", description=DATA["cooking"]),
        ToolMetadata(name="law", description=DATA["law"]),
        ToolMetadata(name="stars", description=DATA["stars"]),
        ToolMetadata(name="stars_digits", description=DATA["stars"]),
    ]
    ties = {"cooking": "words", "stars": "words", "stars_digits": "digits"}  # two over one LLM; law names none
    selector = LookaheadSelector(make_router(), candidates=ties, by_description=by_description)
    assert selector.select(tools, "How long does bread stay in the oven?").candidate_names == ["words"]
    law = selector.select(tools, "Does a landlord enter when the tenant is away?")
    assert (law.ind, law.candidate_names, law.scores) == (1, [None], {})
    assert law.reason == "the only tool of its description"
    assert selector.select(tools, "Why does the moon keep an orbit?").ind == 2
    assert selector.select(tools, "How do the planets and the moon keep 2 comets?").ind == 3


def test_only_the_chosen_description_is_predicted_and_told_of(by_description):
    predictor = RulePredictor(("digits", "words"))
    selector = LookaheadSelector(Router(predictor), candidates=tied("digits"), by_description=by_description)
    with recorded_events() as events:
        result = selector.select(grid("digits"), "Why does the moon keep an orbit?")
    (event,) = events.of(LookaheadSelectionEvent)
    assert event.candidates == result.candidate_names == ["digits"]
    assert len(predictor.prompts) == 1


def test_several_descriptions_are_decided_one_by_one(embed_model):
    selector = LookaheadSelector(
        make_router(), candidates=tied("digits", "words"), by_description=SelectsFirstTwo(embed_model)
    )
    tools = grid("digits", "words")
    assert [tools[index].name for index in selector.select(tools, "a tale").inds] == ["cooking_words", "law_words"]


class SelectsFirstTwo(EmbeddingSingleSelector):
    def _select(self, choices, query):
        result = super()._select(choices, query)
        (one,) = result.selections
        return type(result)(selections=[one.model_copy(update={"index": index}) for index in (0, 1)])


def test_min_probability_holds_within_the_chosen_description(by_description):
    options = {"candidates": tied("digits", "words"), "by_description": by_description, "min_probability": 0.5}
    with pytest.raises(NoSuitableChoiceError):
        LookaheadSelector(make_router(), **options).select(grid("digits", "words"), "a riddle of bread")
    human = ToolMetadata(name="human", description="a person")
    result = LookaheadSelector(make_router(), default="human", **options).select(
        [*grid("digits", "words"), human], "a riddle of bread"
    )
    assert (result.ind, result.is_default, result.candidate_names) == (10, True, [None])


def test_tools_that_one_llm_serves_and_nothing_tells_apart(by_description):
    selector = LookaheadSelector(
        make_router(), candidates={"one": "words", "two": "words"}, by_description=by_description
    )
    tools = [ToolMetadata(name=name, description="the same") for name in ("one", "two")]
    with pytest.raises(ConfigurationError, match=r"'one' and 'two' both stand for .* and have one description"):
        selector.select(tools, "a tale")


def test_of_a_description_with_several_tools_each_needs_a_candidate(by_description):
    selector = LookaheadSelector(make_router(), candidates={"one": "words"}, by_description=by_description)
    tools = [ToolMetadata(name=name, description="the same") for name in ("one", "two")]
    with pytest.raises(ConfigurationError, match="'two' stands for no candidate"):
        selector.select(tools, "a tale")


@pytest.mark.parametrize("tools", [list(DATA), [ToolMetadata(name=None, description=text) for text in DATA.values()]])
def test_tools_that_name_no_llm_are_refused_with_what_to_use_instead(tools):
    with pytest.raises(ConfigurationError) as info:
        LookaheadSelector(make_router()).select(tools, "Which of the shops had the best sales?")
    message = str(info.value)
    assert "chooses among LLMs, not among data" in message
    assert "by_description=EmbeddingSingleSelector.from_defaults()" in message
    assert "LookaheadRouterLLM" in message


def test_different_data_under_different_llms_is_warned_of_once():
    tools = [ToolMetadata(name=name, description=DATA[name]) for name in ("law", "sql")]
    selector = LookaheadSelector(make_router(), candidates={"law": "words", "sql": "digits"})
    with pytest.warns(LookaheadRouterWarning, match=r"descriptions differ .* by_description="):
        selector.select(tools, "Which of the shops had the best sales?")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selector.select(tools, "Which of the shops had the best sales?")


def test_the_engines_that_choose_between_tables_and_texts_do_not_take_it(server, embed_model):
    index = make_index("rivers", embed_model)
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=make_llm("words", server.url)), description="x")
    with pytest.raises((ValueError, AssertionError)):
        SQLAutoVectorQueryEngine(tool, tool, selector=LookaheadSelector(make_router()))


def test_a_router_query_engine_over_a_grid(server):
    embed_model = HashingEmbedding()
    tools = [
        QueryEngineTool.from_defaults(
            make_index(topic, embed_model).as_query_engine(llm=make_llm(name, server.url)),
            name=f"{topic}_{name}",
            description=text,
        )
        for topic, text in {"numbers": "primes and sums", "rivers": "deltas and floods"}.items()
        for name in ("digits", "words")
    ]
    selector = LookaheadSelector(
        make_router(),
        candidates={tool.metadata.name: tool.metadata.name.partition("_")[2] for tool in tools},
        by_description=EmbeddingSingleSelector.from_defaults(embed_model),
    )
    response = RouterQueryEngine(selector=selector, query_engine_tools=tools).query("How are 3 deltas made of floods?")
    assert str(response).startswith("digits: ")
    assert "river" in response.source_nodes[0].text
