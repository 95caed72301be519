"""The gallery of examples, each against a stand-in of the models on loopback."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from servers.openai_server import OpenAIServer, Reply, text_of

from lookahead_router.live import PoolConfig

APPS = Path(__file__).parents[1] / "examples" / "apps"
MODELS = {"gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"}
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def models(monkeypatch):
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield server


def run(name, *arguments, folder=None):
    command = [sys.executable, APPS / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder or APPS, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def uses_the_tool_once(request):
    if request["messages"][-1]["role"] == "tool":
        return Reply(f"It is {text_of(request['messages'][-1])}.")
    return Reply(tool_calls=(("multiply", {"a": 17, "b": 23}),))


def test_the_agent_calls_its_tool_and_stays_with_who_began(models):
    pytest.importorskip("langgraph")
    models.script = uses_the_tool_once
    called, answered = run("langgraph_agent.py").strip().splitlines()
    assert "multiply" in called
    assert answered.endswith(": It is 391.")
    assert len(set(models.models_called())) == 1
    assert called.split()[0] == answered.split()[0]


def test_the_app_answers_and_asks_the_next_model_where_one_fails(models):
    testclient = pytest.importorskip("fastapi.testclient")
    spec = importlib.util.spec_from_file_location("fastapi_app", APPS / "fastapi_app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with testclient.TestClient(module.app) as client:
        answer = client.post("/ask", json={"prompt": "What is 2 + 2?"}).json()
        assert answer["answer"] == f"{answer['model']}: What is 2 + 2?"
        first = answer["model"]
        models.script = lambda request: Reply(status=500) if request["model"] == first else Reply("four")
        answer = client.post("/ask", json={"prompt": "What is 2 + 2?"}).json()
        assert answer == {"answer": "four", "model": (MODELS - {first}).pop()}
        assert client.post("/ask", json={"prompt": ""}).status_code == 422


@pytest.mark.slow  # the tutorial does the same
def test_documents_are_asked_about_on_the_question_alone(models, tmp_path):
    pytest.importorskip("llama_index.llms.openai_like")
    (tmp_path / "lease.txt").write_text("The contract ends on 31 March. Notice has to be given three months before.")
    answer, record = run("llama_index_rag.py", tmp_path, "When does the contract end?").strip().rsplit("\n", 1)
    assert "31 March" in answer
    assert record.split()[0] in MODELS
    assert record.endswith("(routed)")


def test_a_table_gets_a_decision_in_each_row(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"prompt": ["hi", "Prove Fermat's last theorem.", None]}), tmp_path / "prompts.parquet")
    told = run("batch_parquet.py", tmp_path / "prompts.parquet", tmp_path / "decided.parquet")
    table = pq.read_table(tmp_path / "decided.parquet")
    assert set(table["candidate"].to_pylist()) <= {*MODELS, None}
    assert table["candidate"].to_pylist()[2] is None
    assert "dollars; all to gpt-4o-2024-08-06" in told


ASK = """
import asyncio, litellm, yaml
from hook import routing
config = yaml.safe_load(open("config.yaml"))
assert config["litellm_settings"]["callbacks"] == ["hook.routing"]
litellm.callbacks = [routing]
router = litellm.Router(model_list=config["model_list"], **config["router_settings"])
answer = asyncio.run(router.acompletion("auto", messages=[{"role": "user", "content": "hi"}]))
print(answer.choices[0].message.content)
"""


@pytest.mark.slow
def test_the_proxy_of_litellm_gets_the_model_that_is_chosen(models):
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("LiteLLM is not installed")
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=APPS / "litellm_proxy")
    assert done.returncode == 0, done.stderr
    model, said = done.stdout.strip().rsplit("\n", 1)[-1].split(": ")
    assert said == "hi"
    assert models.models_called() == [model]
    assert model in MODELS


def test_the_composition_is_one_and_its_pool_can_be_served():
    folder = APPS / "compose"
    composed = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["router"]
    assert (folder / composed["build"] / "Dockerfile").is_file()
    assert composed["volumes"][0].startswith("./pool.yaml:/etc/lookahead-router/pool.yaml")
    assert set(PoolConfig.load(folder / "pool.yaml").pool().names) == MODELS
    checker = [sys.executable, "-m", "check_jsonschema", "--output-format", "json", "--builtin-schema"]
    done = subprocess.run([*checker, "vendor.compose-spec", folder / "compose.yaml"], capture_output=True, check=False)
    assert json.loads(done.stdout)["status"] == "ok"
