import asyncio
import errno
import json
import os
import random
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler

import pytest
from servers.openai_server import Reply, repeat_last_message, text_of

from lookahead_router.errors import ConfigurationError, DataError, FileError, LookaheadRouterWarning
from lookahead_router.live import Answer, PoolConfig, acollect, collect, expected_calls, read_answers
from lookahead_router.live.journal import read_records

PROMPTS = [f"Question {n}?" for n in range(6)]


def pool_of(*candidates):
    return PoolConfig(candidates=candidates)


def billed(server):
    """Dollars of all whole answers that the server sent, by the prices of `endpoint`."""
    return sum(r["_usage"]["prompt_tokens"] + 2 * r["_usage"]["completion_tokens"] for r in server.answered) / 1e6


def asked(server, model):
    return [text_of(r["messages"][-1]) for r in server.requests if r["model"] == model]


def test_every_candidate_answers_every_prompt_and_the_file_holds_it(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    collected = collect(PROMPTS, pool_of(endpoint("a"), endpoint("b")), output=output)
    assert [(a.prompt, a.candidate) for a in collected.answers] == [(p, c) for p in PROMPTS for c in "ab"]
    assert all(a.response == f"{a.candidate}: {a.prompt}" for a in collected.answers)
    assert {(a.input_tokens, a.output_tokens, a.finish_reason) for a in collected.answers} == {(2, 3, "stop")}
    assert all(a.cost_usd == pytest.approx(8e-6) and a.latency_seconds > 0 for a in collected.answers)
    key = lambda answer: (answer.prompt, answer.candidate)  # noqa: E731
    assert sorted(read_answers(output), key=key) == sorted(collected.answers, key=key)
    assert collected.is_complete
    assert collected.spent.usd == pytest.approx(billed(server))


def test_what_is_there_is_not_asked_again_and_what_is_new_is(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    collect(PROMPTS[:4], pool_of(endpoint("a")), output=output)
    collected = collect(PROMPTS, pool_of(endpoint("a"), endpoint("b")), output=output)
    assert sorted(asked(server, "a")) == PROMPTS
    assert (collected.n_new, len(collected.answers)) == (8, 12)


def test_a_prompt_that_stands_there_a_thousand_times_is_asked_once(server, endpoint):
    collected = collect(["Why?"] * 1000, pool_of(endpoint("a")))
    assert (len(server.requests), collected.n_prompts, collected.n_repeats) == (1, 1, 999)


def test_a_repeat_with_another_reference_is_told(endpoint):
    rows = [{"prompt": "x", "reference": 1}, {"prompt": "x", "reference": 2}]
    with pytest.warns(LookaheadRouterWarning, match="1 prompts stand there again with another reference"):
        collected = collect(rows, pool_of(endpoint("a")))
    assert collected.answers[0].reference == 1


def test_passages_stand_before_what_is_asked_and_are_kept(server, endpoint):
    rows = [{"prompt": "Who built it?", "context": ["Ada Storm did.", "In 1902."]}]
    parts = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "And when?"}]}],
        "context": ["In 1902."],
    }
    collected = collect([*rows, parts], pool_of(endpoint("a")))
    sent = {text_of(request["messages"][-1]) for request in server.requests}
    assert "Passages that may help:\n\n[1] Ada Storm did.\n\n[2] In 1902.\n\nWho built it?" in sent
    assert [answer.context for answer in collected.answers] == [("Ada Storm did.", "In 1902."), ("In 1902.",)]
    assert [answer.prompt for answer in collected.answers] == ["Who built it?", "And when?"]


def test_conversations_and_system_prompts_are_sent_as_they_are(server, endpoint):
    chat = [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two"},
    ]
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "Three"}]
    collected = collect([chat, own, "Four"], pool_of(endpoint("a", system_prompt="Be brief.", model="m")))
    by_last = {text_of(r["messages"][-1]): r for r in server.requests}
    brief = {"role": "system", "content": "Be brief."}
    assert by_last["Two"]["messages"] == [brief, *chat]
    assert by_last["Three"]["messages"] == own
    assert by_last["Four"]["messages"] == [brief, {"role": "user", "content": "Four"}]
    assert {r["model"] for r in server.requests} == {"m"}
    assert [a.prompt for a in collected.answers] == ["One\n\n1\n\nTwo", "Three", "Four"]


