"""LangChain's standard integration tests: over rule-based chat models, and over HTTP.

Every feature of the suite is switched on that needs no cassettes of recorded traffic.
"""

from types import SimpleNamespace

import httpx
import pytest
from fakes import NAMES, rule_models, rule_reply, rule_router
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from servers.openai_server import OpenAIServer

from langchain_lookahead_router import ChatLookaheadRouter

pytestmark = [
    pytest.mark.filterwarnings("ignore:the router ignores"),  # the suite builds a model with a `stop`
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename"),  # and sends files without a name
]


class Everything(ChatModelIntegrationTests):
    """A router over candidates that take whatever the suite sends."""

    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_image_tool_message = True
    supports_pdf_inputs = True
    supports_pdf_tool_message = True
    supports_audio_inputs = True
    supports_anthropic_inputs = True
    model_override_value = "lazy"

    @pytest.fixture(autouse=True)
    def downloads(self, monkeypatch):
        """The suite downloads its media, which the candidates here would not look at."""
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none")
        monkeypatch.setattr(httpx, "get", lambda url, **options: SimpleNamespace(content=b"media"))

    @property
    def chat_model_class(self):
        return ChatLookaheadRouter


class TestRules(Everything):
    @property
    def chat_model_params(self):
        return {"candidates": rule_models(), "router": rule_router()}


class TestChatOpenAI(Everything):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def candidates(cls):
        with OpenAIServer(rule_reply) as server:
            options = {"base_url": server.url, "api_key": "test", "stream_usage": True}
            cls.models = {name: ChatOpenAI(model=name, **options) for name in NAMES}
            yield

    @property
    def chat_model_params(self):
        return {"candidates": self.models, "router": rule_router()}

    @property
    def structured_output_kwargs(self):
        return {"method": "function_calling"}
