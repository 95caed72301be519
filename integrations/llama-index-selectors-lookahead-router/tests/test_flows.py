"""The selector inside LlamaIndex's routers, over real indices and a real HTTP server."""

import pytest
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.retrievers import RouterRetriever
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index_world import NUMBERS_QUERY, WORDS_QUERY, make_llm, make_router

from llama_index.selectors.lookahead_router import LookaheadSelector, LookaheadSelectorResult, NoSuitableChoiceError


@pytest.fixture
def tools(engines):
    return [
        QueryEngineTool.from_defaults(engine, name=name, description="what rivers are")
        for name, engine in engines.items()
    ]


@pytest.fixture
def retriever_tools(indices):
    """More text for one candidate than for the other, from one index."""
    return [
        RetrieverTool.from_defaults(
            indices["rivers"].as_retriever(similarity_top_k=k), name=name, description="what rivers are"
        )
        for name, k in {"digits": 1, "words": 3}.items()
    ]


@pytest.mark.parametrize(("query", "name"), [(NUMBERS_QUERY, "digits"), (WORDS_QUERY, "words")])
async def test_a_query_reaches_the_engine_of_the_best_candidate(server, tools, query, name):
    engine = RouterQueryEngine(selector=LookaheadSelector(make_router()), query_engine_tools=tools)
    for response in (engine.query(query), await engine.aquery(query)):
        assert str(response).startswith(f"{name}: ")
        result = response.metadata["selector_result"]
        assert isinstance(result, LookaheadSelectorResult)
        assert result.candidate_names == [name]
        assert response.source_nodes
    assert server.models_called() == [name, name]


async def test_several_engines_are_asked_and_their_answers_summarised(server, tools):
    summarizer = make_llm("summarizer", server.url)
    selector = LookaheadSelector(make_router(), max_selections=2)
    engine = RouterQueryEngine.from_defaults(tools, llm=summarizer, selector=selector)
    assert str(engine.query(WORDS_QUERY)).startswith("summarizer: ")
    assert server.models_called() == ["words", "digits", "summarizer"]
    response = await engine.aquery(WORDS_QUERY)
    assert str(response).startswith("summarizer: ")
    assert sorted(server.models_called()[3:5]) == ["digits", "words"]
    assert response.metadata["selector_result"].inds == [1, 0]


async def test_a_query_that_none_answers_well_goes_to_the_default_engine(server, tools, indices):
    human = indices["rivers"].as_query_engine(llm=make_llm("human", server.url))
    tools = [*tools, QueryEngineTool.from_defaults(human, name="human", description="a person")]
    selector = LookaheadSelector(make_router(), min_probability=0.5, default="human")
    engine = RouterQueryEngine(selector=selector, query_engine_tools=tools)
    assert str(engine.query("a riddle")).startswith("human: ")
    assert str(await engine.aquery("a riddle")).startswith("human: ")
    engine = RouterQueryEngine(LookaheadSelector(make_router(), min_probability=0.5), tools[:2])
    with pytest.raises(NoSuitableChoiceError):
        engine.query("a riddle")


def test_the_prompts_of_a_router_engine_can_be_listed(tools):
    engine = RouterQueryEngine(selector=LookaheadSelector(make_router()), query_engine_tools=tools)
    assert all(key.startswith("summarizer:") for key in engine.get_prompts())


@pytest.mark.parametrize(("query", "n_nodes"), [(NUMBERS_QUERY, 1), (WORDS_QUERY, 3)])
async def test_a_router_retriever_takes_the_retriever_of_the_best_candidate(retriever_tools, query, n_nodes):
    retriever = RouterRetriever(selector=LookaheadSelector(make_router()), retriever_tools=retriever_tools)
    nodes = retriever.retrieve(query)
    assert len(nodes) == n_nodes
    assert [n.node_id for n in await retriever.aretrieve(query)] == [n.node_id for n in nodes]


async def test_a_router_retriever_merges_several_selections(retriever_tools):
    selector = LookaheadSelector(make_router(), max_selections=2)
    retriever = RouterRetriever(selector=selector, retriever_tools=retriever_tools)
    assert len(retriever.retrieve(WORDS_QUERY)) == 3
    assert len(await retriever.aretrieve(WORDS_QUERY)) == 3
