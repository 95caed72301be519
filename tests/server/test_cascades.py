"""A cascade of the pool file, asked by OpenAI's client."""

import json
import threading
import time
from contextlib import ExitStack

import openai
import pytest
from servers.cascaded_server import PRICES, QUESTION, SORRY, Cascaded
from servers.openai_server import Reply
from servers.router_server import CHEAP, STRONG, until

from lookahead_router.errors import ConfigurationError
from lookahead_router.live.pool import PoolConfig
from lookahead_router.server.serving import Memory, Serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture(scope="module")
def _cascaded(tmp_path_factory):
    with ExitStack() as stack:
        yield Cascaded(stack, tmp_path_factory.mktemp("cascaded"))


@pytest.fixture
def world(_cascaded):
    _cascaded.say(Reply("Fine."), Reply("Better."))
    for name in PRICES:  # failures of the test before must not decide who is asked
        assert _cascaded.server.chat(model=name).status_code == 200
    for server in _cascaded.behind.values():
        server.requests.clear()
    return _cascaded


def text_of(chunks) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def usd(name: str, tokens: int, answered: int) -> float:
    return (tokens * PRICES[name][0] + answered * PRICES[name][1]) / 1e6


def test_an_answer_that_fails_a_check_is_followed_by_another_and_all_calls_are_counted(world):
    world.say(Reply(SORRY), Reply("It is four."))
    before = {name: world.server.metric("call_seconds_count", candidate=name) for name in PRICES}
    headers, answer = world.ask()
    assert answer.choices[0].message.content == "It is four."
    assert headers["x-lookahead-candidate"] == STRONG
    assert headers["x-lookahead-asked"] == f"{CHEAP}, {STRONG}"
    record = world.decision(headers["x-lookahead-decision-id"])
    cascade = record["cascade"]
    assert [hop["candidate"] for hop in cascade["hops"]] == [CHEAP, STRONG]
    assert (cascade["accepted"], record["candidate"]) == (STRONG, STRONG)
    assert [each["candidate"] for each in record["attempts"]] == [CHEAP, STRONG]
    assert cascade["hops"][0]["checks"] == {"refusal": False, "confidence": None}
    paid = usd(CHEAP, 2, 5) + usd(STRONG, 2, 3)
    assert record["cost_usd"] == pytest.approx(paid)
    assert cascade["usd"] == pytest.approx(paid)
    assert float(headers["x-lookahead-cost"]) == pytest.approx(paid, abs=1e-8)
    assert (record["input_tokens"], record["output_tokens"]) == (4, 8)
    for name in PRICES:
        assert world.server.metric("call_seconds_count", candidate=name) == before[name] + 1


def test_an_answer_that_passes_is_the_only_one(world):
    headers, answer = world.ask()
    assert answer.choices[0].message.content == "Fine."
    assert world.asked() == {CHEAP: 1, STRONG: 0}
    assert "x-lookahead-asked" not in headers


@pytest.mark.parametrize("is_stream", [False, True])
def test_log_probabilities_are_asked_for_by_the_check_alone_and_kept_from_the_client(world, is_stream):
    world.say(Reply("Fine and sure.", logprob=-0.01), Reply("Better."))
    headers, answer = world.ask(stream=is_stream)
    assert world.behind[CHEAP].requests[0]["logprobs"] is True
    hop = world.decision(headers["x-lookahead-decision-id"])["cascade"]["hops"][0]
    assert hop["checks"] == {"refusal": True, "confidence": True}
    choices = [chunk.choices[0] for chunk in answer] if is_stream else answer.choices
    assert [choice.logprobs for choice in choices] == [None] * len(choices)
    _, wanted = world.ask(stream=is_stream, logprobs=True)
    choices = [chunk.choices[0] for chunk in wanted] if is_stream else wanted.choices
    tokens = [token.token for choice in choices if choice.logprobs for token in choice.logprobs.content]
    assert tokens == ["Fine", "and", "sure."]
    world.say(Reply(SORRY), Reply("Better."))
    world.ask(stream=is_stream)
    assert "logprobs" not in world.behind[STRONG].requests[-1]  # nothing looks at the last one


def test_a_candidate_that_refuses_log_probabilities_is_asked_without(world):
    def script(request):
        return Reply("no such parameter", status=400) if request.get("logprobs") else Reply("Fine.")

    world.behind[CHEAP].script = script
    for _ in range(2):
        assert world.ask()[1].choices[0].message.content == "Fine."
    assert len(world.behind[CHEAP].requests) in (2, 3)  # twice at most once; another test may have found it out
    assert world.asked()[STRONG] == 0


