"""Who answered and what it cost stands in every response, and what answers depend on in every cache key."""

import json

import pytest
from calling import ASK_RIVER, MESSAGES, River, call_the_first_tool
from llama_index.core import PromptTemplate
from llama_index.core.extractors import SummaryExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode
from llama_index_world import NUMBERS_QUERY, POOL, WORDS_QUERY, FailingPredictor, RulePredictor, make_llm, make_router
from lookahead_router import BestQuality, Candidate, CostAware, Router
from servers.openai_server import Reply, repeat_last_message

from llama_index.llms.lookahead_router import LookaheadRouterLLM, routing_records

PRICED = {
    name: Candidate(name=name, input_usd_per_million_tokens=1.0, output_usd_per_million_tokens=3.0) for name in POOL[:2]
}


@pytest.fixture
def priced(candidates):
    return LookaheadRouterLLM(candidates, make_router(), aliases=PRICED, fallbacks="next-best")


def cost(record):
    return (record["input_tokens"] + 3 * record["output_tokens"]) / 1e6


async def test_a_response_says_what_it_cost(priced):
    for response in (priced.chat(MESSAGES), await priced.achat(MESSAGES)):
        record = response.additional_kwargs["lookahead_router"]
        assert (record["input_tokens"], record["output_tokens"]) == (
            response.raw.usage.prompt_tokens,
            response.raw.usage.completion_tokens,
        )
        assert record["cost_usd"] == pytest.approx(cost(record))


def test_without_prices_there_is_no_cost(llm):
    record = llm.chat(MESSAGES).additional_kwargs["lookahead_router"]
    assert record["input_tokens"] > 0
    assert "cost_usd" not in record


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 3, "output_tokens": 5},
        {"prompt_token_count": 3, "candidates_token_count": 5},
        {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    ],
)
def test_the_usage_is_read_in_the_words_of_several_providers(usage):
    from llama_index.core.llms import CompletionResponse

    from llama_index.llms.lookahead_router.calls import usage_of

    told = {"input_tokens": 3, "output_tokens": 5}
    assert usage_of(CompletionResponse(text="x", raw={"usage": usage})) == told
    assert usage_of(CompletionResponse(text="x", additional_kwargs=usage)) == told
    assert usage_of(CompletionResponse(text="x", raw={"usage": {"prompt_tokens": 3}})) == {}


async def test_a_query_engine_tells_in_its_metadata(priced, index):
    engine = index.as_query_engine(llm=priced, response_mode="refine", similarity_top_k=2)
    for response in (engine.query(WORDS_QUERY), await engine.aquery(WORDS_QUERY)):
        record = response.metadata["lookahead_router"]
        assert (record["candidate"], record["reason"]) == ("words", "routed")
        assert len(record["calls"]) == 2, "one for each chunk"
        assert all(call["cost_usd"] == pytest.approx(cost(call)) for call in record["calls"])
        assert set(response.metadata) - {"lookahead_router"} == {node.node_id for node in response.source_nodes}
        assert "river" not in json.dumps(record)


async def test_a_streaming_query_engine_tells_when_it_has_been_read(server, priced, index):
    server.script = lambda request: Reply(status=503) if request["model"] == "words" else repeat_last_message(request)
    engine = index.as_query_engine(llm=priced, streaming=True)
    response = engine.query(WORDS_QUERY)
    assert "".join(response.response_gen)
    assert response.metadata["lookahead_router"]["candidate"] == "digits"
    response = await engine.aquery(WORDS_QUERY)
    assert [token async for token in response.async_response_gen()]
    assert response.metadata["lookahead_router"]["candidate"] == "digits"


@pytest.mark.parametrize("mode", ["simple", "context", "condense_plus_context", "condense_question"])
async def test_a_chat_engine_tells_in_its_metadata(priced, index, mode):
    engine = index.as_chat_engine(chat_mode=mode, llm=priced)
    for response in (engine.chat(WORDS_QUERY), await engine.achat(WORDS_QUERY)):
        assert response.metadata["lookahead_router"]["candidate"] == "words"
    response = engine.stream_chat(NUMBERS_QUERY)
    "".join(response.response_gen)
    assert response.metadata["lookahead_router"]["candidate"] in priced.candidates


@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # of LlamaIndex's own
async def test_structured_output_tells(server, priced, index):
    server.script = call_the_first_tool
    structured = priced.as_structured_llm(River)
    messages = [ChatMessage(content="Name a river.")]
    for response in (structured.chat(messages), await structured.achat(messages), structured.complete("Name a river.")):
        assert response.raw == River(name="Rhine", length_km=1230)
        record = response.additional_kwargs["lookahead_router"]
        assert (record["candidate"], record["cost_usd"]) == ("words", pytest.approx(cost(record)))
    chunks = [*structured.stream_chat(messages), *[chunk async for chunk in await structured.astream_chat(messages)]]
    assert {chunk.additional_kwargs["lookahead_router"]["candidate"] for chunk in chunks} == {"words"}
    for engine in (index.as_query_engine(llm=structured), index.as_query_engine(llm=priced, output_cls=River)):
        response = engine.query("Name a river.")
        assert response.metadata["lookahead_router"]["candidate"] == "words"