def test_parameters_reach_the_endpoint_with_a_limit_on_the_answer(server, endpoint):
    parameters = {"temperature": 0, "extra_body": {"top_k": 1}}
    collect(["x"], pool_of(endpoint("a", parameters=parameters)))
    (request,) = server.requests
    assert (request["temperature"], request["top_k"], request["max_tokens"]) == (0, 1, 2048)
    assert "extra_body" not in request


def test_a_limit_of_calls_at_one_time_holds_for_each_candidate(server, endpoint):
    server.script = lambda request: Reply("x", delay_seconds=0.03)
    collect([f"{n}" for n in range(12)], pool_of(endpoint("a", max_concurrency=2), endpoint("b", max_concurrency=1)))
    assert server.most_active == 3


def test_retry_after_is_honoured_and_holds_the_candidate_and_no_other(server, endpoint):
    times = []

    def script(request):
        times.append((request["model"], time.monotonic()))
        is_first = sum(model == "a" for model, _ in times) == 1 and request["model"] == "a"
        return Reply(status=429, retry_after_seconds=0.5) if is_first else repeat_last_message(request)

    server.script = script
    collected = collect(PROMPTS, pool_of(endpoint("a", max_concurrency=1), endpoint("b", max_concurrency=1)))
    of_a = [at for model, at in times if model == "a"]
    assert 0.5 <= of_a[1] - of_a[0] < 2
    assert [at for model, at in times if model == "b"][-1] < of_a[1]
    assert collected.is_complete
    assert len(of_a) == len(PROMPTS) + 1


@pytest.mark.parametrize("status", [429, 500, 503, 529, 408])
def test_failures_of_the_moment_are_tried_again(server, endpoint, status):
    failures = iter([Reply(status=status)] * 3)
    server.script = lambda request: next(failures, None) or repeat_last_message(request)
    collected = collect(["x"], pool_of(endpoint("a")), budget_usd=1)
    assert (collected.is_complete, collected.spent.n_calls) == (True, 4)
    assert collected.spent.usd == collected.answers[0].cost_usd  # what was refused was not paid


@pytest.mark.parametrize(
    "broken", [Reply("x", breaks_after=20), Reply(body="<html>Bad gateway</html>"), Reply(body='{"choices": ['),
               Reply(body="{}"), Reply(body='{"choices": []}'), Reply("x", delay_seconds=1.0)]
)  # fmt: skip
def test_answers_that_break_off_are_tried_again_and_counted_as_paid(server, endpoint, broken):
    failures = iter([broken])
    server.script = lambda request: next(failures, None) or repeat_last_message(request)
    collected = collect(["x"], pool_of(endpoint("a", timeout=0.4)), budget_usd=1)
    assert (collected.is_complete, collected.spent.n_calls) == (True, 2)
    most = (1 + 128 + 8 + 2 * 2048) / 1e6
    assert collected.spent.uncertain_usd == pytest.approx(most, rel=0.1)
    assert collected.spent.usd == pytest.approx(collected.answers[0].cost_usd + collected.spent.uncertain_usd)


def test_an_error_in_a_body_of_status_200_is_read(server, endpoint):
    body = json.dumps({"error": {"message": "secret", "code": 401}})
    server.script = lambda request: Reply(body=body) if request["model"] == "a" else repeat_last_message(request)
    collected = collect(PROMPTS, pool_of(endpoint("a"), endpoint("b")))
    assert "refuses its key" in collected.candidates[0].aside


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=401), "refuses its key; name one in api_key_env"),
        (Reply(status=404), "has no model 'a'"),
        (Reply(status=400), "refuses its requests; check its parameters"),
        (Reply(status=500), "server error"),
        (Reply(status=429, retry_after_seconds=4000), "rate limit; it asks to wait for 4000 seconds"),
        (Reply(body="<html>"), "sends something else than answers"),
        (Reply(""), "it answers with nothing"),
        (Reply("", finish_reason="length"), "raise max_tokens"),
    ],
)
def test_a_candidate_that_keeps_failing_is_set_aside_and_named_and_the_others_go_on(server, endpoint, reply, reason):
    server.script = lambda request: reply if request["model"] == "a" else repeat_last_message(request)
    prompts = [f"Question {n}?" for n in range(40)]
    collected = collect(prompts, pool_of(endpoint("a", max_concurrency=2), endpoint("b")))
    bad, good = collected.candidates
    assert reason in bad.aside
    assert len(asked(server, "a")) <= 25
    assert (good.n_answers, good.aside) == (40, None)
    assert bad.n_answers == 0
    assert not collected.is_complete


