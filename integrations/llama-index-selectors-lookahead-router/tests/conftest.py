import pytest
from llama_index.core import MockEmbedding, Settings
from llama_index.core.llms import MockLLM
from llama_index_world import HashingEmbedding, make_index, make_llm
from servers.openai_server import OpenAIServer


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="session")
def embed_model():
    return HashingEmbedding()


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """LlamaIndex wants a default LLM even where a selector is given."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    monkeypatch.setattr(Settings, "_embed_model", MockEmbedding(embed_dim=1))
    monkeypatch.setattr(Settings, "_callback_manager", None)


@pytest.fixture
def indices(embed_model):
    return {name: make_index(name, embed_model) for name in ("numbers", "rivers")}


@pytest.fixture
def engines(server, embed_model):
    """One query engine per candidate, over the same real text."""
    index = make_index("rivers", embed_model)
    return {name: index.as_query_engine(llm=make_llm(name, server.url)) for name in ("digits", "words")}
