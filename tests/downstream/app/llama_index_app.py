"""What a LlamaIndex application does with the adapters, as a type checker sees it."""

from typing import Any, assert_type

from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import ToolMetadata
from llama_index.llms.lookahead_router import LookaheadRouterLLM, LookaheadRoutingEvent, routing_records
from llama_index.selectors.lookahead_router import LookaheadSelector, LookaheadSelectorResult

from lookahead_router import KeepQuality, Router


def ask(llms: dict[str, LLM], question: str) -> str:
    llm = LookaheadRouterLLM(llms, Router.from_pretrained(candidates=list(llms)), policy=KeepQuality(0.95))
    used: FunctionCallingLLM = llm
    response = used.complete(question)
    return response.text


def recorded(llm: LookaheadRouterLLM, question: str) -> dict[str, Any]:
    with routing_records() as records:
        llm.complete(question)
    assert_type(records[-1], dict[str, Any])
    return records[-1]


def select(question: str) -> int:
    selector = LookaheadSelector(candidates={"large": "gpt-4o", "small": "llama-3.1-8b-instruct"})
    result = selector.select([ToolMetadata("over the data", "large"), ToolMetadata("over the data", "small")], question)
    return result.ind


def seen(event: LookaheadRoutingEvent) -> dict[str, float]:
    return event.scores


def why(result: LookaheadSelectorResult) -> str:
    return result.reason
