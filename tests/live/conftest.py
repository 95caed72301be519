import pytest
from servers.openai_server import OpenAIServer

from lookahead_router.live import engine


@pytest.fixture
def server(socket_enabled):
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def endpoint(server):
    """Settings of a candidate that the server answers for: a dollar per million input tokens, two of output."""

    def settings(name, **more):
        return {"name": name, "base_url": server.url, "input_price": 1, "output_price": 2, **more}

    return settings


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch):
    """Back-off of hundredths of a second; what an endpoint asks for itself stays."""
    monkeypatch.setattr(engine, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(engine, "LONGEST_BACKOFF_SECONDS", 0.05)
