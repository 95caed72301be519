"""What a LangChain application does with the adapter, as a type checker sees it."""

from typing import assert_type

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_lookahead_router import ChatLookaheadRouter, LookaheadRouter, LookaheadRouterMiddleware, route_on_query

from lookahead_router import KeepQuality, Router


def chat(large: BaseChatModel, small: BaseChatModel) -> str:
    llm = ChatLookaheadRouter(
        candidates={"gpt-4o": large, "llama-3.1-8b-instruct": small}, quality=0.95, fallbacks="next-best"
    )
    answer = llm.invoke([HumanMessage("Plan a weekend in Rome.")])
    assert_type(answer, AIMessage)
    return str(answer.response_metadata["lookahead_router"]["candidate"])


def in_a_chain(large: BaseChatModel, small: BaseChatModel) -> object:
    candidates = {"gpt-4o": large, "llama-3.1-8b-instruct": small}
    router = LookaheadRouter(candidates=candidates, router=Router.from_pretrained(), policy=KeepQuality(0.9))
    return route_on_query(router, "question").invoke({"question": "What is a monad?"})


def middleware(large: BaseChatModel, small: BaseChatModel) -> LookaheadRouterMiddleware:
    return LookaheadRouterMiddleware(candidates={"gpt-4o": large, "llama-3.1-8b-instruct": small}, sticky="adaptive")


async def streamed(llm: ChatLookaheadRouter) -> list[BaseMessage]:
    return [chunk async for chunk in llm.astream("What is a monad?")]
