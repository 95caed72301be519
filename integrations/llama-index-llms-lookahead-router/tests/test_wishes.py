"""Who answers where the router does not decide alone: forced, kept, able, and some of the pool."""

import contextlib

import pytest
from calling import ADD, MESSAGES, PLAIN_CALLS, TOOL_CALLS, call_the_first_tool
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import AudioBlock, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index_world import NUMBERS_QUERY, POOL, WORDS_QUERY, RulePredictor, make_llm, make_router
from lookahead_router import BestQuality, Candidate, CandidatePool, CostAware, Restricted, Router
from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from servers.openai_server import Reply

from llama_index.llms.lookahead_router import LookaheadRouterLLM, routing_records


def record_of(response):
    return response.additional_kwargs["lookahead_router"]


def by_name(call):
    return call.__name__


# Forced


class Naming:
    """An LLM that is called with one argument more."""

    def __init__(self, llm, **argument):
        self.llm, self.argument = llm, argument

    def __getattr__(self, method):
        return lambda *args, **kwargs: getattr(self.llm, method)(*args, **kwargs, **self.argument)


@pytest.mark.parametrize("option", ["candidate", "model"])
@pytest.mark.parametrize("call", [*PLAIN_CALLS, *TOOL_CALLS], ids=by_name)
async def test_a_call_may_name_its_candidate(server, llm, call, option):
    server.script = call_the_first_tool
    responses = await call(Naming(llm, **{option: "digits"}))
    assert (record_of(responses[-1])["candidate"], record_of(responses[-1])["reason"]) == ("digits", "forced")
    assert server.models_called() == ["digits"], "each endpoint is asked for its own model"


def test_a_name_that_is_no_candidate_reaches_no_endpoint(server, llm):
    for option in ("candidate", "model"):
        with pytest.raises(UnknownCandidateError, match="'gpt-5'"):
            llm.chat(MESSAGES, **{option: "gpt-5"})
    assert server.requests == []


def test_the_llm_may_name_the_candidate_of_every_call(server, candidates, llm):
    forced = LookaheadRouterLLM(candidates, make_router(), candidate="digits", fallbacks="next-best")
    assert record_of(forced.chat(MESSAGES))["candidate"] == "digits"
    assert record_of(forced.chat([ChatMessage(role="system", content="Say hello.")]))["reason"] == "forced"
    assert record_of(forced.chat(MESSAGES, model="words"))["candidate"] == "words"
    assert record_of(llm.model_copy(update={"candidate": "digits"}).chat(MESSAGES))["candidate"] == "digits"


def test_a_tag_names_the_candidate_of_calls_that_take_no_argument(llm, index):
    engine = index.as_query_engine(llm=llm)
    with instrument_tags({"lookahead_candidate": "digits"}):
        assert engine.query(WORDS_QUERY).metadata["lookahead_router"]["candidate"] == "digits"
    assert engine.query(WORDS_QUERY).metadata["lookahead_router"]["candidate"] == "words"


# Kept


def turns(*contents):
    roles = ("user", "assistant") * len(contents)
    return [ChatMessage(role=role, content=content) for role, content in zip(roles, contents, strict=False)]


async def test_a_thread_stays_with_the_candidate_that_answered_it(candidates):
    llm = LookaheadRouterLLM(candidates, make_router(), sticky="thread")
    assert record_of(llm.chat(turns(NUMBERS_QUERY), thread_id="a"))["candidate"] == "digits"
    record = record_of(await llm.achat(turns(WORDS_QUERY), thread_id="a"))
    assert (record["candidate"], record["reason"]) == ("digits", "sticky")
    assert [record_of(r)["candidate"] for r in llm.stream_chat(turns(WORDS_QUERY), thread_id="b")][-1] == "words"
    with instrument_tags({"thread_id": "a"}):
        assert record_of(llm.complete(WORDS_QUERY))["candidate"] == "digits"
    assert record_of(llm.chat(turns(WORDS_QUERY)))["candidate"] == "words"