def test_nobody_waits_for_a_candidate_that_is_set_aside(server, endpoint):
    def script(request):
        is_first = text_of(request["messages"][-1]) == PROMPTS[0]
        return Reply(status=429, retry_after_seconds=60) if is_first else Reply(status=401, delay_seconds=0.3)

    server.script = script
    start = time.monotonic()
    collected = collect(PROMPTS, pool_of(endpoint("a", max_concurrency=3)))
    assert "refuses its key" in collected.candidates[0].aside
    assert time.monotonic() - start < 10


def test_calls_that_may_have_been_paid_are_tried_less_often(server, endpoint):
    server.script = lambda request: Reply("x", breaks_after=20)
    free = endpoint("nobody-knows-this", max_concurrency=1) | {"input_price": None, "output_price": None}
    collect(["x"], pool_of(free))
    collect(["x"], pool_of(endpoint("a")))
    assert len(server.requests) == 3 + 3


def test_an_endpoint_that_is_not_there_is_set_aside(server, endpoint):
    collected = collect(PROMPTS, pool_of(endpoint("a") | {"base_url": "http://127.0.0.1:9/v1"}, endpoint("b")))
    assert "cannot be reached" in collected.candidates[0].aside
    assert collected.spent.uncertain_usd == 0
    assert collected.candidates[1].n_answers == len(PROMPTS)


def test_what_a_candidate_cannot_answer_is_an_answer_with_an_error_and_not_asked_again(server, endpoint, tmp_path):
    replies = {
        "filtered": Reply("blocked by the content filter", status=400),
        "long": Reply("maximum context length exceeded", status=400),
        "stopped": Reply("", finish_reason="content_filter"),
        "empty": Reply(""),
    }
    server.script = lambda request: replies.get(text_of(request["messages"][-1])) or repeat_last_message(request)
    prompts = [*replies, *PROMPTS]
    for _ in range(2):
        collected = collect(prompts, pool_of(endpoint("a")), output=tmp_path / "answers.jsonl")
    errors = {a.prompt: a.error for a in collected.answers if a.error}
    assert errors == {
        "filtered": "content filter", "long": "context overflow", "stopped": "content filter", "empty": "no answer",
    }  # fmt: skip
    assert all(a.response is None for a in collected.answers if a.error)
    assert len(server.requests) == len(prompts)
    assert (collected.candidates[0].n_errors, collected.is_complete) == (4, True)


def test_an_answer_with_half_a_character_is_kept(server, endpoint, tmp_path):
    server.script = lambda request: Reply("x\ud800y")
    (answer,) = collect(["x"], pool_of(endpoint("a")), output=tmp_path / "answers.jsonl").answers
    assert [answer.response] == [a.response for a in read_answers(tmp_path / "answers.jsonl")] == ["x\ufffdy"]


def test_a_refusal_is_an_answer(server, endpoint):
    server.script = lambda request: Reply("", refusal="I cannot help with that.")
    (answer,) = collect(["x"], pool_of(endpoint("a"))).answers
    assert (answer.response, answer.finish_reason, answer.error) == ("I cannot help with that.", "refusal", None)


def test_tokens_that_an_endpoint_does_not_count_are_estimated_and_marked(server, endpoint):
    server.script = lambda request: Reply("An answer of some words.", usage={})
    (answer,) = collect(["What is it?"], pool_of(endpoint("a"))).answers
    assert answer.tokens_estimated
    assert answer.input_tokens >= 4
    assert answer.output_tokens >= 6
    assert answer.cost_usd == pytest.approx((answer.input_tokens + 2 * answer.output_tokens) / 1e6)


