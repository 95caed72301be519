"""What the server refuses, forgets and outlives, each against a process of its own kind."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import httpx
import pytest
from servers.openai_server import Reply
from servers.raw_server import Raw, RawServer
from servers.router_server import CANDIDATES, CHEAP, STRONG, ServerProcess, until, write_pool

from lookahead_router.server.keys import KeyFile, new_key

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
UPSTREAM_KEY = "sk-upstream-SECRET-0123456789"
PROMPT = "my SECRET diary says"


@pytest.fixture
def keyed(make_world, tmp_path):
    """A server that wants keys: of nobody's limits, of a rate, of a budget."""
    path = tmp_path / "keys.json"
    keys = {
        "free": new_key(path, "free"),
        "slow": new_key(path, "slow", requests_per_minute=2),
        "poor": new_key(path, "poor", budget_usd=0.004, period="total"),
    }
    decisions = tmp_path / "decisions.jsonl"
    world = make_world(
        "--keys",
        str(path),
        "--decisions",
        str(decisions),
        env={"UP": UPSTREAM_KEY},
        api_key_env="UP",
        input_price=1.0,
        output_price=1000.0,
    )
    world.keys = keys
    world.as_ = lambda name: {"authorization": f"Bearer {keys[name]}"}
    return world


def test_keys_rates_and_budgets_hold_and_no_key_or_prompt_is_written_down(keyed):
    server = keyed.server
    for headers in ({}, {"authorization": "Bearer lr-wrong"}, {"authorization": f"Basic {keyed.keys['free']}"}):
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics")):
            response = server.client.request(method, path, headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["type"] == "authentication_error"
    assert server.client.get("/health").status_code == 200
    assert server.chat(PROMPT, headers=keyed.as_("free")).status_code == 200
    assert keyed.behind[CHEAP].requests + keyed.behind[STRONG].requests
    assert {each["_authorization"] for s in keyed.behind.values() for each in s.requests} == {f"Bearer {UPSTREAM_KEY}"}

    statuses = [server.chat(PROMPT, headers=keyed.as_("slow")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    limited = server.chat(PROMPT, headers=keyed.as_("slow"))
    assert 1 <= int(limited.headers["retry-after"]) <= 30

    # Every answer has 5 words, and costs half a cent.
    told = server.chat("a b c d", headers=keyed.as_("poor"), model=CHEAP, max_tokens=2)
    assert told.status_code == 200
    refused = server.chat("a b c d", headers=keyed.as_("poor"), model=CHEAP, max_tokens=2)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert server.chat(PROMPT, headers=keyed.as_("free")).status_code == 200

    keyed.keys["late"] = new_key(keyed.folder / "keys.json", "late")
    assert server.client.get("/v1/models", headers=keyed.as_("late")).status_code == 401
    server.signal(signal.SIGHUP)
    until(lambda: server.client.get("/v1/models", headers=keyed.as_("late")).status_code == 200)

    bad = server.client.post("/v1/chat/completions", content=f'{{"a": "{PROMPT}', headers=keyed.as_("free"))
    assert bad.status_code == 400
    metrics = server.client.get("/metrics", headers=keyed.as_("free")).text
    assert server.end() in (0, -signal.SIGTERM)
    written = (
        server.log
        + metrics
        + "".join(path.read_text() for path in keyed.folder.iterdir() if path.suffix in (".json", ".jsonl"))
    )
    for secret in (UPSTREAM_KEY, "SECRET", *keyed.keys.values()):
        assert secret not in written
    spent = json.loads((keyed.folder / "keys.spent.json").read_text())
    assert spent["poor"]["total"] > 0.004
    again = ServerProcess(keyed.pool, "--keys", str(keyed.folder / "keys.json"), env={"UP": UPSTREAM_KEY})
    try:  # a restart forgets no debt
        assert again.chat(headers=keyed.as_("poor"), max_tokens=2).status_code == 429
    finally:
        again.end()


def test_keys_are_hashed_and_the_file_is_its_owners(tmp_path):
    path = tmp_path / "keys.json"
    key = new_key(path, "ann")
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o77 == 0
    assert [each.name for each in KeyFile.load(path).keys] == ["ann"]


def refusal(*options, pool, env=None):
    command = [sys.executable, "-m", "lookahead_router.cli.main", "serve", str(pool), "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)
    return done.returncode, done.stderr


def test_what_is_wrong_is_said_before_anything_listens(tmp_path):
    pool = write_pool(tmp_path, dict.fromkeys(CANDIDATES, "http://127.0.0.1:9/v1"))
    code, error = refusal("--host", "0.0.0.0", pool=pool)
    assert code == 2
    assert "need keys" in error
    assert "--new-key" in error
    keyless = write_pool(tmp_path, dict.fromkeys(CANDIDATES, "http://127.0.0.1:9/v1"), api_key_env="NOT_SET_HERE")
    code, error = refusal(pool=keyless)
    assert code == 2
    assert "NOT_SET_HERE is not set" in error


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path):
    pool = write_pool(tmp_path, dict.fromkeys(CANDIDATES, "http://127.0.0.1:9/v1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refusal("--port", str(port), pool=pool)
    assert code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in error
    assert "choose another --port" in error
    assert "Traceback" not in error


def test_pages_of_other_sites_and_other_names_of_this_machine_are_turned_away(world):
    body = {"model": CHEAP, "messages": [{"role": "user", "content": "x"}]}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"}):
        response = world.server.client.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers
    own = {"origin": world.server.url}
    assert world.server.client.post("/v1/chat/completions", json=body, headers=own).status_code == 200


def test_bodies_that_are_too_large_or_no_json_object_are_refused(world):
    def chunks():
        for _ in range(30):
            yield b" " * 1_000_000

    post = world.server.client.post
    assert post("/v1/chat/completions", content=b" " * 21_000_000).status_code == 413
    assert post("/v1/chat/completions", content=chunks()).status_code == 413
    deep = b'{"model":"auto","messages":[{"role":"user","content":"x"}],"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for body in (
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"\xff\xfe",
        deep,
        b'{"messages": 3}',
    ):
        response = post("/v1/chat/completions", content=body)
        assert response.status_code == 400, body[:50]
        assert response.json()["error"]["type"] == "invalid_request_error"
    assert post("/v1/chat/completions", content=b"{}", headers={"content-encoding": "gzip"}).status_code == 415
    assert world.n_requests == 0


def test_requests_wait_for_their_turn_and_beyond_the_queue_are_told_to_come_again(make_world):
    world = make_world("--max-concurrency", "2", "--max-queue", "1")
    hold = threading.Event()
    for server in world.behind.values():
        server.script = lambda request: (hold.wait(20), Reply("late"))[1]
    with ThreadPoolExecutor(8) as threads:
        first = [threads.submit(world.server.chat, f"{n}") for n in range(2)]
        until(lambda: world.n_requests == 2)
        third = threads.submit(world.server.chat)
        until(lambda: world.server.metric("requests_waiting") == 1)
        assert world.n_requests == 2
        fourth = world.server.chat()
        assert fourth.status_code == 429
        assert fourth.headers["retry-after"] == "1"
        assert fourth.json()["error"]["code"] == "server_busy"
        hold.set()
        assert [each.result().status_code for each in (*first, third)] == [200, 200, 200]
    assert world.server.client.get("/health").status_code == 200


def address(world):
    return "127.0.0.1", int(world.server.url.rpartition(":")[2])


def request_bytes(**fields):
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "x"}], **fields}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_a_client_that_goes_away_takes_its_call_of_the_candidate_with_it(world, tmp_path):
    def endless(path, body):
        def chunks():
            while True:
                time.sleep(0.02)
                yield b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'

        return Raw(chunks(), content_type="text/event-stream")

    with RawServer(endless) as behind:
        pool = write_pool(tmp_path, dict.fromkeys(CANDIDATES, behind.url), timeout=30)
        server = ServerProcess(pool)
        try:
            for stream in (True, False):
                gone = behind.n_gone
                if not stream:
                    behind.script = lambda path, body: Raw(_slowly(), content_type="application/json")
                with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
                    connection.sendall(request_bytes(stream=stream))
                    until(lambda: behind.n_sent > 0)
                until(lambda gone=gone: behind.n_gone == gone + 1)
                behind.n_sent = 0
            until(lambda: server.metric("requests_total", status="499") + server.metric("requests_at_work") >= 1)
            until(lambda: server.metric("requests_at_work") == 0)
        finally:
            server.end()
        assert "ERROR" not in server.log


def _slowly():
    while True:
        time.sleep(0.02)
        yield b" "


def test_a_slow_reader_slows_the_candidate_down_and_not_the_servers_memory(tmp_path):
    event = b'data: {"choices": [{"delta": {"content": "' + b"x" * 100_000 + b'"}}]}\n\n'

    def plenty(path, body):
        return Raw((event for _ in range(1000)), content_type="text/event-stream")  # 100 MB

    with RawServer(plenty) as behind:
        server = ServerProcess(write_pool(tmp_path, dict.fromkeys(CANDIDATES, behind.url)))
        try:
            with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
                connection.sendall(request_bytes(stream=True))
                connection.recv(1000)
                until(lambda: behind.n_sent > 0)
                before = -1
                while before != behind.n_sent:
                    before = behind.n_sent
                    time.sleep(0.3)
                assert behind.n_sent < 30_000_000
        finally:
            server.end()


def test_heads_and_bodies_that_never_end_are_cut_off(make_world):
    world = make_world("--header-seconds", "1")

    def flood(connection):
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        end = time.monotonic() + 20  # buffers on the way take some of it
        while time.monotonic() < end:
            connection.sendall(b"x: " + b"y" * 10_000 + b"\r\n")

    with socket.create_connection(address(world)) as connection, pytest.raises(ConnectionError):
        flood(connection)
    with socket.create_connection(address(world)) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        slow.settimeout(15)
        started = time.monotonic()
        assert slow.recv(100) == b""
        assert 0.5 < time.monotonic() - started < 10
    assert world.server.chat().status_code == 200


def test_the_server_ends_when_what_is_under_way_is_answered(make_world):
    world = make_world()
    release = threading.Event()
    for server in world.behind.values():
        server.script = lambda request: (release.wait(20), Reply("one two three"))[1]
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(world.server.chat, stream=stream) for stream in (True, False)]
        until(lambda: world.n_requests == 2)
        world.server.signal(signal.SIGTERM)
        world.server.wait_for("Shutting down")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{world.server.url}/health", trust_env=False)
        release.set()
        whole = [each.result() for each in calls]
    assert [each.status_code for each in whole] == [200, 200]
    assert whole[0].text.endswith("data: [DONE]\n\n")
    assert world.server.process.wait(20) in (0, -signal.SIGTERM)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