@pytest.mark.parametrize(
    "memory",
    [
        lambda name: Memory.from_defaults(session_id=name),
        lambda name: ChatMemoryBuffer.from_defaults(chat_store_key=name),
        lambda name: None,  # which has a session of its own
    ],
    ids=["session", "key of a store", "default"],
)
async def test_the_thread_of_a_chat_engine_is_the_session_of_its_memory(candidates, memory):
    llm = LookaheadRouterLLM(candidates, make_router(), sticky="thread")
    first, second = (SimpleChatEngine.from_defaults(llm=llm, memory=memory(name)) for name in "ab")
    assert str(first.chat(NUMBERS_QUERY)).startswith("digits: ")
    assert str(await first.achat(WORDS_QUERY)).startswith("digits: ")
    assert str(second.chat(WORDS_QUERY)).startswith("words: ")
    assert "".join(second.stream_chat(NUMBERS_QUERY).response_gen).startswith("words: ")


@pytest.mark.parametrize("kind", [FunctionAgent, ReActAgent])
async def test_the_thread_of_an_agent_is_the_session_of_its_memory(server, candidates, kind):
    server.script = lambda request: Reply(f"Thought: I know it.\nAnswer: {request['model']}")
    llm = LookaheadRouterLLM(candidates, make_router(), sticky="thread")
    agent = kind(tools=[ADD], llm=llm, streaming=False)
    memory = Memory.from_defaults(session_id="c")
    assert "digits" in str(await agent.run(NUMBERS_QUERY, memory=memory))
    assert "digits" in str(await agent.run(WORDS_QUERY, memory=memory))
    assert "words" in str(await agent.run(WORDS_QUERY))


def test_a_turn_stays_with_the_candidate_that_has_answered_it(server, candidates):
    llm = LookaheadRouterLLM(candidates, make_router(), sticky="turn", fallbacks="next-best")
    server.script = lambda request: (
        Reply(status=503) if request["model"] == "words" else Reply(tool_calls=(("add", {"a": 1, "b": 2}),))
    )
    first = llm.chat_with_tools([ADD], chat_history=turns(WORDS_QUERY))
    assert record_of(first)["candidate"] == "digits"
    llm.cooldowns.answered("words")  # it is well again, and yet the turn goes on where it began
    history = [
        *turns(WORDS_QUERY),
        first.message,
        ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "1"}),
    ]
    record = record_of(llm.chat_with_tools([ADD], chat_history=history))
    assert (record["candidate"], record["reason"]) == ("digits", "sticky")
    server.script = lambda request: Reply(request["model"])
    assert record_of(llm.chat([*history, *turns("Another tale.")]))["candidate"] == "words"


def test_a_conversation_stays_unless_another_candidate_gains_enough(server, candidates):
    server.script = lambda request: Reply(request["model"])
    for gain, name in ((1.0, "digits"), (None, "words")):
        llm = LookaheadRouterLLM(candidates, make_router(), sticky="adaptive", switch_gain=gain)
        first = llm.chat(turns("hi"))  # a greeting holds nothing
        history = [*turns("hi"), first.message, *turns(NUMBERS_QUERY)]
        second = llm.chat(history)
        assert record_of(second)["candidate"] == "digits"
        history += [second.message, *turns("Tell a long story of a kind old fox.")]
        record = record_of(llm.chat(history))
        assert record["candidate"] == name
        assert record["stickiness"]["stays"] == (name == "digits")
    with pytest.raises(ConfigurationError, match="switch_gain"):
        LookaheadRouterLLM(candidates, make_router(), sticky="adaptive", switch_gain=2)


async def test_what_an_agent_observes_moves_it_to_nobody_else(server, llm):
    """ReAct hands a tool's result over as the user's message, here with digits in it."""
    server.script = lambda request: Reply(
        'Thought: I need a tool.\nAction: add\nAction Input: {"a": 3, "b": 4}'
        if len(request["messages"]) < 3
        else "Thought: I know it.\nAnswer: fine"
    )
    assert str(await ReActAgent(tools=[ADD], llm=llm, streaming=False).run("three and four")) == "fine"
    assert "Observation: 7" in server.requests[1]["messages"][-1]["content"]
    assert server.models_called() == ["words", "words"]


# Able


