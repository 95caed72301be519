"""LangChain's standard unit tests, on the router over rule-based chat models."""

import pytest
from fakes import rule_models, rule_router
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_lookahead_router import ChatLookaheadRouter

# The suite builds every model with generation options, which the router warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the router ignores")


class TestStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self):
        return ChatLookaheadRouter

    @property
    def chat_model_params(self):
        return {"candidates": rule_models(), "router": rule_router()}
