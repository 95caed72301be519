"""`/v1/chat/completions` and what stands around it, asked over HTTP."""

import json

import pytest
from servers.openai_server import Reply
from servers.router_server import CANDIDATES, CHEAP, STRONG

from lookahead_router import BestQuality, KeepQuality, Router

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def events(response):
    return [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]


def test_an_answer_is_the_candidates_own_with_the_decision_in_headers(world):
    response = world.server.chat("hello there")
    assert response.status_code == 200
    name = response.headers["x-lookahead-candidate"]
    assert response.json()["choices"][0]["message"]["content"] == f"{name}: hello there"
    assert response.headers["x-lookahead-reason"] == "routed"
    assert 0 < float(response.headers["x-lookahead-probability"]) < 1
    assert float(response.headers["x-lookahead-cost"]) > 0
    assert response.headers["x-lookahead-decision-id"].startswith("dec_")
    assert world.n_requests == 1


def test_whatever_else_the_client_sends_arrives_as_it_was(world):
    fields = {
        "temperature": 0.25,
        "n": 2,
        "logprobs": True,
        "seed": 12345678901234567890,
        "unheard_of": {"a": [None, 1.5, "\ud83d \u0000 \N{GRINNING FACE}"]},
        "metadata": {"x": "y"},
    }
    world.server.chat("hi", model=CHEAP, **fields)
    (request,) = world.behind[CHEAP].requests
    assert {name: request[name] for name in fields} == fields
    assert request["messages"] == [{"role": "user", "content": "hi"}]
    assert request["model"] == CHEAP


@pytest.fixture(scope="module")
def router():
    return Router.from_pretrained(candidates=CANDIDATES)


TEXTS = ("hi", "Prove that there are infinitely many primes.", "Design a distributed rate limiter in Go.")
POLICIES = {
    "auto": BestQuality(),
    "auto:best": BestQuality(),
    "auto:cheap": KeepQuality(0.8),
    "auto:0.95": KeepQuality(0.95),
    "auto:0": KeepQuality(0.0),
}


@pytest.mark.parametrize("model", POLICIES)
def test_decisions_are_the_routers_own(world, router, model):
    for text in TEXTS:
        response = world.server.chat(text, model=model)
        assert response.headers["x-lookahead-candidate"] == router.with_policy(POLICIES[model]).route(text).name
        assert response.headers["x-lookahead-reason"] == "routed"


@pytest.mark.parametrize("name", CANDIDATES)
def test_a_candidates_name_forces_it(world, name):
    response = world.server.chat(model=name)
    assert response.headers["x-lookahead-candidate"] == name
    assert response.headers["x-lookahead-reason"] == "forced"


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("gpt-9", 404, "model_not_found"), ("auto:2", 400, None), ("auto:x", 400, None), (5, 400, None), ([], 400, None)],
)
def test_a_model_that_is_none_is_told_so(world, model, status, code):
    response = world.server.chat(model=model)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert world.n_requests == 0


def test_the_models_are_the_candidates_and_ways_to_choose(world):
    listed = world.server.client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [each["id"] for each in listed["data"]] == ["auto", "auto:best", "auto:cheap", "auto:0.95", *CANDIDATES]
    assert world.server.client.get(f"/v1/models/{CHEAP}").json()["id"] == CHEAP
    assert world.server.client.get("/v1/models/none").status_code == 404


def test_a_stream_is_passed_on_byte_for_byte(world):
    body = {"model": CHEAP, "stream": True, "messages": [{"role": "user", "content": "one two three"}]}
    direct = world.server.client.post(f"{world.behind[CHEAP].url}/chat/completions", json=body)
    response = world.server.client.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-lookahead-candidate"] == CHEAP
    assert response.content == direct.content
    assert events(response)[-1] == "[DONE]"


