"""Every way to call an LLM, each as a coroutine, so that one test holds for all of them."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index_world import WORDS_QUERY
from pydantic import BaseModel
from servers.openai_server import Reply, text_of


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)
MESSAGES = [ChatMessage(role="system", content="You are terse."), ChatMessage(role="user", content=WORDS_QUERY)]


class River(BaseModel):
    """A river."""

    name: str
    length_km: int


ASK_RIVER = PromptTemplate("Name a river of {country}.")


def call_the_first_tool(request: dict[str, Any]) -> Reply:
    """Calls the first tool, if there is one and it was not called yet; otherwise answers."""
    tools = request.get("tools")
    last = request["messages"][-1]
    if not tools or last["role"] == "tool":
        return Reply(f"{request['model']}: {text_of(last)}")
    name = tools[0]["function"]["name"]
    arguments = {"name": "Rhine", "length_km": 1230} if name == "River" else {"a": 3, "b": 4}
    return Reply(tool_calls=((name, arguments),))


def _method(name: str, *args: Any, **kwargs: Any) -> Callable[[LLM], Awaitable[list[Any]]]:
    """The responses of one call: a list of one, or all chunks of a stream."""

    async def call(llm: LLM) -> list[Any]:
        fresh = [list(value) if isinstance(value, list) else value for value in args]  # some LLMs append to history
        result = getattr(llm, name)(*fresh, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        if inspect.isasyncgen(result):
            return [response async for response in result]
        return list(result) if inspect.isgenerator(result) else [result]

    call.__name__ = name
    return call


PLAIN_CALLS = [
    *(_method(name, MESSAGES) for name in ("chat", "achat", "stream_chat", "astream_chat")),
    *(_method(name, WORDS_QUERY) for name in ("complete", "acomplete", "stream_complete", "astream_complete")),
]
TOOL_CALLS = [
    _method(name, [ADD], "How much is three and four?", [MESSAGES[0]], tool_required=True)
    for name in ("chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools")
]
HIGHER_CALLS = [
    *(_method(name, PromptTemplate("{question}"), question=WORDS_QUERY) for name in ("predict", "apredict", "stream")),
    _method("predict_and_call", [ADD], "How much is three and four?"),
    _method("apredict_and_call", [ADD], "How much is three and four?"),
    _method("structured_predict", River, ASK_RIVER, country="Germany"),
    _method("astructured_predict", River, ASK_RIVER, country="Germany"),
    _method("stream_structured_predict", River, ASK_RIVER, country="Germany"),
]
