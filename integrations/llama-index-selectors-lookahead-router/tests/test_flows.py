"""The selector inside LlamaIndex's routers, over real indices and a real HTTP server."""

import json

import pytest
from llama_index.core import Settings, SQLDatabase
from llama_index.core.indices.vector_store.retrievers import VectorIndexAutoRetriever
from llama_index.core.query_engine import (
    NLSQLTableQueryEngine,
    RetrieverQueryEngine,
    RouterQueryEngine,
    SQLAutoVectorQueryEngine,
    SQLJoinQueryEngine,
)
from llama_index.core.retrievers import RouterRetriever
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index.core.vector_stores import VectorStoreInfo
from llama_index_world import NUMBERS_QUERY, WORDS_QUERY, make_index, make_llm, make_router
from servers.openai_server import Reply, text_of
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from llama_index.selectors.lookahead_router import LookaheadSelector, LookaheadSelectorResult, NoSuitableChoiceError


@pytest.fixture
def tools(engines):
    return [QueryEngineTool.from_defaults(engine, name=name, description=name) for name, engine in engines.items()]


@pytest.fixture
def retriever_tools(indices):
    names = {"digits": "numbers", "words": "rivers"}
    return [
        RetrieverTool.from_defaults(indices[index].as_retriever(similarity_top_k=2), name=name, description=index)
        for name, index in names.items()
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


@pytest.mark.parametrize(("query", "start"), [(NUMBERS_QUERY, "A prime number"), (WORDS_QUERY, "A river begins")])
async def test_a_router_retriever_asks_the_index_of_the_best_candidate(retriever_tools, query, start):
    retriever = RouterRetriever(selector=LookaheadSelector(make_router()), retriever_tools=retriever_tools)
    nodes = retriever.retrieve(query)
    assert any(node.text.startswith(start) for node in nodes)
    assert [n.node_id for n in await retriever.aretrieve(query)] == [n.node_id for n in nodes]


async def test_a_router_retriever_merges_several_selections(retriever_tools):
    selector = LookaheadSelector(make_router(), max_selections=2)
    retriever = RouterRetriever(selector=selector, retriever_tools=retriever_tools)
    assert len(retriever.retrieve(WORDS_QUERY)) == 4
    assert len(await retriever.aretrieve(WORDS_QUERY)) == 4


def answer_for_sql(request):
    """Writes the SQL, the filters of the vector store, and no further question."""
    prompt = text_of(request["messages"][-1])
    if "SQLQuery:" in prompt and "SQLResult" in prompt and "SQL Response" not in prompt:
        return Reply("SELECT SUM(length_km) FROM rivers")
    if "structured request" in prompt.lower() or "Structured Request" in prompt:
        return Reply("```json\n" + json.dumps({"query": "river", "filters": [], "top_k": 1}) + "\n```")
    if "New question" in prompt or "New Question" in prompt:
        return Reply("None")
    return Reply(f"answered from: {prompt}")


@pytest.fixture
def sql_engine():
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE rivers (name TEXT, length_km INTEGER)"))
        connection.execute(text("INSERT INTO rivers VALUES ('Rhine', 1230), ('Elbe', 1094)"))
    yield engine
    engine.dispose()


@pytest.fixture
def sql_tools(server, sql_engine, embed_model):
    server.script = answer_for_sql
    llm = Settings.llm = make_llm("sql", server.url)
    database = SQLDatabase(sql_engine, include_tables=["rivers"])
    sql = NLSQLTableQueryEngine(database, tables=["rivers"], llm=llm, embed_model=embed_model)
    info = VectorStoreInfo(content_info="what rivers are", metadata_info=[])
    index = make_index("rivers", embed_model)
    vector = RetrieverQueryEngine.from_args(VectorIndexAutoRetriever(index, vector_store_info=info, llm=llm), llm=llm)
    return (
        QueryEngineTool.from_defaults(sql, name="lengths", description="lengths in km"),
        QueryEngineTool.from_defaults(vector, name="texts", description="what rivers are"),
    )


@pytest.mark.parametrize("kind", [SQLAutoVectorQueryEngine, SQLJoinQueryEngine])
async def test_sql_engines_take_the_selector(sql_tools, kind):
    selector = LookaheadSelector(make_router(), candidates={"lengths": "digits", "texts": "words"})
    engine = kind(*sql_tools, selector=selector, verbose=False)
    response = engine.query("How long are the 2 rivers together?")
    assert response.metadata["sql_query"] == "SELECT SUM(length_km) FROM rivers"
    assert response.metadata["result"] == [(2324,)]
    response = await engine.aquery(WORDS_QUERY)
    assert "sql_query" not in (response.metadata or {})
    assert "river" in response.source_nodes[0].text.lower()
