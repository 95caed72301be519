"""The server on a Ray cluster of two nodes, which lose processes while requests are under way."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from socket import socket

import httpx
import pytest
from servers.openai_server import OpenAIServer, Reply, repeat_last_message
from servers.router_server import CANDIDATES, CHEAP, sum_of, until, write_pool

from lookahead_router import KeepQuality, Router
from lookahead_router.server.keys import new_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
TEXTS = (
    "hi",
    "Prove that there are infinitely many primes.",
    "Design a distributed rate limiter in Go.",
    "Name 3 rivers.",
)

CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster
import ray
from ray import serve
from lookahead_router.server.ray import Options, app

port, options = int(sys.argv[1]), json.loads(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
serve.run(app(Options(**options)), route_prefix="/")
print("up", flush=True)
for line in sys.stdin:
    if line == "kill node\\n":
        cluster.remove_node(other, allow_graceful=False)
    elif line == "deploy\\n":
        serve.run(app(Options(**options, reading=1)), route_prefix="/")
    print("done", flush=True)
"""


class Served:
    """The application on two nodes, each of one core and so of one replica."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.behind = {name: stack.enter_context(OpenAIServer()) for name in CANDIDATES}
        self.pool = write_pool(
            folder, {name: server.url for name, server in self.behind.items()}, input_price=1.0, output_price=1000.0
        )
        self.key_file = folder / "keys.json"
        limits = {"free": {}, "slow": {"requests_per_minute": 3}, "poor": {"budget_usd": 0.004, "period": "total"}}
        self.keys = {name: new_key(self.key_file, name, **limit) for name, limit in limits.items()}
        with closing(socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {"pool": str(self.pool), "keys": str(self.key_file), "min_replicas": 2, "max_replicas": 2}
        self._mark = f"LOOKAHEAD_TEST={uuid.uuid4()}"
        name, _, mark = self._mark.partition("=")
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(port), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stack.enter_context((folder / "ray.log").open("w")),
            text=True,
            env={
                **os.environ,
                name: mark,
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "lookahead_router.server.again:middlewares",
            },
        )
        stack.callback(self._end)
        self._wait_for("up", (folder / "ray.log"))
        self.url = f"http://127.0.0.1:{port}"
        self.client = stack.enter_context(httpx.Client(base_url=self.url, timeout=60, trust_env=False))

    def post(self, path: str, body: dict, key: str = "free") -> httpx.Response:
        return self.client.post(path, json=body, headers={"authorization": f"Bearer {self.keys[key]}"})

    def chat(self, text: str = "hello", key: str = "free", **fields) -> httpx.Response:
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
        return self.post("/v1/chat/completions", body, key)

    def tell(self, command: str) -> None:
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._wait_for("done")

    def processes(self, title: str) -> list[int]:
        """Ids of this cluster's processes of that title."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_ours = self._mark.encode() in (folder / "environ").read_bytes()
                if is_ours and title.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def _wait_for(self, word: str, log: Path | None = None) -> None:
        for line in self._process.stdout:  # Ray speaks too
            if line.strip() == word:
                return
        raise AssertionError(log.read_text()[-4000:] if log else f"no {word}")

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()
        for title in ("raylet", "gcs_server", "ray"):
            for process in self.processes(title):
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    if not Path("/proc/self/environ").exists():
        pytest.skip("processes are found in /proc")
    with ExitStack() as stack:
        yield Served(stack, tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def router():
    return Router.from_pretrained(candidates=CANDIDATES, prices=dict.fromkeys(CANDIDATES, (1.0, 1000.0)))


def replicas_of(served):
    return served.processes("ray::ServeReplica:default:Router")


def test_replicas_decide_as_one_process_does_bit_for_bit(served, router):
    assert len(replicas_of(served)) == 2
    for text in TEXTS:
        for model, policy in (("auto:best", None), ("auto:0.95", KeepQuality(0.95))):
            expected = (router if policy is None else router.with_policy(policy)).route(text)
            for _ in range(4):
                told = served.post("/v1/route", {"model": model, "prompt": text}).json()
                assert told["candidate"] == expected.name
                assert told["probabilities"] == expected.probabilities
                assert told["expected_usd"] == expected.expected_usd


def test_what_one_replica_is_told_all_know(served, router):
    learnt = router
    for score in (0.0, 1.0, 0.0):
        answer = served.chat(TEXTS[3], model=CHEAP)
        body = {"decision_id": answer.headers["x-lookahead-decision-id"], "score": score}
        assert served.post("/v1/feedback", body).json()["candidate"] == CHEAP
        assert served.post("/v1/feedback", body).status_code == 404  # once
        learnt = learnt.observe(TEXTS[3], CHEAP, score)

    def all_know() -> bool:
        told = [served.post("/v1/route", {"prompt": TEXTS[0]}).json() for _ in range(8)]
        return all(each["probabilities"] == learnt.route(TEXTS[0]).probabilities for each in told)

    until(all_know)


def test_rates_and_budgets_are_those_of_all_replicas_together(served):
    assert [served.chat(key="slow").status_code for _ in range(5)].count(200) == 3
    statuses = [served.chat("a b c d", key="poor", model=CHEAP, max_tokens=2).status_code for _ in range(4)]
    assert statuses == [200, 429, 429, 429]  # an answer of 5 words costs half a cent


def test_a_tool_loop_stays_with_its_candidate_wherever_it_arrives(served):
    first = served.chat("Look it up", model=CHEAP).headers["x-lookahead-candidate"]
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look it up"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
    ]
    for _ in range(4):
        answer = served.chat(messages=messages)
        assert (answer.headers["x-lookahead-candidate"], answer.headers["x-lookahead-reason"]) == (first, "sticky")