@pytest.mark.parametrize(
    ("block", "need"),
    [
        (ImageBlock(image=b"\x89PNG", image_mimetype="image/png"), "images"),
        (AudioBlock(audio=b"RIFF", format="wav"), "audio"),
        (DocumentBlock(data=b"%PDF", document_mimetype="application/pdf"), "files"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_cannot_read_an_attachment_is_left_out(candidates, block, need):
    pool = [Candidate(name="digits", capabilities=["tools", need]), Candidate(name="words", capabilities=["tools"])]
    predictor = RulePredictor(POOL[:2])
    predictor.pool = CandidatePool(pool)
    llm = LookaheadRouterLLM(candidates, Router(predictor))
    messages = [ChatMessage(role="user", blocks=[TextBlock(text=WORDS_QUERY), block])]
    with routing_records() as records, contextlib.suppress(Exception):  # of the client, which takes no such file
        llm.chat(messages)
    assert records[0]["candidate"] == "digits"
    assert records[0]["excluded"] == {"words": f"has no {need}, says its entry in the pool"}
    assert record_of(llm.chat(turns(WORDS_QUERY)))["candidate"] == "words"


def test_who_cannot_read_as_much_is_left_out(server):
    candidates = {
        "digits": make_llm("digits", server.url, context_window=8000),
        "words": make_llm("words", server.url, context_window=1000),
    }
    llm = LookaheadRouterLLM(candidates, make_router())
    history = turns("A tale. " * 400, "Yes. " * 400, WORDS_QUERY)
    record = record_of(llm.chat(history))
    assert record["candidate"] == "digits"
    assert record["excluded"]["words"].startswith("takes 1000 tokens")
    assert record_of(llm.chat(turns(WORDS_QUERY)))["candidate"] == "words"


def test_tools_take_their_part_of_a_window(server):
    candidates = {
        "digits": make_llm("digits", server.url, context_window=8000),
        "words": make_llm("words", server.url, context_window=1000),
    }
    llm = LookaheadRouterLLM(candidates, make_router())
    metadata = ToolMetadata(description="Adds. " * 1000, name="add")
    tool = FunctionTool(lambda a: a, metadata=metadata)
    assert record_of(llm.chat_with_tools([tool], WORDS_QUERY))["candidate"] == "digits"


def test_tools_in_a_providers_form_need_who_can_call_them_too(server):
    spec = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    candidates = {
        "digits": make_llm("digits", server.url),
        "words": make_llm("words", server.url, is_function_calling_model=False),
    }
    llm = LookaheadRouterLLM(candidates, make_router())
    assert record_of(llm.chat(turns(WORDS_QUERY), tools=[spec]))["candidate"] == "digits"


# Some of the pool


def test_candidates_may_be_some_of_the_pool_in_any_order(server):
    candidates = {name: make_llm(name, server.url) for name in ("words", "digits")}
    llm = LookaheadRouterLLM(candidates, make_router(POOL))
    assert set(llm.router.pool.names) == {"digits", "words"}
    assert record_of(llm.chat(turns(NUMBERS_QUERY)))["candidate"] == "digits"
    assert record_of(llm.chat(turns(WORDS_QUERY)))["ranking"] == ["words", "digits"]


def test_the_pool_may_be_given_names_prices_and_a_policy(server):
    prices = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 2.0}
    llm = LookaheadRouterLLM(
        {name: make_llm(name, server.url) for name in ("gpt-5-mini", "words")},
        make_router(),
        aliases={
            "digits": Candidate(name="gpt-5-mini", **prices),
            "words": Candidate(name="words", input_usd_per_million_tokens=4000.0, output_usd_per_million_tokens=4000.0),
        },
        policy=CostAware(score_per_usd=1.0),
    )
    record = record_of(llm.chat(turns(WORDS_QUERY)))
    assert record["candidate"] == "gpt-5-mini"
    assert record["cost_usd"] == pytest.approx((record["input_tokens"] * 1.0 + record["output_tokens"] * 2.0) / 1e6)


def test_a_candidate_that_the_policy_rules_out_counts_for_nothing(server, candidates):
    candidates["words"] = make_llm("words", server.url, context_window=100, is_function_calling_model=False)
    llm = LookaheadRouterLLM(candidates, make_router(), policy=Restricted(BestQuality(), deny=["words"]))
    assert llm.metadata.context_window == 8000
    assert record_of(llm.chat(turns(WORDS_QUERY)))["candidate"] == "digits"


def test_a_request_that_nobody_can_take(candidates):
    pool = CandidatePool([Candidate(name=name, capabilities=["tools"]) for name in POOL[:2]])
    predictor = RulePredictor(POOL[:2])
    predictor.pool = pool
    llm = LookaheadRouterLLM(candidates, Router(predictor), default="words")
    blocks = [TextBlock(text=WORDS_QUERY), ImageBlock(image=b"\x89PNG", image_mimetype="image/png")]
    with pytest.raises(ConfigurationError, match="no candidate can take this request: digits has no images"):
        llm.chat([ChatMessage(role="user", blocks=blocks)])
