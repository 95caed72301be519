"""The question decides: not the documents around it, and not what an agent's tools gave."""

import pytest
from fakes import RuleChatModel, RulePredictor, rule_models, rule_router
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from lookahead_router import Router
from lookahead_router.errors import ConfigurationError, PromptError

from langchain_lookahead_router import (
    ChatLookaheadRouter,
    LookaheadRouter,
    LookaheadRouterMiddleware,
    route_on_query,
)

PROMPT = ChatPromptTemplate.from_template("Context: {context}\n\nQuestion: {question}")
DOCUMENTS = "Chapter 7, 1984, 42"  # digits, which would decide
INPUT = {"context": DOCUMENTS, "question": "Who wrote it?"}


def make(**options):
    return ChatLookaheadRouter(candidates=rule_models(), router=rule_router(), **options)


def last_line(messages):
    return messages[-1].text.rsplit("Question: ", 1)[1]


def test_documents_in_the_prompt_move_the_decision_unless_the_question_is_handed_over():
    chain = PROMPT | make() | StrOutputParser()
    assert chain.invoke(INPUT).startswith("digits:")
    assert chain.invoke(INPUT, {"configurable": {"lookahead_query": INPUT["question"]}}).startswith("words:")
    assert chain.invoke(INPUT, {"metadata": {"lookahead_query": INPUT["question"]}}).startswith("words:")


async def test_route_on_query_hands_the_question_over_in_every_kind_of_call():
    chain = route_on_query(PROMPT | make() | StrOutputParser(), "question")
    assert chain.invoke(INPUT).startswith("words: Context: Chapter 7")
    assert "".join(chain.stream(INPUT)).startswith("words:")
    assert (await chain.ainvoke(INPUT)).startswith("words:")
    assert "".join([chunk async for chunk in chain.astream(INPUT)]).startswith("words:")
    asked = [INPUT, {**INPUT, "question": "Which of the 3?"}]
    assert [text.split(":")[0] for text in chain.batch(asked)] == ["words", "digits"]


class Reading(RulePredictor):
    """Takes whole requests, and keeps their passages."""

    reads_context = True

    def __init__(self):
        super().__init__()
        self.seen = []

    def predict(self, prompts):
        self.seen += [request.passages for request in prompts]
        return super().predict([request.text for request in prompts])


def test_the_retrievers_documents_reach_a_predictor_that_reads_them():
    predictor = Reading()
    llm = ChatLookaheadRouter(candidates=rule_models(), router=Router(predictor))
    chain = route_on_query(PROMPT | llm | StrOutputParser(), "question", context="context")
    documents = [Document(page_content="Chapter 7"), Document(page_content="Page 12")]
    assert chain.invoke({**INPUT, "context": documents}).startswith("words:")
    decide = route_on_query(LookaheadRouter(Router(predictor)), "question", context="context")
    assert (
        decide.invoke({"messages": [("human", "7")], "question": "Who?", "context": documents})["candidate"] == "words"
    )
    assert predictor.seen[-2:] == [("Chapter 7", "Page 12")] * 2
    with pytest.raises(PromptError, match="'context' in the input"):
        chain.invoke({"question": "Who?"})


def test_a_whole_retrieval_chain_may_be_wrapped():
    retriever = RunnableLambda(lambda question: DOCUMENTS)
    rag = {"context": retriever, "question": RunnablePassthrough()} | PROMPT | make() | StrOutputParser()
    assert rag.invoke("Who wrote it?").startswith("digits:")
    assert route_on_query(rag).invoke("Who wrote it?").startswith("words:")
    bound = route_on_query(PROMPT | make().bind(stop=["x"]), "question")
    assert bound.invoke(INPUT).response_metadata["lookahead_router"]["candidate"] == "words"


@pytest.mark.parametrize("value", ["no mapping", {"context": "x"}, {"question": 7}])
def test_an_input_without_the_question_is_told(value):
    with pytest.raises(PromptError, match="question"):
        route_on_query(PROMPT | make(), "question").invoke(value)


def test_a_query_that_is_no_text_is_told():
    with pytest.raises(ConfigurationError, match="lookahead_query"):
        make().invoke("7", {"configurable": {"lookahead_query": 7}})


def test_route_on_reads_the_question_out_of_the_messages():
    message = (PROMPT | make(route_on=last_line)).invoke(INPUT)
    assert message.text.startswith("words:")
    assert make(route_on=lambda messages: None).invoke("7").text == "digits: 7"
    query = {"configurable": {"lookahead_query": "Who?"}}
    assert make(route_on=lambda messages: "7").invoke("a", query).text == "words: a"  # the call's own goes first


def test_every_class_takes_route_on():
    prompt = PROMPT.invoke(INPUT)
    assert LookaheadRouter(rule_router(), route_on=last_line).invoke(prompt)["candidate"] == "words"
    query = {"configurable": {"lookahead_query": INPUT["question"]}}
    assert LookaheadRouter(rule_router()).invoke(prompt, query)["candidate"] == "words"
    with pytest.raises(ConfigurationError, match="route_on"):
        LookaheadRouter(route_on="question")
    with pytest.raises(ConfigurationError, match="route_on"):
        LookaheadRouterMiddleware(candidates=rule_models(), router=rule_router(), route_on="question")


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_middleware_reads_the_query_of_the_run_and_route_on(is_async):
    def agent(**options):
        middleware = LookaheadRouterMiddleware(candidates=rule_models(), router=rule_router(), **options)
        return create_agent(RuleChatModel(label="own"), middleware=[middleware])

    async def ask(agent, config=None):
        state = {"messages": PROMPT.invoke(INPUT).to_messages()}
        result = await agent.ainvoke(state, config) if is_async else agent.invoke(state, config)
        return result["lookahead_router"]["candidate"]

    assert await ask(agent()) == "digits"
    assert await ask(agent(), {"configurable": {"lookahead_query": "Who wrote it?"}}) == "words"
    assert await ask(agent(route_on=last_line)) == "words"


def test_the_query_stands_in_no_record():
    class Starts(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, *, metadata, **kwargs):
            records.append(metadata["lookahead_router"])

    records = []
    config = {"configurable": {"lookahead_query": "tulips"}, "callbacks": [Starts()]}
    message = make().invoke("7", config)
    assert "tulips" not in repr(records) + repr(message.response_metadata)


OBSERVATIONS = ["Observation: 7 results", "Tool result: 42", "<tool_response>7</tool_response>"]


@pytest.mark.parametrize("sticky", [None, "turn"])
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_observations_that_an_agent_writes_as_user_messages_move_nothing(observation, sticky):
    thought = AIMessage("Thought: I look it up.\nAction: search")
    run = [HumanMessage("Who wrote it?"), thought, HumanMessage(observation)]
    assert (
        make(context_chars=0, sticky=sticky).invoke(run).response_metadata["lookahead_router"]["candidate"] == "words"
    )
    thought.response_metadata["lookahead_router"] = {"candidate": "lazy"}  # say, after a failure
    record = make(sticky="turn").invoke(run).response_metadata["lookahead_router"]
    assert (record["candidate"], record["reason"]) == ("lazy", "sticky")