def count(served, name, **labels):
    """A figure, as any replica tells it."""
    text = served.client.get("/metrics", headers={"authorization": f"Bearer {served.keys['free']}"}).text
    return sum_of(text, name, **labels)


def test_any_replica_tells_the_figures_of_all(served):
    until(lambda: count(served, "replicas") == 2, 20)
    asked = {"endpoint": "/v1/route", "status": "200"}
    before = count(served, "requests_total", **asked)
    for _ in range(10):
        served.post("/v1/route", {"prompt": TEXTS[0]})
    for _ in range(6):  # whichever is asked, it knows its own at once, and the other's soon
        until(lambda: count(served, "requests_total", **asked) == before + 10, 20)
    seen = [count(served, "requests_total", **asked) for _ in range(6)]
    assert seen == [before + 10] * 6


class Load:
    """Clients that ask without a pause, in a `with` block; half of the answers are streams."""

    def __init__(self, served: Served) -> None:
        self._served, self._ends = served, threading.Event()
        self.answers: list[str] = []
        self.n_wrong = 0
        for server in served.behind.values():
            server.script = lambda request: Reply(repeat_last_message(request).content, delay_seconds=0.2)

    def _ask(self, client: int) -> None:
        number = 0
        while not self._ends.is_set():
            number += 1
            text = f"question {client}-{number}"
            answer = self._served.chat(text, stream=number % 2 == 0)
            is_right = answer.status_code == 200 and text.rpartition(" ")[2] in answer.text
            is_right &= number % 2 == 1 or "[DONE]" in answer.text or "stream_interrupted" in answer.text
            self.answers.append("" if is_right else f"{answer.status_code} {answer.text[:300]}")

    def until_more(self, n: int) -> None:
        before = len(self.answers)
        until(lambda: len(self.answers) >= before + n, 60)

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(8)
        self._clients = [self._pool.submit(self._ask, client) for client in range(8)]
        return self

    def __exit__(self, *_) -> None:
        self._ends.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()


def test_a_killed_replica_loses_no_request(served):
    asked = {"endpoint": "/v1/chat/completions", "status": "200"}
    before = count(served, "requests_total", **asked)
    with Load(served) as load:
        load.until_more(16)
        time.sleep(6)  # until those are told
        for process in replicas_of(served):  # one after the other
            os.kill(process, signal.SIGKILL)
            load.until_more(40)
            until(lambda: len(replicas_of(served)) == 2, 60)
        load.until_more(40)
    assert [each for each in load.answers if each] == []
    assert count(served, "requests_total", **asked) >= before + 16  # what the lost ones had counted stays


def test_what_was_learnt_outlives_the_process_that_keeps_it(served):
    def told():
        return [served.post("/v1/route", {"prompt": TEXTS[0]}).json() for _ in range(6)]

    before = told()[0]
    assert "+" in before["revision"]
    with Load(served) as load:
        load.until_more(8)
        (process,) = served.processes("ray::ServeReplica:default:Commons")
        os.kill(process, signal.SIGKILL)
        load.until_more(24)
        until(lambda: len(served.processes("ray::ServeReplica:default:Commons")) == 1, 60)
        load.until_more(8)
    assert [each for each in load.answers if each] == []
    time.sleep(2)
    assert {each["revision"] for each in told()} == {before["revision"]}
    os.kill(replicas_of(served)[0], signal.SIGKILL)  # a new one asks what is known
    until(lambda: len(replicas_of(served)) == 2, 60)
    assert {each["revision"] for each in told()} == {before["revision"]}


def test_deployed_again_it_reads_its_files_anew_and_drops_nothing(served):
    served.keys["late"] = new_key(served.key_file, "late")
    assert served.chat(key="late").status_code == 401
    with Load(served) as load:
        served.tell("deploy")
        until(lambda: all(served.chat(key="late").status_code == 200 for _ in range(6)), 30)
    assert [each for each in load.answers if each] == []
    assert served.chat(key="poor").status_code == 429  # what was spent is not forgotten
    assert "+" in served.post("/v1/route", {"prompt": TEXTS[0]}).json()["revision"]  # nor what was learnt


def test_a_killed_node_loses_no_request(served):
    with Load(served) as load:
        load.until_more(16)
        served.tell("kill node")
        load.until_more(60)
    assert [each for each in load.answers if each] == []