def test_a_stream_is_the_accepted_answers_own(world):
    world.say(Reply(SORRY), Reply("It is four."))
    headers, chunks = world.ask(stream=True, stream_options={"include_usage": True})
    assert text_of(chunks) == "It is four."
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices][:2] == ["assistant", None]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert headers["x-lookahead-candidate"] == STRONG
    record = world.decision(headers["x-lookahead-decision-id"])
    assert [hop["candidate"] for hop in record["cascade"]["hops"]] == [CHEAP, STRONG]
    assert record["cost_usd"] == pytest.approx(usd(CHEAP, 2, 5) + usd(STRONG, 2, 3))
    assert record["cascade"]["usd"] == pytest.approx(record["cost_usd"])


def test_a_stream_that_is_looked_at_comes_whole_and_ends_properly(world):
    response = world.server.chat(stream=True)
    assert response.headers["x-lookahead-candidate"] == CHEAP
    lines = [line for line in response.text.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    assert text_of(world.ask(stream=True)[1]) == "Fine."
    assert world.asked()[STRONG] == 0


def test_of_a_stream_that_breaks_off_before_it_is_accepted_nothing_is_shown(world):
    world.say(Reply("Some words that are cut", breaks_after=2), Reply("It is four."))
    headers, chunks = world.ask(stream=True)
    assert text_of(chunks) == "It is four."
    assert headers["x-lookahead-candidate"] == STRONG
    assert world.decision(headers["x-lookahead-decision-id"])["cost_usd"] > usd(STRONG, 2, 3)


@pytest.mark.parametrize("is_stream", [False, True])
def test_where_the_second_one_fails_the_answer_in_hand_is_given(world, is_stream):
    world.say(Reply(SORRY), Reply("down", status=500))
    headers, answer = world.ask(stream=is_stream)
    assert (text_of(answer) if is_stream else answer.choices[0].message.content) == SORRY
    assert headers["x-lookahead-candidate"] == CHEAP
    record = world.decision(headers["x-lookahead-decision-id"])
    assert [(each["candidate"], each["failure"]) for each in record["attempts"]] == [
        (CHEAP, None),
        (STRONG, "server error"),
    ]
    assert record["cascade"]["accepted"] == CHEAP


def test_tools_and_forms_go_their_usual_way(world):
    world.say(Reply(tool_calls=(("weather", {"city": "Rome"}),)), Reply(tool_calls=(("weather", {"city": "Rome"}),)))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    headers, answer = world.ask(tools=[tool])
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"
    assert "cascade" not in world.decision(headers["x-lookahead-decision-id"])
    world.say(Reply("{}"), Reply("{}"))
    headers, _ = world.ask(response_format={"type": "json_object"})
    assert "cascade" not in world.decision(headers["x-lookahead-decision-id"])


@pytest.mark.parametrize("fields", [{"model": CHEAP}, {"model": "auto:cheap"}, {"n": 2}])
def test_what_is_named_chosen_by_a_share_or_several_is_no_cascade(world, fields):
    world.say(Reply(SORRY), Reply(SORRY))
    headers, _ = world.ask(**fields)
    assert sum(world.asked().values()) == 1
    assert "cascade" not in world.decision(headers["x-lookahead-decision-id"])


def test_a_budget_that_pays_for_one_call_gets_the_answer_in_hand(world):
    world.say(Reply(SORRY), Reply("It is four."))
    headers, answer = world.ask("poor")
    assert answer.choices[0].message.content == SORRY
    assert world.asked() == {CHEAP: 1, STRONG: 0}
    cascade = world.decision(headers["x-lookahead-decision-id"])["cascade"]
    assert (cascade["accepted"], cascade["stopped"]) == (CHEAP, "budget")


def test_a_client_that_leaves_ends_the_call_under_way_and_pays_for_those_before(world):
    world.say(Reply(SORRY), Reply("late", delay_seconds=5))

    def leave():
        with pytest.raises(openai.APITimeoutError):
            world.ask(timeout=1.5)

    thread = threading.Thread(target=leave)
    thread.start()
    until(lambda: world.asked()[STRONG] == 1)
    thread.join()
    began = time.monotonic()
    until(lambda: world.decisions()[-1]["status"] == 499, 3)
    assert time.monotonic() - began < 3
    record = world.decisions()[-1]
    assert record["cost_usd"] >= usd(CHEAP, 2, 5)
    assert record["cascade"]["accepted"] in (None, STRONG)


def test_a_dry_run_shows_the_plan(world):
    plan = world.server.client.post("/v1/route", json={"messages": QUESTION}).json()
    assert plan["candidate"] == CHEAP
    paths = {words: plan["cascade"].pop(words) for words in ("if_passing", "if_failing")}
    assert [call["candidate"] for call in paths["if_passing"]] == [CHEAP]
    assert [call["candidate"] for call in paths["if_failing"]] == [CHEAP, STRONG]
    for call in paths["if_failing"]:
        assert call["expected_usd"] == pytest.approx(plan["expected_usd"][call["candidate"]])
    assert paths["if_failing"][0]["chance"] == pytest.approx(plan["probabilities"][CHEAP])
    assert plan["cascade"] == {
        "checks": ["refusal", "confidence"],
        "score_per_usd": 20,
        "max_calls": 2,
        "order": [CHEAP, STRONG],
        "is_final": False,
    }
    forced = world.server.client.post("/v1/route", json={"messages": QUESTION, "model": CHEAP}).json()
    assert forced["cascade"] is None
    assert world.n_requests == 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_header_tells_what_was_asked_and_why_it_ended(world, is_stream):
    world.say(Reply(SORRY), Reply("It is four."))
    headers, _ = world.ask(stream=is_stream)
    told, record = json.loads(headers["x-lookahead-cascade"]), world.decision(headers["x-lookahead-decision-id"])
    assert told["attempts"] == [{"candidate": name, "failure": None} for name in (CHEAP, STRONG)]
    assert (told["accepted"], told["stopped"]) == (STRONG, "max-calls")
    hop, logged = told["hops"][0], record["cascade"]["hops"][0]
    assert (hop["candidate"], hop["checks"]) == (CHEAP, logged["checks"])
    assert hop["chance_after"] == pytest.approx(logged["chance_after"], rel=1e-5)
    assert len(told["hops"]) == (1 if is_stream else 2)  # a stream's last one is still coming
    assert SORRY not in headers["x-lookahead-cascade"]
    headers, _ = world.ask(stream=is_stream, model=CHEAP)
    assert "x-lookahead-cascade" not in headers


def test_the_header_tells_of_failures(world):
    world.say(Reply(SORRY), Reply("down", status=500))
    told = json.loads(world.ask()[0]["x-lookahead-cascade"])
    assert [each["failure"] for each in told["attempts"]] == [None, "server error"]
    assert (told["accepted"], told["stopped"]) == (CHEAP, "failure")


@pytest.mark.parametrize(
    ("cascade", "words"),
    [
        ({"checks": ["nope"], "score_per_usd": 1}, "should be 'agreement', 'refusal', 'cut-off' or 'confidence'"),
        ({"checks": [], "score_per_usd": 1}, "at least one check"),
        ({"checks": "refusal", "score_per_usd": 1}, "is a list of names"),
        ({"checks": ["cut-off"], "score_per_usd": 1}, "needs its reliability"),
        ({"checks": ["confidence"], "score_per_usd": 1}, "needs a minimum"),
        ({"checks": [{"name": "agreement", "minimum": 0.5}], "score_per_usd": 1}, "takes no minimum"),
        ({"checks": [{"name": "refusal", "reliability": {"passes": 1}}], "score_per_usd": 1}, "out of passes_right"),
        ({"checks": ["refusal", "refusal"], "score_per_usd": 1}, "twice"),
        ({"checks": ["refusal"], "score_per_usd": -1}, "score_per_usd"),
        ({"checks": ["refusal"]}, "score_per_usd: Field required"),
        ({"checks": ["refusal"], "score_per_usd": 1, "max_calls": 9}, "from 2 to 4"),
        ({"checks": ["refusal"], "score_per_usd": 1, "order": [CHEAP, "other"]}, "unknown candidate 'other'"),
    ],
)
def test_a_cascade_that_is_none_is_refused_when_the_file_is_read(cascade, words):
    with pytest.raises(ConfigurationError) as told:
        PoolConfig(candidates=[{"name": CHEAP}, {"name": STRONG}], cascade=cascade)
    assert words in str(told.value)


@pytest.mark.parametrize("more", [{"quality": 0.9}, {"cascade": {"checks": ["refusal"], "score_per_usd": 1}}])
def test_a_missing_price_is_told_in_the_pool_files_words(tmp_path, more):
    entries = [{"name": name, "base_url": "http://127.0.0.1:9/v1"} for name in ("my-own-model", CHEAP)]
    (tmp_path / "pool.json").write_text(json.dumps({"candidates": entries, **more}))
    with pytest.warns(Warning, match="my-own-model"), pytest.raises(ConfigurationError) as told:
        Serving.load(tmp_path / "pool.json", Memory())
    assert "missing: my-own-model. Give each its input_price and output_price in the pool file" in str(told.value)
    assert "usd_per_call" not in str(told.value)