def test_usage_of_a_stream_comes_where_it_is_asked_for(world):
    for options, is_there in (({}, False), ({"stream_options": {"include_usage": True}}, True)):
        response = world.server.chat("a b", stream=True, **options)
        assert any('"usage"' in event for event in events(response)) == is_there
        decision = world.decision(response.headers["x-lookahead-decision-id"])
        assert decision["usage_is_estimated"] == (not is_there)
        assert decision["output_tokens"] > 0


FAILURES = {
    "a rate limit": Reply(status=429, retry_after_seconds=1),
    "a server error": Reply(status=500),
    "a gateway's page": Reply(body="<html>bad gateway</html>"),
    "a cut body": Reply("hello", breaks_after=5),
    "an empty answer": Reply("", usage={"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}),
    "a wrong key": Reply(status=401),
    "an unknown model": Reply(status=404),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_where_a_candidate_fails_the_next_one_answers(world, failure):
    first = world.server.chat().headers["x-lookahead-candidate"]
    other = CHEAP if first == STRONG else STRONG
    world.reset()
    world.behind[first].script = lambda request: FAILURES[failure]
    response = world.server.chat()
    assert response.status_code == 200
    assert response.headers["x-lookahead-candidate"] == other
    assert world.n_requests == 2
    decision = world.decision(response.headers["x-lookahead-decision-id"])
    assert [each["candidate"] for each in decision["attempts"]] == [first, other]
    assert decision["attempts"][1]["error"] is None


STREAM_FAILURES = {
    "an error": Reply(status=503),
    "nothing but a role": Reply("", usage={}),
    "a cut before the first word": Reply("a b", breaks_after=0),
}


@pytest.mark.parametrize("failure", STREAM_FAILURES)
def test_a_stream_that_has_shown_nothing_is_begun_anew_by_the_next_candidate(world, failure):
    first = world.server.chat().headers["x-lookahead-candidate"]
    world.behind[first].script = lambda request: STREAM_FAILURES[failure]
    response = world.server.chat("x y", stream=True)
    assert response.headers["x-lookahead-candidate"] != first
    texts = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events(response)[:-1]]
    assert "".join(texts).endswith("x y")
    assert events(response)[-1] == "[DONE]"


def test_a_stream_that_is_cut_after_it_showed_something_ends_with_an_error_and_is_not_begun_anew(world):
    first = world.server.chat().headers["x-lookahead-candidate"]
    world.reset()
    world.behind[first].script = lambda request: Reply("one two three", breaks_after=2)
    response = world.server.chat(stream=True)
    assert response.headers["x-lookahead-candidate"] == first
    last = json.loads(events(response)[-1])
    assert last["error"]["code"] == "stream_interrupted"
    assert world.n_requests == 1
    assert world.decision(response.headers["x-lookahead-decision-id"])["interrupted"] == "connection lost"


def test_where_all_fail_the_client_learns_of_it_without_the_operators_quotas(world):
    for server in world.behind.values():
        server.script = lambda request: Reply(
            "your account org-123 is over its quota", status=429, retry_after_seconds=7
        )
    response = world.server.chat()
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    error = response.json()["error"]
    assert error["type"] == "rate_limit_error"
    assert "org-123" not in response.text
    assert STRONG in error["message"]
    assert CHEAP in error["message"]
    assert world.n_requests == 2


def test_a_request_that_is_wrong_is_not_asked_twice_and_the_candidates_words_come_back(world):
    for server in world.behind.values():
        server.script = lambda request: Reply("temperature must be at most 2", status=400)
    response = world.server.chat(temperature=5)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "temperature must be at most 2"
    assert world.n_requests == 1


def test_a_slow_candidate_is_given_up_for_the_next(world):
    first = world.server.chat().headers["x-lookahead-candidate"]
    world.behind[first].script = lambda request: Reply("late", delay_seconds=3)
    response = world.server.chat()
    assert response.headers["x-lookahead-candidate"] != first


def test_a_forced_candidate_has_no_fallback(world):
    world.behind[CHEAP].script = lambda request: Reply(status=500)
    response = world.server.chat(model=CHEAP)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "server_error"
    assert world.n_requests == 1


def test_a_tool_loop_stays_with_its_candidate(world):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    question = [{"role": "user", "content": "hi"}]
    begun = world.server.chat(model=CHEAP, messages=question, tools=tools)  # where the router would not go
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        *question,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "a wall"},
    ]
    response = world.server.chat(messages=messages, tools=tools)
    assert response.headers["x-lookahead-candidate"] == begun.headers["x-lookahead-candidate"] == CHEAP
    assert response.headers["x-lookahead-reason"] == "sticky"
    again = world.server.chat(messages=[*messages, {"role": "user", "content": "Prove Fermat's little theorem."}])
    assert again.headers["x-lookahead-reason"] == "routed"


