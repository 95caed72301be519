"""What of a conversation is read, who keeps it, and what a new candidate gets of it."""

import pytest
from fakes import OtherProviderModel, RuleChatModel, rule_models, rule_router
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from lookahead_router.errors import ConfigurationError

from langchain_lookahead_router import ChatLookaheadRouter
from langchain_lookahead_router._messages import portable


def make(**options):
    return ChatLookaheadRouter(candidates=rule_models(), router=rule_router(), **options)


def answer_of(name, text="fine"):
    return AIMessage(text, response_metadata={"lookahead_router": {"candidate": name}})


def test_the_predictor_reads_the_context_that_the_router_allows():
    messages = [HumanMessage("7"), AIMessage("seven"), HumanMessage("and now?")]
    assert make().invoke(messages).text == "digits: and now?"
    assert make(context_chars=0).invoke(messages).text == "words: and now?"


@pytest.mark.parametrize(
    ("sticky", "expected"), [(None, "words"), ("turn", "words"), ("thread", "lazy"), ("adaptive", "words")]
)
def test_a_new_turn_stays_with_the_threads_candidate_only(sticky, expected):
    messages = [HumanMessage("hello"), answer_of("lazy"), HumanMessage("go on")]  # a greeting holds nothing
    assert make(sticky=sticky).invoke(messages).text == f"{expected}: go on"


@pytest.mark.parametrize(("switch_gain", "expected"), [(None, "words"), (0.5, "lazy")])
def test_a_conversation_stays_unless_another_candidate_gains_enough(switch_gain, expected):
    messages = [HumanMessage("Solve 7 + 8 = x"), answer_of("lazy"), HumanMessage("Write a story about a fox.")]
    message = make(sticky="adaptive", switch_gain=switch_gain).invoke(messages)
    assert message.text == f"{expected}: Write a story about a fox."
    record = message.response_metadata["lookahead_router"]
    assert record["reason"] == ("sticky" if expected == "lazy" else "routed")
    assert (record["stickiness"]["held"], record["stickiness"]["instead"]) == ("lazy", "words")


def test_a_thread_is_held_where_the_history_is_not_passed():
    llm = make(sticky="adaptive", switch_gain=1.0)

    def ask(text):
        return llm.invoke(text, {"configurable": {"thread_id": "a"}}).text.partition(":")[0]

    texts = ["hi", "Solve 7 + 8 = x", "thanks", "Write a story about a fox."]
    assert [ask(text) for text in texts] == ["words", "digits", "digits", "digits"]


@pytest.mark.parametrize(
    ("sticky", "expected"), [(None, "words"), ("turn", "lazy"), ("thread", "lazy"), ("adaptive", "lazy")]
)
def test_a_tool_loop_stays_with_the_turns_candidate(sticky, expected):
    call = AIMessage(
        "",
        tool_calls=[{"name": "add", "args": {}, "id": "1"}],
        response_metadata={"lookahead_router": {"candidate": "lazy"}},
    )
    message = make(sticky=sticky).invoke([HumanMessage("hello"), call, ToolMessage("ok", tool_call_id="1")])
    assert message.response_metadata["lookahead_router"]["candidate"] == expected
    assert message.response_metadata["lookahead_router"]["reason"] == ("sticky" if sticky else "routed")


@pytest.mark.parametrize("call", ["invoke", "stream"])
def test_a_thread_id_keeps_the_candidate_where_the_history_is_not_passed(call):
    llm = make(sticky="thread")

    def ask(prompt, thread):
        config = {"configurable": {"thread_id": thread}}
        return (
            "".join(c.text for c in llm.stream(prompt, config)) if call == "stream" else llm.invoke(prompt, config).text
        )

    assert ask("7", "one") == "digits: 7"
    assert ask("seven", "one") == "digits: seven"
    assert ask("seven", "two") == "words: seven"
    assert llm.invoke("seven").text == "words: seven"


async def test_a_thread_is_kept_in_async_calls_and_in_a_mapping_of_ones_own():
    threads = {}
    llm = make(sticky="thread", threads=threads)
    config = {"configurable": {"thread_id": 5}}
    await llm.ainvoke("7", config)
    assert threads == {"5": "digits"}
    assert "".join([chunk.text async for chunk in llm.astream("seven", config)]) == "digits: seven"


def test_only_the_threads_used_last_are_remembered():
    llm = make(sticky="thread")
    llm.threads.max_threads = 2
    for thread in ("one", "two", "one", "three"):
        llm.invoke("7", {"configurable": {"thread_id": thread}})
    assert sorted(llm.threads) == ["one", "three"]


def test_a_candidate_that_is_gone_is_not_kept():
    assert make(sticky="thread").invoke([HumanMessage("7"), answer_of("gone"), HumanMessage("7")]).text == "digits: 7"


def test_a_wrong_sticky_is_told():
    with pytest.raises(ConfigurationError, match="sticky"):
        make(sticky="forever")


THINKING = AIMessage(
    [
        {"type": "thinking", "thinking": "hmm", "signature": "c2ln"},
        {"type": "text", "text": "I look it up.", "cache_control": {"type": "ephemeral"}},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"q": "x"}},
    ],
    tool_calls=[{"name": "find", "args": {"q": "x"}, "id": "t1"}],
    additional_kwargs={"reasoning": {"id": "rs_1"}},
    response_metadata={"lookahead_router": {"candidate": "other"}},
)
HISTORY = [
    SystemMessage([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]),
    HumanMessage("7"),
    THINKING,
    ToolMessage("found", tool_call_id="t1"),
    AIMessage([{"type": "reasoning", "reasoning": "only this"}], response_metadata={"model_provider": "elsewhere"}),
    HumanMessage("go on"),
]
MODELS = {"mine": RuleChatModel(label="mine"), "other": OtherProviderModel(label="other")}


def test_a_switch_of_provider_keeps_text_and_tool_calls_and_drops_what_is_bound_to_the_other():
    system, human, answer, tool, last = portable(HISTORY, "mine", MODELS)
    assert system.content == [{"type": "text", "text": "Be brief."}]
    assert answer.content == "I look it up."
    assert answer.tool_calls == THINKING.tool_calls
    assert answer.additional_kwargs == {}
    assert (human.content, tool.content, last.content) == ("7", "found", "go on")


def test_the_history_itself_is_not_changed():
    before = [message.model_dump() for message in HISTORY]
    portable(HISTORY, "mine", MODELS)
    assert [message.model_dump() for message in HISTORY] == before


def test_without_a_switch_of_provider_everything_is_kept():
    models = {"mine": MODELS["mine"], "other": RuleChatModel(label="other")}
    history = HISTORY[:4]
    assert portable(history, "mine", models) is history
    assert portable([HumanMessage("7"), AIMessage("who?")], "mine", models)[1].content == "who?"


def test_candidates_get_the_portable_history():
    models = {"digits": RuleChatModel(label="digits"), "words": OtherProviderModel(label="words")}
    llm = ChatLookaheadRouter(candidates=models, router=rule_router())
    foreign = THINKING.model_copy(update={"response_metadata": {"lookahead_router": {"candidate": "words"}}})
    llm.invoke([HumanMessage("7"), foreign, ToolMessage("found", tool_call_id="t1")])
    sent, _ = models["digits"].calls[-1]
    assert sent[1].content == "I look it up."
