"""What people build with an LLM goes on working when the LLM is the router."""

import asyncio

import pytest
from calling import ADD, ASK_RIVER, River, call_the_first_tool
from llama_index.core import PromptTemplate, Settings
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index_world import (
    DOCUMENTS,
    NUMBERS_QUERY,
    WORDS_QUERY,
    HashingEmbedding,
    WaitingPredictor,
    make_index,
    make_llm,
    make_router,
)
from lookahead_router import Router
from servers.openai_server import Reply

from llama_index.llms.lookahead_router import LookaheadRouterLLM


@pytest.mark.parametrize(("query", "name"), [(NUMBERS_QUERY, "digits"), (WORDS_QUERY, "words")])
async def test_the_global_llm(llm, index, query, name):
    Settings.llm = llm
    engine = index.as_query_engine(text_qa_template=PromptTemplate("{query_str}"))
    assert str(engine.query(query)) == f"{name}: {query}"
    assert str(await engine.aquery(query)) == f"{name}: {query}"


async def test_a_streaming_query_engine(llm, index):
    engine = index.as_query_engine(llm=llm, streaming=True, text_qa_template=PromptTemplate("{query_str}"))
    assert "".join(engine.query(WORDS_QUERY).response_gen) == f"words: {WORDS_QUERY}"
    response = await engine.aquery(WORDS_QUERY)
    assert "".join([token async for token in response.response_gen]) == f"words: {WORDS_QUERY}"


async def test_a_simple_chat_engine_routes_turn_by_turn(server, llm):
    engine = SimpleChatEngine.from_defaults(llm=llm)
    assert str(engine.chat(NUMBERS_QUERY)).startswith("digits: ")
    assert str(await engine.achat(WORDS_QUERY)).startswith("words: ")
    assert "".join(engine.stream_chat("7 + 8").response_gen) == "digits: 7 + 8"
    another = "Describe how a violin is built, from the wood to the varnish."
    stream = await engine.astream_chat(another)
    assert "".join([token async for token in stream.async_response_gen()]) == f"words: {another}"
    assert server.models_called() == ["digits", "words", "digits", "words"]
    assert [message.role.value for message in engine.chat_history] == ["user", "assistant"] * 4


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
async def test_chat_engines_over_an_index(llm, index, mode):
    engine = index.as_chat_engine(chat_mode=mode, llm=llm)
    assert "words: " in str(engine.chat("Tell of deltas."))
    assert "words: " in str(await engine.achat("And of meanders?"))
    assert "words: " in "".join(engine.stream_chat("And of springs?").response_gen)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_agent_keeps_to_one_candidate_in_a_run(server, llm, streaming):
    server.script = call_the_first_tool
    agent = FunctionAgent(tools=[ADD], llm=llm, streaming=streaming)
    assert str(await agent.run("How much is three and four?")).endswith(": 7")
    assert server.models_called() == ["words", "words"]
    assert server.requests[1]["messages"][-1]["role"] == "tool"


async def test_a_react_agent_needs_no_tool_calls(server, llm):
    server.script = lambda request: Reply(f"Thought: I know it.\nAnswer: {request['model']}")
    assert str(await ReActAgent(tools=[ADD], llm=llm, streaming=False).run("a tale")) == "words"


async def test_structured_prediction(server, llm):
    server.script = call_the_first_tool
    rhine = River(name="Rhine", length_km=1230)
    assert llm.structured_predict(River, ASK_RIVER, country="Germany") == rhine
    assert await llm.astructured_predict(River, ASK_RIVER, country="Germany") == rhine
    *_, last = llm.stream_structured_predict(River, ASK_RIVER, country="Germany")
    assert last == rhine
    stream = await llm.astream_structured_predict(River, ASK_RIVER, country="Germany")
    assert [river async for river in stream][-1] == rhine
    structured = llm.as_structured_llm(River)
    assert structured.chat([ChatMessage(content="Name a river.")]).raw == rhine
    assert (await structured.acomplete("Name a river.")).raw == rhine
    assert set(server.models_called()) == {"words"}


async def test_the_index_by_description_and_the_llm_by_foresight(server, llm):
    topics = {"numbers": "primes and sums", "rivers": "deltas and floods"}
    tools = [
        QueryEngineTool.from_defaults(
            make_index(topic, HashingEmbedding()).as_query_engine(llm=llm, similarity_top_k=1),
            name=topic,
            description=text,
        )
        for topic, text in topics.items()
    ]
    selector = EmbeddingSingleSelector.from_defaults(HashingEmbedding())
    engine = RouterQueryEngine(selector=selector, query_engine_tools=tools, llm=llm)
    for query, topic, name in (
        ("Are sums of 2 primes even?", "numbers", "digits"),
        ("Are sums of primes even?", "numbers", "words"),
        ("How do 3 deltas and floods differ?", "rivers", "digits"),
        ("How do deltas and floods differ?", "rivers", "words"),
    ):
        for response in (engine.query(query), await engine.aquery(query)):
            assert response.metadata["lookahead_router"]["candidate"] == name
            assert response.source_nodes[0].text in DOCUMENTS[topic]


def test_the_system_prompt_of_the_router_applies(server, candidates):
    llm = LookaheadRouterLLM(candidates, make_router(), system_prompt="You are terse.")
    assert llm.predict(PromptTemplate("{q}"), q="a tale") == "words: a tale"
    assert server.requests[0]["messages"][0] == {"role": "system", "content": "You are terse."}


def test_a_global_callback_manager_sees_every_call_once(server, candidates, index):
    counter = TokenCountingHandler(tokenizer=str.split)
    Settings.llm = LookaheadRouterLLM(candidates, make_router())
    Settings.callback_manager = CallbackManager([counter])
    index.as_query_engine(llm=Settings.llm, text_qa_template=PromptTemplate("{query_str}")).query("a tale")
    SimpleChatEngine.from_defaults(llm=Settings.llm).chat(NUMBERS_QUERY)
    assert server.models_called() == ["words", "digits"]
    assert [event.prompt_token_count for event in counter.llm_token_counts] == [2, len(NUMBERS_QUERY.split())]


async def test_the_loop_goes_on_while_the_predictor_predicts(server):
    predictor = WaitingPredictor()
    candidates = {name: make_llm(name, server.url) for name in predictor.pool.names}
    llm = LookaheadRouterLLM(candidates, Router(predictor))
    chats = [llm.achat([ChatMessage(content=WORDS_QUERY)]), llm.astream_complete(WORDS_QUERY)]
    tasks = [asyncio.create_task(chat) for chat in chats]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in tasks)
    predictor.release.set()
    chat, stream = await asyncio.gather(*tasks)
    assert str(chat) == f"assistant: words: {WORDS_QUERY}"
    assert [chunk async for chunk in stream][-1].text == f"words: {WORDS_QUERY}"


async def test_a_hundred_concurrent_queries_are_all_answered_as_one_by_one(server, llm, index):
    engine = index.as_query_engine(llm=llm, text_qa_template=PromptTemplate("{query_str}"))
    queries = [f"What is {i} + {i}?" if i % 3 else f"Tell a tale of {'very ' * i}long rivers" for i in range(100)]
    serial = [str(engine.query(query)) for query in queries]
    assert [str(r) for r in await asyncio.gather(*(engine.aquery(query) for query in queries))] == serial
    assert serial == [f"{'digits' if i % 3 else 'words'}: {query}" for i, query in enumerate(queries)]
    assert len(server.requests) == 200
