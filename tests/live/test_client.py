"""Who can be asked beside endpoints: functions, and chat models of LangChain and LlamaIndex."""

import asyncio
import threading
import time

import pytest

from lookahead_router.errors import ConfigurationError
from lookahead_router.live import Completion, collect
from lookahead_router.live.client import most_input_tokens

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def test_a_function_gets_the_prompt_and_gives_text():
    asked = []

    def mine(prompt):
        asked.append(prompt)
        return "So."

    collected = collect(["What?", CHAT], {"mine": mine})
    assert asked == ["What?", CHAT]
    assert [answer.response for answer in collected.answers] == ["So.", "So."]
    assert collected.answers[0].tokens_estimated
    assert collected.answers[0].cost_usd is None


def test_settings_give_a_function_prices_a_system_prompt_and_a_limit_of_calls_at_one_time():
    active, most, lock = 0, 0, threading.Lock()

    def mine(messages):
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.02)
        with lock:
            active -= 1
        return Completion(messages[0]["content"], input_tokens=5, output_tokens=7)

    settings = {"mine": {"input_price": 1, "output_price": 2, "max_concurrency": 3, "system_prompt": "Be brief."}}
    collected = collect([f"{n}" for n in range(9)], {"mine": mine}, settings=settings, budget_usd=1)
    assert most == 3
    assert {(a.response, a.cost_usd) for a in collected.answers} == {("Be brief.", 19e-6)}


def test_a_coroutine_function_runs_in_the_event_loop():
    async def mine(prompt):
        await asyncio.sleep(0)
        return threading.current_thread().name

    class Callable:
        async def __call__(self, prompt):
            return "called"

    first, second = collect(["x"], {"a": mine, "b": Callable()}).answers
    assert not first.response.startswith("lookahead-router-live")
    assert second.response == "called"


def test_a_function_that_fails_is_set_aside_by_the_type_of_its_error_and_the_prompt_is_not_quoted():
    def broken(prompt):
        raise KeyError(prompt)

    collected = collect(["secret 1", "secret 2", "secret 3", "secret 4"], {"a": broken, "b": lambda prompt: "x"})
    assert collected.candidates[0].aside == "its calls raise KeyError"
    assert collected.candidates[1].n_answers == 4


@pytest.mark.parametrize("answer", [None, 3, b"x", {"text": "x"}])
def test_a_function_that_gives_no_text_is_an_error_that_says_what_is_expected(answer):
    with pytest.raises(ConfigurationError, match="gives text or a Completion, not"):
        collect(["x"], {"a": lambda prompt: answer})


@pytest.mark.parametrize("pool", [{}, {"a": 3}, {3: lambda prompt: "x"}, ["a"], {"": lambda prompt: "x"}])
def test_a_pool_that_is_none_is_an_error(pool):
    with pytest.raises(ConfigurationError):
        collect(["x"], pool)


def test_settings_of_nobody_are_an_error():
    with pytest.raises(ConfigurationError, match="settings of 'b', which the pool does not hold"):
        collect(["x"], {"a": lambda prompt: "x"}, settings={"b": {}})


def test_a_langchain_chat_model_is_asked_and_its_token_counts_are_kept():
    models = pytest.importorskip("langchain_core.language_models.fake_chat_models")
    messages = pytest.importorskip("langchain_core.messages")
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    said = messages.AIMessage("So.", usage_metadata=usage, response_metadata={"finish_reason": "length"})
    model = models.FakeMessagesListChatModel(responses=[said])
    (answer,) = collect([CHAT], {"mine": model}, settings={"mine": {"input_price": 1, "output_price": 2}}).answers
    assert (answer.response, answer.input_tokens, answer.output_tokens, answer.finish_reason) == ("So.", 5, 7, "length")
    assert answer.cost_usd == 19e-6


def test_a_llama_index_llm_is_asked():
    mock = pytest.importorskip("llama_index.core.llms").MockLLM()
    (answer,) = collect([CHAT], {"mine": mock}).answers
    assert "Why?" in answer.response


@pytest.mark.parametrize(
    "text", ["a", "x" * 1000, "1234567890" * 50, "日本語" * 30, "🙂" * 40, "\n\t {}" * 100, "zqxj" * 200]
)
def test_no_tokenizer_makes_more_tokens_than_are_reserved(text):
    tiktoken = pytest.importorskip("tiktoken")
    messages = [{"role": "user", "content": text}]
    bound = most_input_tokens(messages)
    assert bound >= len(text.encode()) + 8
    try:
        encodings = [tiktoken.get_encoding(name) for name in ("cl100k_base", "o200k_base")]
    except Exception:  # the vocabularies are not on this machine
        return
    assert all(len(encoding.encode(text)) + 8 <= bound for encoding in encodings)


def test_attachments_are_reserved_too():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    plain = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    assert most_input_tokens([{"role": "user", "content": [{"type": "text", "text": "x"}, image]}]) >= 1600
    assert most_input_tokens(plain) < 200