@pytest.mark.parametrize("seed", range(4))
def test_a_budget_in_dollars_is_never_exceeded_and_used_as_far_as_it_goes(server, endpoint, seed, tmp_path):
    rng = random.Random(seed)

    def script(request):
        lot = zlib.crc32(f"{seed}{text_of(request['messages'][-1])}{request['model']}".encode()) % 7
        if lot == 0 and rng.random() < 0.7:
            return Reply(status=500)
        return Reply("word " * (1 + lot * 20), delay_seconds=0.002 * lot)

    server.script = script
    candidates = [endpoint(name, parameters={"max_tokens": 150}, max_concurrency=4) for name in "ab"]
    budget = 0.004
    prompts = [f"Question {n}?" for n in range(80)]
    output = tmp_path / "answers.jsonl"
    for _ in range(2):  # the second run has what the first one left
        collected = collect(prompts, pool_of(*candidates), output=output, budget_usd=budget)
        assert billed(server) <= budget
        assert collected.spent.usd == pytest.approx(billed(server))
        assert collected.n_short > 0
    most_of_one = (12 + 128 + 8 + 2 * 150) / 1e6
    assert budget - collected.spent.usd < most_of_one


def test_an_endpoint_that_does_not_keep_the_limit_of_an_answer_is_asked_once_where_there_is_a_budget(server, endpoint):
    server.script = lambda request: Reply("x", usage={"prompt_tokens": 2, "completion_tokens": 10_000})
    pool = pool_of(endpoint("a", max_concurrency=1))
    collected = collect(PROMPTS, pool, budget_usd=1)
    assert "counts more tokens than its parameters allow" in collected.candidates[0].aside
    assert len(server.requests) <= 2  # the next one was under way
    assert collect(PROMPTS, pool).is_complete


def test_a_budget_in_calls_counts_every_try_of_every_run(server, endpoint, tmp_path):
    failures = iter([Reply(status=500)] * 2)
    server.script = lambda request: next(failures, None) or repeat_last_message(request)
    output = tmp_path / "answers.jsonl"
    collect(PROMPTS, pool_of(endpoint("a")), output=output, budget_calls=4)
    assert len(server.requests) == 4
    collected = collect(PROMPTS, pool_of(endpoint("a")), output=output, budget_calls=6)
    assert len(server.requests) == 6
    assert (len(collected.answers), collected.n_short) == (4, 2)


@pytest.mark.parametrize("budget", [{"budget_usd": -1}, {"budget_usd": float("nan")}, {"budget_calls": 1.5}])
def test_a_budget_out_of_range_is_refused(server, endpoint, budget):
    with pytest.raises(ConfigurationError, match="a budget in"):
        collect(PROMPTS, pool_of(endpoint("a")), **budget)
    assert server.requests == []


def test_a_budget_in_dollars_needs_prices(server, endpoint):
    free = endpoint("nobody-knows-this") | {"input_price": None, "output_price": None}
    with pytest.raises(ConfigurationError, match="nobody-knows-this has none; set input_price"):
        collect(PROMPTS, pool_of(free), budget_usd=1)
    collected = collect(PROMPTS[:1], pool_of(free))
    assert (collected.answers[0].cost_usd, collected.candidates[0].cost_usd) == (None, None)


def test_a_key_that_is_not_there_is_an_error_before_anything_is_asked(server, endpoint, monkeypatch, tmp_path):
    monkeypatch.delenv("A_KEY_OF_NOBODY", raising=False)
    pool = pool_of(endpoint("b"), endpoint("a", api_key_env="A_KEY_OF_NOBODY"))
    with pytest.raises(ConfigurationError, match="a: the environment variable A_KEY_OF_NOBODY is not set"):
        collect(PROMPTS, pool, output=tmp_path / "answers.jsonl")
    assert server.requests == []


