"""A predictor and chat models that follow rules which a reader can foresee."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from lookahead_router import Candidate, CandidatePool, Prediction, Router
from pydantic import Field
from servers.openai_server import Reply, text_of

NAMES = ("digits", "words", "lazy")


class RulePredictor:
    """`digits` is best where the prompt holds a digit, `words` elsewhere; `lazy` is always second."""

    name = "rules"
    revision = "1"

    def __init__(self, pool: Any = NAMES, *, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.pool = CandidatePool(pool)
        self.seconds = seconds
        self.error = error
        self.prompts: list[str] = []

    def predict(self, prompts: list[str]) -> Prediction:
        self.prompts.extend(prompts)
        if self.seconds:
            time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        rows = ([0.9, 0.2, 0.5] if re.search(r"\d", prompt) else [0.2, 0.9, 0.5] for prompt in prompts)
        return Prediction(self.pool, np.array([row[: len(self.pool)] for row in rows]))

    def __deepcopy__(self, memo: dict) -> "RulePredictor":
        raise AssertionError("a deep copy of a router must not copy weights")


def rule_router(**options: Any) -> Router:
    return Router(RulePredictor(**options))


def priced_router() -> Router:
    prices = {"digits": 30.0, "words": 30.0, "lazy": 1.0}
    return rule_router(
        pool=[
            Candidate(name=name, input_usd_per_million_tokens=price, output_usd_per_million_tokens=price)
            for name, price in prices.items()
        ]
    )


def rule_reply(request: dict[str, Any]) -> Reply:
    """What a model says to a request in OpenAI's format: a tool call, JSON of a schema, or an echo."""
    users = [text_of(message) for message in request["messages"] if message["role"] == "user"]
    text = users[-1] if users else ""
    tools = [tool["function"] for tool in request.get("tools") or []]
    forced = request.get("tool_choice")
    if tools and (forced or request["messages"][-1]["role"] != "tool"):
        name = forced["function"]["name"] if isinstance(forced, dict) else forced
        function = next((tool for tool in tools if tool["name"] == name), tools[0])
        return Reply(tool_calls=((function["name"], _example(function["parameters"], text)),))
    format = request.get("response_format") or {}
    if "json_schema" in format:
        return Reply(json.dumps(_example(format["json_schema"]["schema"], text)))
    if format.get("type") == "json_object":  # no schema: the keys are quoted in the prompt
        return Reply(json.dumps(dict.fromkeys(re.findall(r"'([^']+)'", text), "something")))
    return Reply(f"{request['model']}: {text}")


def _example(schema: dict[str, Any], text: str) -> Any:
    """An instance of a JSON schema, with the first number or quoted words of the text."""
    match schema.get("type"):
        case "object":
            return {name: _example(part, text) for name, part in schema.get("properties", {}).items()}
        case "integer" | "number":
            found = re.search(r"-?\d+", text)
            return int(found[0]) if found else 1
        case _:
            found = re.search(r"'([^']+)'", text)
            return found[1] if found else "something"


class RuleChatModel(BaseChatModel):
    """Answers by `rule_reply`, streams word by word, and counts a word as a token."""

    label: str
    fails: Any = None
    """Raised at the call."""
    breaks_after: int | None = None
    """Streaming: `ConnectionError` after so many chunks."""
    seconds: float = 0.0
    calls: list = Field(default_factory=list)
    secret: str = ""

    def _reply(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Reply:
        self.calls.append((messages, kwargs))
        if self.fails is not None:
            raise self.fails
        return rule_reply({"model": self.label, "messages": convert_to_openai_messages(messages), **kwargs})

    def _usage(self, messages: list[BaseMessage], reply: Reply) -> dict[str, int]:
        n_input = sum(len(str(message.text).split()) for message in messages)
        n_output = len(reply.content.split()) + len(reply.tool_calls)
        return {"input_tokens": n_input, "output_tokens": n_output, "total_tokens": n_input + n_output}

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        time.sleep(self.seconds)
        return self._result(messages, kwargs)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        await asyncio.sleep(self.seconds)
        return self._result(messages, kwargs)

    def _result(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> ChatResult:
        reply = self._reply(messages, kwargs)
        message = AIMessage(
            reply.content,
            tool_calls=[
                {"name": name, "args": args, "id": f"call_{i}"} for i, (name, args) in enumerate(reply.tool_calls)
            ],
            usage_metadata=self._usage(messages, reply),
            response_metadata={"model_name": self.label},
        )
        return ChatResult(generations=[ChatGeneration(message=message)], llm_output={"model_name": self.label})

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        reply = self._reply(messages, kwargs)
        for i, chunk in enumerate(self._chunks(messages, reply)):
            if i == self.breaks_after:
                raise ConnectionError("the stream broke")
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, **kwargs):
            yield chunk

    def _chunks(self, messages: list[BaseMessage], reply: Reply) -> Iterator[AIMessageChunk]:
        for i, word in enumerate(reply.content.split(" ") if reply.content else ()):
            yield AIMessageChunk(word if i == 0 else f" {word}")
        for i, (name, args) in enumerate(reply.tool_calls):
            call = {"name": name, "args": json.dumps(args), "id": f"call_{i}", "index": i, "type": "tool_call_chunk"}
            yield AIMessageChunk("", tool_call_chunks=[call])
        yield AIMessageChunk(
            "", usage_metadata=self._usage(messages, reply), response_metadata={"model_name": self.label}
        )

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Runnable:
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        if tool_choice not in (None, "any", "required", "auto"):
            kwargs["tool_choice"] = {"type": "function", "function": {"name": tool_choice}}
        elif tool_choice in ("any", "required"):
            kwargs["tool_choice"] = "required"
        return self.bind(tools=formatted, **kwargs)

    def _combine_llm_outputs(self, outputs: list[Any]) -> dict[str, Any]:
        return outputs[0] or {}

    @property
    def _llm_type(self) -> str:
        return "rules"


class OtherProviderModel(RuleChatModel):
    """The same rules from another provider."""


class TextOnlyModel(BaseChatModel):
    """A model without tools."""

    label: str

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        message = AIMessage(f"{self.label}: text", response_metadata={"model_name": self.label})
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self) -> str:
        return "text-only"


def rule_models(**changes: Any) -> dict[str, RuleChatModel]:
    return {name: RuleChatModel(label=name, **changes) for name in NAMES}