async def test_where_no_response_can_tell_a_block_collects(server, priced):
    server.script = call_the_first_tool
    with routing_records() as records:
        priced.structured_predict(River, ASK_RIVER, country="Germany")
        with routing_records() as inner:
            assert await priced.apredict(PromptTemplate("{q}"), q=NUMBERS_QUERY)
    assert [record["candidate"] for record in records] == ["words", "digits"]
    assert [record["candidate"] for record in inner] == ["digits"]
    priced.complete(WORDS_QUERY)
    assert len(records) == 2


def test_a_call_that_failed_is_told_of_too(server, candidates):
    server.script = lambda request: Reply(status=400)
    llm = LookaheadRouterLLM(candidates, make_router())
    with routing_records() as records, pytest.raises(Exception, match="400"):
        llm.complete(WORDS_QUERY)
    assert records[0]["failed"] == [{"candidate": "words", "error": "BadRequestError", "failure": "bad request"}]


# Cache keys


def key(llm):
    return get_transformation_hash([TextNode(text="A river.")], SummaryExtractor(llm=llm))


def test_the_cache_key_of_a_pipeline_names_predictor_revision_policy_and_candidates(server, candidates):
    class Newer(RulePredictor):
        revision = "2"

    class Other(RulePredictor):
        name = "other"

    def with_first_word(prompt):
        return prompt[0]

    same = [LookaheadRouterLLM(dict(candidates), make_router()) for _ in range(2)]
    hotter = {**candidates, "words": make_llm("words", server.url, temperature=0.9)}
    differing = [
        LookaheadRouterLLM(candidates, Router(Newer(POOL[:2]))),
        LookaheadRouterLLM(candidates, Router(Other(POOL[:2]))),
        LookaheadRouterLLM(candidates, make_router(), aliases=PRICED, policy=CostAware(score_per_usd=1.0)),
        LookaheadRouterLLM({"words": candidates["words"]}, make_router()),
        LookaheadRouterLLM(hotter, make_router()),
        LookaheadRouterLLM(candidates, make_router(), candidate="words"),
        LookaheadRouterLLM(candidates, make_router(), route_on=with_first_word),
        LookaheadRouterLLM(candidates, make_router(), route_on=lambda prompt: prompt[1]),
        LookaheadRouterLLM(candidates, make_router(), route_on=lambda prompt: prompt[2]),
        LookaheadRouterLLM(candidates, make_router(), quality=0.9, prices={"digits": 1.0, "words": 2.0}),
        LookaheadRouterLLM(candidates, make_router(), quality=0.9, prices={"digits": 1.0, "words": 3.0}),
    ]
    keys = [key(llm) for llm in (*same, *differing)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 1 + len(differing)
    rotated = {name: make_llm(name, server.url) for name in candidates}
    for llm in rotated.values():
        llm.api_key = "another"
    assert key(LookaheadRouterLLM(rotated, make_router())) == keys[0], "keys are no part of it"


async def test_a_pipeline_asks_again_only_if_the_router_changed(server, candidates):
    def run(llm, cache=None):
        pipeline = IngestionPipeline(transformations=[SummaryExtractor(llm=llm, summaries=["self"])])
        if cache is not None:
            pipeline.cache = cache
        pipeline.run(nodes=[TextNode(text="A river begins at its source.", id_="1")])
        return pipeline.cache

    cache = run(LookaheadRouterLLM(candidates, make_router()))
    n_asked = len(server.requests)
    run(LookaheadRouterLLM(candidates, make_router()), cache)
    assert len(server.requests) == n_asked
    run(LookaheadRouterLLM(candidates, make_router(), policy=BestQuality(), candidate="digits"), cache)
    assert len(server.requests) > n_asked


def test_what_was_serialised_comes_back_without_what_is_worked_out(candidates):
    llm = LookaheadRouterLLM(candidates, make_router(), sticky="turn", context_chars=100)
    data = json.loads(llm.to_json())
    assert data["routing"]["predictor"] == "rule"
    assert data["routing"]["candidates"]["words"]["model"] == "words"
    twin = LookaheadRouterLLM.from_dict(data, candidates=candidates, router=make_router())
    assert (twin.sticky, twin.context_chars, twin.routing) == ("turn", 100, llm.routing)


def test_the_default_is_told_of_with_what_kept_the_router_from_deciding(candidates):
    llm = LookaheadRouterLLM(candidates, Router(FailingPredictor(POOL[:2])), default="digits")
    record = llm.chat(MESSAGES).additional_kwargs["lookahead_router"]
    assert (record["candidate"], record["reason"], record["error"]) == ("digits", "default", "RuntimeError")