def test_a_key_goes_to_its_endpoint_and_into_no_file_and_a_wrong_one_is_named_by_its_variable(
    server, endpoint, monkeypatch, tmp_path
):
    monkeypatch.setenv("A_KEY", "secret-key-1")
    server.script = lambda request: Reply("secret-key-1 is wrong", status=401)
    output = tmp_path / "answers.jsonl"
    collected = collect(PROMPTS, pool_of(endpoint("a", api_key_env="A_KEY")), output=output)
    assert {r["_authorization"] for r in server.requests} == {"Bearer secret-key-1"}
    assert collected.candidates[0].aside == f"{server.url} refuses its key, the value of A_KEY"
    assert not any(b"secret-key" in path.read_bytes() for path in tmp_path.iterdir())


def test_an_endpoint_gets_neither_openais_key_nor_what_the_environment_says_of_the_user(endpoint, monkeypatch, server):
    seen = []
    real = BaseHTTPRequestHandler.parse_request

    def parse(handler):
        done = real(handler)
        seen.append({name.lower() for name in handler.headers})
        return done

    monkeypatch.setattr(BaseHTTPRequestHandler, "parse_request", parse)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "private")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: private")
    collect(["x"], pool_of(endpoint("a")))
    assert seen
    known = {"host", "accept", "accept-encoding", "connection", "content-length", "content-type", "user-agent"}
    assert seen[0] <= known | {"idempotency-key"}


