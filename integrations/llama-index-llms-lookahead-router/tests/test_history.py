"""Reasoning of one provider, in a conversation that another one goes on with."""

import asyncio

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.llms import CustomLLM, LLMMetadata
from llama_index_world import make_router
from pydantic import PrivateAttr

from llama_index.llms.lookahead_router import LookaheadRouterLLM


class Thinker(CustomLLM):
    """Answers with signed reasoning and a tool call, and keeps what it was sent."""

    _got: list = PrivateAttr(default_factory=list)

    @property
    def metadata(self):
        return LLMMetadata()

    def complete(self, prompt, formatted=False, **kwargs):
        raise NotImplementedError

    def stream_complete(self, prompt, formatted=False, **kwargs):
        raise NotImplementedError

    def chat(self, messages, **kwargs):
        self._got.append(messages)
        blocks = [
            ThinkingBlock(content="hm", additional_information={"signature": type(self).__name__}),
            TextBlock(text="so"),
            ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1}),
        ]
        kwargs = {"thought_signatures": [type(self).__name__], "tool_calls": [{"id": "1"}]}
        return ChatResponse(message=ChatMessage(role="assistant", blocks=blocks, additional_kwargs=kwargs))

    async def achat(self, messages, **kwargs):
        return self.chat(messages)

    def stream_chat(self, messages, **kwargs):
        yield ChatResponse(message=ChatMessage(role="assistant", content="s"), delta="s")
        yield self.chat(messages).model_copy(update={"delta": "o"})

    async def astream_chat(self, messages, **kwargs):
        async def chunks():
            for chunk in self.stream_chat(messages):
                yield chunk

        return chunks()


class Other(Thinker):
    """Of another provider."""


def chat(llm, messages, name):
    return llm.chat(messages, candidate=name).message


def achat(llm, messages, name):
    return asyncio.run(llm.achat(messages, candidate=name)).message


def stream_chat(llm, messages, name):
    return list(llm.stream_chat(messages, candidate=name))[-1].message


def astream_chat(llm, messages, name):
    async def last():
        return [chunk async for chunk in await llm.astream_chat(messages, candidate=name)][-1]

    return asyncio.run(last()).message


@pytest.mark.parametrize("call", [chat, achat, stream_chat, astream_chat])
def test_reasoning_goes_back_to_its_provider_and_to_no_other(call):
    digits, words = Thinker(), Other()
    llm = LookaheadRouterLLM({"digits": digits, "words": words}, make_router())
    asked = ChatMessage(role="user", content="7")
    thought = call(llm, [asked], "digits")
    history = [asked, thought, ChatMessage(role="user", content="words")]
    call(llm, history, "digits")
    assert digits._got[-1] == history
    call(llm, history, "words")
    first, bare, last = words._got[-1]
    assert [first, last] == [history[0], history[2]]
    assert [block.block_type for block in bare.blocks] == ["text", "tool_call"]
    assert bare.additional_kwargs == {"tool_calls": [{"id": "1"}]}
    assert history[1] is thought
    assert thought.blocks[0].block_type == "thinking"  # copied, never changed


def test_reasoning_of_unknown_origin_stays_as_it_is():
    words = Other()
    llm = LookaheadRouterLLM({"digits": Thinker(), "words": words}, make_router())
    elsewhere = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="so", additional_information={"id": "1"})])
    history = [ChatMessage(role="user", content="a"), elsewhere, ChatMessage(role="user", content="b")]
    llm.chat(history, candidate="words")
    assert words._got[-1] == history