def test_the_pool_is_read_anew_without_losing_a_request_and_a_wrong_one_changes_nothing(make_world):
    world = make_world()
    models = lambda: [each["id"] for each in world.server.client.get("/v1/models").json()["data"]]  # noqa: E731
    good = json.loads(world.pool.read_text())
    statuses: list[int] = []
    stop = threading.Event()

    def keep_asking():
        while not stop.is_set():
            statuses.append(world.server.chat(stream=len(statuses) % 2 == 0).status_code)

    with ThreadPoolExecutor(3) as threads:
        for _ in range(3):
            threads.submit(keep_asking)
        added = {**good["candidates"][0], "name": "mistral-7b-instruct-v0.3"}
        world.pool.write_text(json.dumps({"candidates": [*good["candidates"], added]}))
        world.server.signal(signal.SIGHUP)
        until(lambda: added["name"] in models())
        world.pool.write_text('{"candidates": [{"nam')
        world.server.signal(signal.SIGHUP)
        world.server.wait_for("the former one stays")
        assert added["name"] in models()
        world.pool.write_text(json.dumps(good))
        world.server.signal(signal.SIGHUP)
        until(lambda: added["name"] not in models())
        until(lambda: len(statuses) > 20)
        stop.set()
    assert set(statuses) == {200}
    assert world.server.metric("reloads_total", result="done") == 2
    assert world.server.metric("reloads_total", result="failed") == 1


