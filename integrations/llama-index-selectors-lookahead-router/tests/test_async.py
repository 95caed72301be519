"""Selecting asynchronously neither blocks the loop nor mixes queries up."""

import asyncio

from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.tools import QueryEngineTool, ToolMetadata
from llama_index_world import WORDS_QUERY, WaitingPredictor, make_router
from lookahead_router import Router

from llama_index.selectors.lookahead_router import LookaheadSelector

TOOLS = [ToolMetadata(name=name, description="") for name in ("digits", "words")]


async def test_the_loop_goes_on_while_the_predictor_predicts():
    predictor = WaitingPredictor()
    selecting = asyncio.create_task(LookaheadSelector(Router(predictor)).aselect(TOOLS, WORDS_QUERY))
    await asyncio.sleep(0.05)
    assert not selecting.done()
    predictor.release.set()
    assert (await selecting).ind == 1


async def test_the_loop_goes_on_while_a_function_reads_the_query():
    predictor = WaitingPredictor()

    def read(query):
        assert predictor.release.wait(timeout=10)
        return query.query_str

    selecting = asyncio.create_task(LookaheadSelector(make_router(), route_on=read).aselect(TOOLS, WORDS_QUERY))
    await asyncio.sleep(0.05)
    assert not selecting.done()
    predictor.release.set()
    assert (await selecting).ind == 1


async def test_a_hundred_concurrent_selections_of_the_embedded_predictor_are_the_serial_ones():
    selector = LookaheadSelector(Router.from_pretrained(n_threads=1))
    tools = [ToolMetadata(name=name, description="") for name in selector.router.pool.names]
    queries = [f"Tell a tale of {'very ' * i}long rivers, or prove that {i} is even." for i in range(100)]
    serial = [selector.select(tools, query) for query in queries]
    assert await asyncio.gather(*(selector.aselect(tools, query) for query in queries)) == serial
    assert len({str(result.scores) for result in serial}) == 100, "queries mixed up would be seen"


async def test_a_hundred_concurrent_queries_are_all_answered_as_one_by_one(server, engines):
    tools = [QueryEngineTool.from_defaults(engine, name=name, description="") for name, engine in engines.items()]
    engine = RouterQueryEngine(selector=LookaheadSelector(make_router()), query_engine_tools=tools)
    queries = [f"What is {i} + {i}?" if i % 3 else f"Tell a tale of {'very ' * i}long rivers" for i in range(100)]
    serial = [engine.query(query) for query in queries]
    responses = await asyncio.gather(*(engine.aquery(query) for query in queries))
    assert [r.metadata["selector_result"] for r in responses] == [r.metadata["selector_result"] for r in serial]
    assert [str(r) for r in responses] == [str(r) for r in serial]
    assert {r.metadata["selector_result"].ind for r in responses} == {0, 1}
    assert all(query in str(response) for query, response in zip(queries, responses, strict=True))
    assert len(server.requests) == 200
