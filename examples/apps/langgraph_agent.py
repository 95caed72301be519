"""A LangGraph agent whose every turn goes to the model that it needs; calls of tools stay with who began the turn.

    pip install 'langchain-lookahead-router[agents]' langgraph langchain-openai
    OPENAI_API_KEY=... python langgraph_agent.py "What is 17 * 23?"

`OPENAI_BASE_URL` names another server that speaks OpenAI's protocol.
"""

import sys

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_lookahead_router import ChatLookaheadRouter
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
def multiply(a: int, b: int) -> int:
    """Multiplies two whole numbers."""
    return a * b


def build_graph():
    """The graph: a model that may call tools, and the tools."""
    candidates = {
        "gpt-4o-2024-08-06": ChatOpenAI(model="gpt-4o-2024-08-06"),
        "gpt-4o-mini-2024-07-18": ChatOpenAI(model="gpt-4o-mini-2024-07-18"),
    }
    llm = ChatLookaheadRouter(candidates=candidates, quality=0.95, fallbacks="next-best", sticky="adaptive")
    with_tools = llm.bind_tools([multiply])

    def answer(state: MessagesState) -> dict:
        return {"messages": [with_tools.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_node("tools", ToolNode([multiply]))
    graph.add_edge(START, "answer")
    graph.add_conditional_edges("answer", tools_condition)
    graph.add_edge("tools", "answer")
    return graph.compile()


def main(question: str) -> None:
    """Asks once, and shows who answered each step."""
    state = build_graph().invoke({"messages": [HumanMessage(question)]})
    for message in state["messages"]:
        if isinstance(message, AIMessage):
            record = message.response_metadata["lookahead_router"]
            print(f"{record['candidate']} ({record['reason']}): {message.text or message.tool_calls}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "What is 17 * 23? Use the tool.")