def test_redacted_prompts_are_what_is_asked_and_what_is_written(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    rows = [{"prompt": "I am Ann.", "reference": "Ann"}]
    collect(rows, pool_of(endpoint("a")), output=output, redact=lambda text: text.replace("Ann", "[name]"))
    assert asked(server, "a") == ["I am [name]."]
    assert not any(b"Ann" in path.read_bytes() for path in tmp_path.iterdir())


def test_a_candidate_with_other_settings_does_not_add_to_the_same_file(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    collect(PROMPTS[:1], pool_of(endpoint("a"), endpoint("b")), output=output)
    changed = endpoint("a", parameters={"temperature": 1})
    with pytest.raises(ConfigurationError, match=r"answers of a with another model, .*choose another output"):
        collect(PROMPTS, pool_of(changed, endpoint("b")), output=output)
    assert len(server.requests) == 2
    cheaper = endpoint("a") | {"input_price": 0, "output_price": 0, "max_concurrency": 1}
    assert collect(PROMPTS, pool_of(cheaper), output=output).is_complete


def test_an_output_that_is_something_else_is_refused_and_left(server, endpoint, tmp_path):
    for content in ("my notes\n", "my notes", '{"note": "mine"}\n', '{"note": "mine"}', '{"prompt": "x"}'):
        (tmp_path / "notes.txt").write_text(content)
        with pytest.raises(DataError):
            collect(PROMPTS, pool_of(endpoint("a")), output=tmp_path / "notes.txt")
        assert (tmp_path / "notes.txt").read_text() == content
    assert server.requests == []


def test_the_prompts_are_not_written_over(server, endpoint, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "x"}\n')
    with pytest.raises(ConfigurationError, match="holds the prompts"):
        collect(path, pool_of(endpoint("a")), output=path)
    assert path.read_text() == '{"prompt": "x"}\n'


def test_two_runs_on_one_output_are_refused(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    started = threading.Event()

    def script(request):
        started.set()
        return Reply("x", delay_seconds=0.3)

    server.script = script
    first = threading.Thread(target=collect, args=(["x"], pool_of(endpoint("a"))), kwargs={"output": output})
    first.start()
    started.wait()
    with pytest.raises(ConfigurationError, match="another run is writing"):
        collect(["x"], pool_of(endpoint("a")), output=output)
    first.join()
    assert len(server.requests) == 1


def test_on_a_full_disk_nothing_more_is_asked_and_nothing_paid_is_lost(server, endpoint, tmp_path, monkeypatch):
    output = tmp_path / "answers.jsonl"
    server.script = lambda request: Reply("x", delay_seconds=0.01)
    real, room = os.write, tmp_path / ".answers.jsonl.room"
    written = 0

    def write(file, data):
        nonlocal written
        written += len(data)
        if written > 4000 and room.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        if written > 4000 and b'"most_usd"' in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    pool = pool_of(endpoint("a", max_concurrency=3))
    prompts = [f"Question {n}?" for n in range(60)]
    with pytest.raises(FileError, match="No space left on device"):
        collect(prompts, pool, output=output)
    assert len(server.requests) == len(read_answers(output)) > 5
    monkeypatch.undo()
    collect(prompts, pool, output=output)
    assert sorted(asked(server, "a")) == sorted(prompts)


def test_it_runs_within_an_event_loop_and_as_a_coroutine(server, endpoint):
    async def notebook():
        there = collect(["x"], pool_of(endpoint("a")))
        return there, await acollect(["y"], pool_of(endpoint("a")))

    first, second = asyncio.run(notebook())
    assert [first.answers[0].response, second.answers[0].response] == ["a: x", "a: y"]


def test_cancelled_it_lets_the_calls_under_way_end_and_begins_none(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    server.script = lambda request: Reply("x", delay_seconds=0.3)

    async def interrupted():
        work = asyncio.create_task(acollect(PROMPTS, pool_of(endpoint("a", max_concurrency=2)), output=output))
        while server.n_active < 2:
            await asyncio.sleep(0.01)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(interrupted())
    assert len(server.requests) == len(read_answers(output)) == 2


def test_progress_tells_answers_dollars_and_the_time_that_is_left(server, endpoint):
    server.script = lambda request: Reply("x", delay_seconds=0.01)
    told = []
    collected = collect(PROMPTS, pool_of(endpoint("a", max_concurrency=1)), on_progress=told.append)
    assert [p.n_done for p in told[:6]] == [1, 2, 3, 4, 5, 6]
    assert {p.n_all for p in told} == {6}
    assert told[-1].usd == pytest.approx(collected.spent.usd)
    assert told[2].seconds_left > told[4].seconds_left >= 0


def test_a_dry_run_says_calls_and_dollars_and_asks_nothing(server, endpoint, tmp_path, monkeypatch):
    output = tmp_path / "answers.jsonl"
    pool = pool_of(endpoint("a"), endpoint("b", api_key_env="NOBODY_HAS_THIS", parameters={"max_tokens": 10}))
    collect(PROMPTS[:2], pool_of(endpoint("a")), output=output)
    expected = expected_calls([*PROMPTS, PROMPTS[0]], pool, output=output)
    assert (expected.calls, expected.n_prompts, expected.n_repeats, expected.n_there) == ({"a": 4, "b": 6}, 6, 1, 2)
    assert 0 < expected.usd["b"] < expected.usd["a"] < expected.most_usd["a"]
    assert expected.usd["b"] <= (6 * 10 * 2 + 6 * 20) / 1e6
    assert len(server.requests) == 2


def test_an_answer_file_that_somebody_else_wrote_is_gone_on_with(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    record = Answer("", PROMPTS[0], "a", "Mine.").to_dict() | {"prompt_id": None}
    output.write_text(json.dumps(record))
    collected = collect(PROMPTS, pool_of(endpoint("a")), output=output)
    assert collected.answers[0].response == "Mine."
    assert PROMPTS[0] not in asked(server, "a")
    assert len(read_records(output)) == len(PROMPTS)


def test_a_crash_may_have_paid_for_what_was_under_way_so_that_it_counts(server, endpoint, tmp_path):
    output = tmp_path / "answers.jsonl"
    pool = pool_of(endpoint("a"))
    collect(PROMPTS[:1], pool, output=output)
    log = output.with_name("answers.jsonl.calls")
    begun = next(record for record in read_records(log) if "most_usd" in record)
    with log.open("a") as lines:
        lines.write(json.dumps({**begun, "task": "f" * 16}) + "\n")
    collected = collect(PROMPTS[:2], pool, output=output)
    assert (collected.spent.n_calls, collected.spent.n_unfinished) == (3, 1)
    assert collected.spent.uncertain_usd == pytest.approx(begun["most_usd"])
    assert collected.spent.usd == pytest.approx(billed(server) + begun["most_usd"])