def test_prompts_are_logged_only_where_the_operator_says_so_aloud(make_world, tmp_path):
    world = make_world("--decisions", str(tmp_path / "decisions.jsonl"), "--log-prompts")
    response = world.server.chat(PROMPT)
    assert world.decision(response.headers["x-lookahead-decision-id"])["prompt"] == PROMPT
    world.server.end()
    assert "PROMPTS ARE LOGGED" in world.server.log
    assert not re.search("SECRET", world.server.log)


HOSTILE = "a\x1b[2J\u202e<script>\x07\n%"


def test_names_do_nothing_to_logs_headers_and_the_terminal(tmp_path):
    with RawServer(lambda path, body: Raw([b'{"choices": [{"message": {"content": "x"}}]}'])) as behind:
        server = ServerProcess(write_pool(tmp_path, {HOSTILE: behind.url, CHEAP: behind.url}))
        try:
            answer = server.chat(model=HOSTILE)
            assert answer.status_code == 200
            assert unquote(answer.headers["x-lookahead-candidate"]) == HOSTILE
            assert server.chat(model=f"{HOSTILE}{HOSTILE}").status_code == 404
        finally:
            server.end()
    assert "script" in server.log
    assert all(character.isprintable() or character == "\n" for character in server.log)


def test_an_answer_is_gone_on_from_by_the_key_that_got_it_alone(tmp_path):
    keys = {name: new_key(tmp_path / "keys.json", name) for name in ("ann", "bob")}
    answer = json.dumps({"id": "resp_1", "object": "response", "output": [{"type": "message"}]}).encode()
    with RawServer(lambda path, body: Raw([answer])) as behind:
        pool = write_pool(tmp_path, dict.fromkeys(CANDIDATES, behind.url), capabilities=["responses"])
        server = ServerProcess(pool, "--keys", str(tmp_path / "keys.json"))
        try:
            statuses = [
                server.client.post(
                    "/v1/responses", json={"input": "hi", **more}, headers={"authorization": f"Bearer {keys[name]}"}
                ).status_code
                for name, more in (
                    ("ann", {}),
                    ("bob", {"previous_response_id": "resp_1"}),
                    ("ann", {"previous_response_id": "resp_1"}),
                )
            ]
        finally:
            server.end()
    assert statuses == [200, 404, 200]
