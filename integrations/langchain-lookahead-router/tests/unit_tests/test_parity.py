"""What callbacks, counters, graphs and event streams see: the same as of the chosen candidate alone."""

import re

import pytest
from fakes import rule_models, rule_router
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langgraph.graph import END, START, MessagesState, StateGraph

from langchain_lookahead_router import ChatLookaheadRouter, LookaheadRouter

PROMPT = "7 dwarfs live here"
CONFIG = {"tags": ["mine"], "metadata": {"team": "a"}}


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


class Recorder(BaseCallbackHandler):
    """Everything that happens to chat models and chains, without run ids."""

    def __init__(self):
        self.models, self.chains = [], []

    def on_chat_model_start(self, serialized, messages, *, tags, metadata, **kwargs):
        kept = {key: kwargs.get(key) for key in ("invocation_params", "options", "name", "batch_size")}
        metadata = {key: value for key, value in metadata.items() if key != "lookahead_router"}
        self.models.append(("start", serialized["name"], plain(messages), tags, metadata, kept))

    def on_llm_new_token(self, token, *, chunk=None, **kwargs):
        self.models.append(("token", token, plain(chunk.message)))

    def on_llm_end(self, response, **kwargs):
        self.models.append(("end", plain(response.generations[0][0].message), response.llm_output))

    def on_llm_error(self, error, **kwargs):
        self.models.append(("error", repr(error)))

    def on_chain_start(self, serialized, inputs, **kwargs):
        self.chains.append(("start", kwargs["name"]))

    def on_chain_end(self, outputs, **kwargs):
        self.chains.append(("end", type(outputs).__name__))

    def on_chain_error(self, error, **kwargs):
        self.chains.append(("error", type(error).__name__))


def plain(value):
    """A comparable form without ids and routing records."""
    text = re.sub(r"lc_run--[0-9a-f-]+", "run", repr(value))
    text = re.sub(r"(, )?'lookahead_router': \{.*?'error': None, 'failure': None\}\]\}", "", text)
    return re.sub(r"latency_seconds': [0-9.e-]+", "", text).replace("{, ", "{")


def pair(**changes):
    """A candidate, and a router that sends the prompt to one like it."""
    return rule_models(**changes)["digits"], ChatLookaheadRouter(
        candidates=rule_models(**changes), router=rule_router()
    )


CALLS = {
    "invoke": lambda model, config: model.invoke(PROMPT, config),
    "stream": lambda model, config: list(model.stream(PROMPT, config)),
    "batch": lambda model, config: model.batch([PROMPT], config),
    "tools": lambda model, config: model.bind_tools([add]).invoke(PROMPT, config),
    "tools-stream": lambda model, config: list(model.bind_tools([add]).stream(PROMPT, config)),
    "generate": lambda model, config: model.generate([[HumanMessage(PROMPT)]], **config),
}
ASYNC_CALLS = {
    "ainvoke": lambda model, config: model.ainvoke(PROMPT, config),
    "astream": lambda model, config: collect(model.astream(PROMPT, config)),
    "abatch": lambda model, config: model.abatch([PROMPT], config),
    "agenerate": lambda model, config: model.agenerate([[HumanMessage(PROMPT)]], **config),
}


async def collect(stream):
    return [item async for item in stream]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_one_run_of_one_model_as_if_called_directly(call):
    direct, routed = pair()
    expected, seen = Recorder(), Recorder()
    call(direct, {**CONFIG, "callbacks": [expected]})
    call(routed, {**CONFIG, "callbacks": [seen]})
    assert len(expected.models) >= 2
    assert seen.models == expected.models
    assert seen.chains == [("start", "ChatLookaheadRouter"), ("end", seen.chains[-1][1])]


@pytest.mark.parametrize("call", ASYNC_CALLS.values(), ids=ASYNC_CALLS)
async def test_one_async_run_of_one_model_as_if_called_directly(call):
    direct, routed = pair()
    expected, seen = Recorder(), Recorder()
    await call(direct, {**CONFIG, "callbacks": [expected]})
    await call(routed, {**CONFIG, "callbacks": [seen]})
    assert len(expected.models) >= 2
    assert seen.models == expected.models


@pytest.mark.parametrize("call", [CALLS["invoke"], CALLS["stream"], CALLS["batch"]])
def test_answers_are_the_candidates_own_but_for_the_record(call):
    direct, routed = pair()
    assert plain(call(routed, CONFIG)) == plain(call(direct, CONFIG))


def test_tokens_are_counted_once():
    for call in CALLS.values():
        direct, routed = pair()
        expected, seen = UsageMetadataCallbackHandler(), UsageMetadataCallbackHandler()
        call(direct, {"callbacks": [expected]})
        call(routed, {"callbacks": [seen]})
        assert seen.usage_metadata == expected.usage_metadata
        assert seen.usage_metadata["digits"]["input_tokens"] == 4


def test_failures_are_reported_as_the_candidates_and_close_the_chain():
    direct, routed = pair(fails=ValueError("no"))
    expected, seen = Recorder(), Recorder()
    for model, recorder in ((direct, expected), (routed, seen)):
        with pytest.raises(ValueError, match="no"):
            model.invoke(PROMPT, {"callbacks": [recorder]})
    assert seen.models[-1] == expected.models[-1] == ("error", "ValueError('no')")
    assert seen.chains[-1] == ("error", "ValueError")