def test_a_conversation_stays_where_it_was_under_its_name(make_world):
    world = make_world("--sticky", "thread")
    thread = {"x-lookahead-thread": "a"}
    assert world.server.chat(model=CHEAP, headers=thread).status_code == 200
    answers = [world.server.chat("Prove that primes never end.", model="auto:best", headers=thread) for _ in range(2)]
    assert {each.headers["x-lookahead-candidate"] for each in answers} == {CHEAP}
    assert {each.headers["x-lookahead-reason"] for each in answers} == {"sticky"}
    assert world.server.chat(headers={"x-lookahead-thread": "b"}).headers["x-lookahead-reason"] == "routed"


def test_a_conversation_without_a_name_stays_unless_another_candidate_is_better(make_world):
    world = make_world("--sticky", "adaptive")
    messages = [{"role": "user", "content": "Name three rivers in France."}]
    first = world.server.chat(model=CHEAP, messages=messages)
    messages += [{"role": "assistant", "content": "Seine, Loire, Rhône."}, {"role": "user", "content": "and in Spain?"}]
    second = world.server.chat(model="auto:best", messages=messages)
    assert first.headers["x-lookahead-candidate"] == second.headers["x-lookahead-candidate"] == CHEAP
    assert second.headers["x-lookahead-reason"] == "sticky"


def test_a_dry_run_asks_nobody_and_tells_where_each_share_of_quality_leads(world):
    text = "Prove that the square root of 2 is irrational."
    response = world.server.client.post(
        "/v1/route", json={"messages": [{"role": "user", "content": text}], "curve": True}
    )
    record = response.json()
    assert world.n_requests == 0
    assert record["candidate"] == response.headers["x-lookahead-candidate"]
    assert set(record["probabilities"]) == {STRONG, CHEAP}
    curve = record["curve"]
    assert (curve[0]["from"], curve[-1]["to"]) == (0.0, 1.0)
    for step in curve:
        share = (step["from"] + step["to"]) / 2
        assert world.server.chat(text, model=f"auto:{share}").headers["x-lookahead-candidate"] == step["candidate"]
    assert text not in json.dumps(record)


def test_other_ways_to_ask_are_routed_too(world):
    for body in ({"prompt": "hi"}, {"input": "hi"}, {"input": [{"role": "user", "content": "hi"}]}):
        assert world.server.client.post("/v1/route", json=body).status_code == 200
    assert world.server.client.post("/v1/route", json={}).status_code == 400


def test_paths_that_are_none_and_methods_that_do_not_fit_have_openais_errors(world):
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/", 405)):
        response = world.server.client.request(method, path)
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_the_server_says_how_it_is(world):
    assert world.server.client.get("/health").json() == {"status": "ok"}
    assert world.server.client.get("/ready").json() == {"status": "ready", "candidates": [STRONG, CHEAP]}
    before = world.server.metric("requests_total", endpoint="/v1/chat/completions", status="200")
    world.server.chat(model=CHEAP)
    assert world.server.metric("requests_total", endpoint="/v1/chat/completions", status="200") == before + 1
    assert world.server.metric("cost_usd_total") > 0
