"""An answer is something that was said: bodies that are none, and chunks that show nothing, end no request."""

import json

import httpx
import pytest
from calling import MESSAGES, PLAIN_CALLS
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse, CustomLLM, LLMMetadata
from llama_index.llms.openai_like import OpenAILike
from llama_index_world import make_llm, make_router
from lookahead_router.errors import NoAnswerError

from llama_index.llms.lookahead_router import LookaheadRouterLLM

BODIES = {
    "html": ("text/html", b"<html><body>Sign in</body></html>"),
    "malformed": ("application/json", b'{"choices": [{"mess'),
    "empty": ("application/json", b""),
    "null": ("application/json", b"null"),
    "no choices": ("application/json", b'{"id": "1", "choices": [], "object": "chat.completion"}'),
    "no chunks": ("text/event-stream", b"data: [DONE]\n\n"),
    "an error in words": ("text/event-stream", b'data: {"error": "x"}\n\n'),
    "an error of vLLM": ("application/json", b'{"object": "error", "message": "x", "code": 500}'),
    "an error of Anthropic": ("application/json", b'{"type": "error", "error": {"type": "overloaded_error"}}'),
    "no message": ("application/json", b'{"id": "1", "choices": [{"index": 0}]}'),
}
CHAT_CALLS = [call for call in PLAIN_CALLS if call.__name__.endswith("chat")]


def saying(kind, content):
    """An LLM whose provider sends the same body for every request, with status 200."""

    def reply(request):
        return httpx.Response(200, headers={"content-type": kind}, content=content)

    transport = httpx.MockTransport(reply)
    return OpenAILike(
        model="words",
        api_base="http://127.0.0.1/v1",
        api_key="k",
        is_chat_model=True,
        max_retries=0,
        http_client=httpx.Client(transport=transport),
        async_http_client=httpx.AsyncClient(transport=transport),
    )


def routed(server, llm, **options):
    return LookaheadRouterLLM({"digits": make_llm("digits", server.url), "words": llm}, make_router(), **options)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("call", CHAT_CALLS, ids=lambda call: call.__name__)
async def test_a_body_that_is_no_answer_is_followed_by_the_next_best(server, call, body):
    llm = routed(server, saying(*body), fallbacks="next-best")
    responses = await call(llm)
    assert str(responses[-1]).startswith("assistant: digits: ")
    record = responses[-1].additional_kwargs["lookahead_router"]
    assert record["candidate"] == "digits"
    (failed,) = record["failed"]
    assert (failed["candidate"], failed["failure"] in ("no answer", "server error")) == ("words", True)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("call", CHAT_CALLS, ids=lambda call: call.__name__)
async def test_where_nobody_is_left_it_is_an_error(server, call, body):
    with pytest.raises(Exception):  # noqa: B017, PT011  (whichever the client raises; never an empty answer)
        await call(routed(server, saying(*body)))


class Scripted(CustomLLM):
    """Streams chunks, and dies where one of them is an error."""

    chunks: list

    @property
    def metadata(self):
        return LLMMetadata(is_chat_model=True)

    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text="")

    def stream_complete(self, prompt, formatted=False, **kwargs):
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield CompletionResponse(text=chunk, delta=chunk)

    def stream_chat(self, messages, **kwargs):
        def chunks():
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield ChatResponse(message=ChatMessage(role="assistant", content=chunk), delta=chunk)

        return chunks()


STREAMS = [call for call in PLAIN_CALLS if "stream" in call.__name__]


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.__name__)
@pytest.mark.parametrize(
    "chunks",
    [["", ConnectionError("gone")], ["\n\n", ConnectionError("gone")], ["", ""], []],
    ids=["breaks", "breaks after white space", "empty", "nothing"],
)
async def test_chunks_that_show_nothing_do_not_stop_the_fallback(server, call, chunks):
    llm = routed(server, Scripted(chunks=chunks), fallbacks="next-best")
    responses = await call(llm)
    assert "digits: " in str(responses[-1])
    assert {r.additional_kwargs["lookahead_router"]["candidate"] for r in responses} == {"digits"}


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.__name__)
async def test_once_something_was_shown_the_error_is_raised(server, call):
    llm = routed(server, Scripted(chunks=["", "fine", ConnectionError("gone")]), fallbacks="next-best")
    with pytest.raises(ConnectionError):
        await call(llm)
    assert server.requests == []
    with pytest.raises(ConnectionError):
        await call(llm)
    assert "digits: " in str((await call(llm))[-1]), "two in a row, and it is asked last for a while"


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.__name__)
async def test_a_chunk_held_back_comes_before_the_first_that_shows_something(server, call):
    llm = routed(server, Scripted(chunks=["", "fine"]))
    assert [response.delta for response in await call(llm)] == ["", "fine"]


@pytest.mark.parametrize("call", STREAMS, ids=lambda call: call.__name__)
async def test_a_stream_without_chunks_is_an_error_where_nobody_is_left(server, call):
    with pytest.raises(NoAnswerError):
        await call(routed(server, Scripted(chunks=[])))


def test_an_empty_answer_that_tokens_were_spent_on_is_one(server):
    """A model may have nothing to say; its provider then counts what it thought."""
    body = {
        "id": "1", "object": "chat.completion", "created": 1, "model": "words",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }  # fmt: skip
    llm = routed(server, saying("application/json", json.dumps(body).encode()), fallbacks="next-best")
    record = llm.chat(MESSAGES).additional_kwargs["lookahead_router"]
    assert (record["candidate"], record["output_tokens"]) == ("words", 3)
    body["usage"]["completion_tokens"] = 0
    llm = routed(server, saying("application/json", json.dumps(body).encode()), fallbacks="next-best")
    assert llm.chat(MESSAGES).additional_kwargs["lookahead_router"]["candidate"] == "digits"


def test_a_mistake_of_the_caller_is_no_answer_of_the_provider(server):
    """Only what an LLM's class stumbles over is taken for one."""
    llm = routed(server, make_llm("words", server.url), fallbacks="next-best")
    with pytest.raises(TypeError, match="nonsense"):
        llm.chat(MESSAGES, nonsense=True)
    assert server.requests == []
