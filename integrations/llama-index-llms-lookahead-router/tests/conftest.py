import pytest
from llama_index.core import MockEmbedding, Settings
from llama_index.core.llms import MockLLM
from llama_index_world import HashingEmbedding, make_index, make_llm, make_router
from servers.openai_server import OpenAIServer

from llama_index.llms.lookahead_router import LookaheadRouterLLM


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """What a test sets globally ends with it."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    monkeypatch.setattr(Settings, "_embed_model", MockEmbedding(embed_dim=1))
    monkeypatch.setattr(Settings, "_callback_manager", None)


@pytest.fixture
def candidates(server):
    return {name: make_llm(name, server.url) for name in ("digits", "words")}


@pytest.fixture
def llm(candidates):
    return LookaheadRouterLLM(candidates, make_router())


@pytest.fixture
def index():
    return make_index("rivers", HashingEmbedding())
