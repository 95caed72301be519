"""LangChain's standard integration tests: over rule-based chat models, and over HTTP."""

import pytest
from fakes import NAMES, rule_models, rule_reply, rule_router
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from servers.openai_server import OpenAIServer

from langchain_lookahead_router import ChatLookaheadRouter

# The suite builds a model with a `stop`, which the router warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the router ignores")


class TestRules(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return ChatLookaheadRouter

    @property
    def chat_model_params(self):
        return {"candidates": rule_models(), "router": rule_router()}

    @property
    def model_override_value(self):
        return "lazy"


class TestChatOpenAI(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def candidates(cls):
        with OpenAIServer(rule_reply) as server:
            options = {"base_url": server.url, "api_key": "test", "stream_usage": True}
            cls.models = {name: ChatOpenAI(model=name, **options) for name in NAMES}
            yield

    @property
    def chat_model_class(self):
        return ChatLookaheadRouter

    @property
    def chat_model_params(self):
        return {"candidates": self.models, "router": rule_router()}

    @property
    def model_override_value(self):
        return "lazy"

    @property
    def structured_output_kwargs(self):
        return {"method": "function_calling"}