def test_a_stream_closed_half_read_closes_its_runs():
    _, routed = pair()
    seen = Recorder()
    stream = routed.stream(PROMPT, {"callbacks": [seen]})
    next(stream)
    stream.close()
    assert seen.models[-1] == ("error", "GeneratorExit()")
    assert seen.chains[-1] == ("error", "GeneratorExit")


async def test_an_async_stream_closed_half_read_closes_its_runs():
    _, routed = pair()
    seen = Recorder()
    stream = routed.astream(PROMPT, {"callbacks": [seen]})
    await anext(stream)
    await stream.aclose()
    assert seen.models[-1] == ("error", "GeneratorExit()")
    assert seen.chains[-1] == ("error", "GeneratorExit")


def model_events(events):
    kept = []
    for event in events:
        if "chat_model" in event["event"]:
            metadata = {key: value for key, value in event["metadata"].items() if key != "lookahead_router"}
            tags = [tag for tag in event["tags"] if not tag.startswith("seq:step")]  # the router's place in the chain
            kept.append((event["event"], event["name"], tags, metadata, plain(event["data"])))
    return kept


@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_events_are_those_of_the_candidate(version):
    direct, routed = (RunnablePassthrough() | model for model in pair())
    expected = model_events(await collect(direct.astream_events(PROMPT, CONFIG, version=version)))
    seen = model_events(await collect(routed.astream_events(PROMPT, CONFIG, version=version)))
    assert sum(event[0].endswith("stream") for event in expected) >= 6
    assert seen == expected


def without_ids(events):
    return [
        {key: value for key, value in event.items() if key not in ("message_id", "id", "run_id")} for event in events
    ]


def test_v3_events_are_those_of_the_candidate():
    direct, routed = pair()
    expected, seen = direct.stream_events(PROMPT, version="v3"), routed.stream_events(PROMPT, version="v3")
    assert type(seen) is type(expected)
    assert without_ids(list(seen)) == without_ids(list(expected))
    assert plain(seen.output) == plain(expected.output)


async def test_async_v3_events_are_those_of_the_candidate():
    direct, routed = pair()
    expected = await direct.astream_events(PROMPT, version="v3")
    seen = await routed.astream_events(PROMPT, version="v3")
    assert type(seen) is type(expected)
    assert without_ids(await collect(seen)) == without_ids(await collect(expected))


def test_v3_runs_the_model_below_a_chain_and_carries_the_record_in_its_metadata():
    class Metadata(Recorder):
        def on_chat_model_start(self, serialized, messages, *, metadata, **kwargs):
            self.record = metadata["lookahead_router"]

    _, routed = pair()
    seen = Metadata()
    stream = routed.bind_tools([add]).stream_events(PROMPT, {"callbacks": [seen]}, version="v3")
    assert stream.output.tool_calls[0]["name"] == "add"
    assert seen.record["candidate"] == "digits"
    assert [kind for kind, _ in seen.chains] == ["start", "end"]


def graph_of(model):
    async def answer(state: MessagesState):
        return {"messages": [await model.ainvoke(state["messages"])]}

    def answer_sync(state: MessagesState):
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", RunnableLambda(answer_sync, afunc=answer))
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile()


def tokens(parts):
    return [
        (plain(chunk), {k: v for k, v in meta.items() if k in ("langgraph_node", "ls_provider")})
        for chunk, meta in parts
    ]


async def test_graphs_stream_each_token_once():
    direct, routed = pair()
    inputs = {"messages": [HumanMessage(PROMPT, id="1")]}
    expected = list(graph_of(direct).stream(inputs, stream_mode="messages"))
    seen = list(graph_of(routed).stream(inputs, stream_mode="messages"))
    assert "".join(chunk.text for chunk, _ in seen) == "digits: " + PROMPT
    assert tokens(seen) == tokens(expected)
    seen = await collect(graph_of(routed).astream(inputs, stream_mode="messages"))
    assert tokens(seen) == tokens(expected)


def test_the_record_comes_with_the_message_into_the_state():
    _, routed = pair()
    message = graph_of(routed).invoke({"messages": [HumanMessage(PROMPT)]})["messages"][-1]
    assert isinstance(message, AIMessage)
    assert message.response_metadata["lookahead_router"]["candidate"] == "digits"


def test_a_router_is_a_conditional_edge():
    graph = StateGraph(MessagesState)
    for name, model in rule_models().items():
        graph.add_node(name, lambda state, model=model: {"messages": [model.invoke(state["messages"])]})
        graph.add_edge(name, END)
    graph.add_conditional_edges(START, LookaheadRouter(rule_router()).pick("candidate"), ["digits", "words", "lazy"])
    compiled = graph.compile()
    assert compiled.invoke({"messages": [("human", "7")]})["messages"][-1].text == "digits: 7"
    assert compiled.invoke({"messages": [("human", "x")]})["messages"][-1].text == "words: x"
