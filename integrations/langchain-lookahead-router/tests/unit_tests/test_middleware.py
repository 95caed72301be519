"""`LookaheadRouterMiddleware` in agents of `create_agent`."""

import importlib.metadata
import json
import threading

import pytest
from fakes import OtherProviderModel, RuleChatModel, RulePredictor, rule_models, rule_router
from langchain_core.messages import AIMessage, HumanMessage
from lookahead_router import BestQuality, Restricted, Router
from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from pydantic import BaseModel

if tuple(map(int, importlib.metadata.version("langchain").split(".")[:2])) < (1, 4):
    pytest.skip("needs langchain 1.4", allow_module_level=True)

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from langchain_lookahead_router import ChatLookaheadRouter, LookaheadRouterMiddleware


class Sum(BaseModel):
    """A sum."""

    value: int


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def make(models=None, router=None, **options):
    return LookaheadRouterMiddleware(candidates=models or rule_models(), router=router or rule_router(), **options)


def agent_with(middleware, tools=(add,), **options):
    return create_agent(RuleChatModel(label="own"), list(tools), middleware=[middleware], **options)


def ask(prompt):
    return {"messages": [HumanMessage(prompt)]}


def writers(result):
    return [m.response_metadata["model_name"] for m in result["messages"] if isinstance(m, AIMessage)]


def test_a_run_is_decided_once_and_its_record_is_plain_json_in_the_state():
    middleware = make()
    result = agent_with(middleware).invoke(ask("Add 7 and 7"))
    assert writers(result) == ["digits", "digits"]
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "ai"]
    record = result["lookahead_router"]
    assert json.loads(json.dumps(record)) == record
    assert (record["candidate"], record["reason"]) == ("digits", "routed")
    assert result["messages"][-1].response_metadata["lookahead_router"]["candidate"] == "digits"
    assert len(middleware._planner.router.predictor.prompts) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_config_of_a_run_may_name_its_candidate_or_policy(is_async):
    agent = agent_with(make())

    async def run(**configurable):
        config = {"configurable": configurable}
        return await agent.ainvoke(ask("Add 7 and 7"), config) if is_async else agent.invoke(ask("Add 7 and 7"), config)

    forced = await run(lookahead_candidate="lazy")
    assert writers(forced) == ["lazy", "lazy"]
    assert forced["lookahead_router"]["reason"] == "forced"
    barred = await run(lookahead_policy=Restricted(BestQuality(), deny=["digits"]))
    assert writers(barred) == ["lazy", "lazy"]
    with pytest.raises(UnknownCandidateError, match="nobody"):
        await run(lookahead_candidate="nobody")


def test_per_call_decides_before_every_model_call():
    middleware = make(per="call")
    result = agent_with(middleware).invoke(ask("Add 7 and 7"))
    assert writers(result) == ["digits", "digits"]
    assert len(middleware._planner.router.predictor.prompts) == 2


async def test_async_agents_predict_off_the_event_loop():
    threads = []

    class Watched(RulePredictor):
        def predict(self, prompts):
            threads.append(threading.current_thread())
            return super().predict(prompts)

    result = await agent_with(make(router=Router(Watched()))).ainvoke(ask("Add 7 and 7"))
    assert writers(result) == ["digits", "digits"]
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_a_new_run_on_the_same_thread_is_decided_anew():
    agent = agent_with(make(context_chars=0), tools=(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    assert writers(agent.invoke(ask("7"), config)) == ["digits"]
    result = agent.invoke(ask("seven"), config)
    assert writers(result) == ["digits", "words"]
    assert result["lookahead_router"]["candidate"] == "words"


def test_structured_output_is_by_the_chosen_models_own_way():
    models = rule_models()
    models["digits"] = models["digits"].model_copy(update={"profile": {"structured_output": True}})
    agent = agent_with(make(models), tools=(), response_format=Sum)
    assert agent.invoke(ask("41"))["structured_response"] == Sum(value=41)
    assert "response_format" in models["digits"].calls[-1][1]
    assert agent.invoke(ask("a sum"))["structured_response"] == Sum(value=1)
    assert "tools" in models["words"].calls[-1][1]


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_next_best_answers_and_keeps_the_run(is_async):
    models = rule_models()
    models["digits"] = models["digits"].model_copy(update={"fails": TimeoutError()})
    agent = agent_with(make(models, fallbacks="next-best"))
    result = await agent.ainvoke(ask("Add 7 and 7")) if is_async else agent.invoke(ask("Add 7 and 7"))
    assert writers(result) == ["lazy", "lazy"]
    assert len(models["digits"].calls) == 1
    with pytest.raises(TimeoutError):
        agent_with(make(models)).invoke(ask("7"))


def test_candidates_without_tools_are_left_out():
    models = rule_models()
    models["digits"] = models["digits"].model_copy(update={"profile": {"tool_calling": False}})
    assert writers(agent_with(make(models)).invoke(ask("Add 7 and 7"))) == ["lazy", "lazy"]
    assert writers(agent_with(make(models), tools=()).invoke(ask("7"))) == ["digits"]


def test_a_failing_predictor_leaves_the_call_to_default_or_to_the_agents_own_model(caplog):
    broken = rule_router(error=RuntimeError("boom about tulips"))
    assert writers(agent_with(make(router=broken, default="lazy"), tools=()).invoke(ask("tulips"))) == ["lazy"]
    result = agent_with(make(router=broken), tools=()).invoke(ask("tulips"))
    assert writers(result) == ["own"]
    assert result["lookahead_router"] is None
    assert "tulips" not in caplog.text


def test_history_is_portable_between_providers():
    models = {"digits": RuleChatModel(label="digits"), "words": OtherProviderModel(label="words")}
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "fine"}]
    earlier = AIMessage(blocks, response_metadata={"lookahead_router": {"candidate": "words"}})
    agent_with(make(models), tools=()).invoke({"messages": [HumanMessage("a"), earlier, HumanMessage("7")]})
    assert models["digits"].calls[-1][0][1].content == "fine"


def test_the_hooks_keep_messages_out_of_their_spans():
    assert make().trace_policy.process_inputs({"messages": ["tulips"]}) != {"messages": ["tulips"]}


@pytest.mark.parametrize(
    "options",
    [
        {"per": "day"},
        {"fallbacks": "best"},
        {"router": 7},
        {"candidates": {}},
        {"policy": "cheap"},
        {"context_chars": -1},
    ],
)
def test_wrong_options_are_told(options):
    with pytest.raises(ConfigurationError):
        LookaheadRouterMiddleware(**{"candidates": rule_models(), "router": rule_router(), **options})


def test_names_that_are_no_candidates_are_told():
    with pytest.raises(UnknownCandidateError):
        make(default="nobody")
    with pytest.raises(UnknownCandidateError, match="aliases="):
        make({"gpt-5-mini": RuleChatModel(label="own")})


def test_the_chat_model_is_an_agents_model_too():
    llm = ChatLookaheadRouter(candidates=rule_models(), router=rule_router(), sticky="turn")
    agent = create_agent(llm, [add])
    result = agent.invoke(ask("Add 7 and 7"))
    assert writers(result) == ["digits", "digits"]
    assert result["messages"][-1].response_metadata["lookahead_router"]["reason"] == "sticky"


def test_the_chat_model_gives_structured_output_to_agents():
    llm = ChatLookaheadRouter(candidates=rule_models(), router=rule_router())
    agent = create_agent(llm, [], response_format=Sum)
    assert agent.invoke(ask("41"))["structured_response"] == Sum(value=41)
