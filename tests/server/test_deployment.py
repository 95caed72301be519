"""What docs/serving.md and the Dockerfile tell to run is there to run."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml

from lookahead_router.cli.app import app_for
from lookahead_router.server.ray import Options
from lookahead_router.server.serving import Memory, Serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DOCKER = shutil.which("docker")
UNNAMED = {
    "host",
    "port",
    "decisions_max_bytes",
    "decisions_kept",
    "header_seconds",
    "write_seconds",
    "feedback_prompts",
}
"""Options of the server on Ray that the page does not list: Serve's, and what few would change."""


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_pool_file_of_the_page_can_be_served(tmp_path, monkeypatch):
    pool = next(text for text in blocks("yaml") if "candidates:" in text)
    path = tmp_path / "pool.yaml"
    path.write_text(pool, encoding="utf-8")
    for name in ("OPENAI_API_KEY", "HOUSE_KEY"):
        monkeypatch.setenv(name, "test")
    serving = Serving.load(path, Memory())
    assert serving["house-model"].profile == "qwen2.5-7b-instruct"
    assert serving.config.quality == 0.95
    assert f"serving {len(serving.models())} models" in PAGE


def test_what_ray_is_told_to_import_is_there_and_takes_these_arguments():
    (config,) = (yaml.safe_load(text) for text in blocks("yaml") if "applications:" in text)
    (application,) = config["applications"]
    assert Options(**application["args"]).max_replicas == 8
    named = {application["import_path"], *re.findall(r"lookahead_router\.server\.\w+:\w+", PAGE)}
    assert len(named) == 2
    for place in named:
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))
    section = PAGE.partition("\n## On a cluster\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    arguments = set(re.findall(r"`(\w+)`", " ".join(table)))
    assert arguments <= set(Options.model_fields)
    assert set(Options.model_fields) - arguments <= UNNAMED


def test_the_commands_of_image_and_unit_have_these_options():
    serve = typer.main.get_command(app_for([])).commands["serve"]
    known = {name for parameter in serve.params for name in parameter.opts}
    (unit,) = blocks("ini")
    for text in (DOCKERFILE.partition("\nCMD")[2], unit):
        used = set(re.findall(r"--[a-z-]+", text))
        assert {"--decisions", "--learnt"} <= used <= known


def test_the_image_runs_as_nobody_and_the_composed_one_on_a_file_system_that_it_cannot_change():
    assert re.search(r"^USER 65534", DOCKERFILE, re.MULTILINE)
    assert "HEALTHCHECK" in DOCKERFILE
    service = next(yaml.safe_load(text) for text in blocks("yaml") if "services:" in text)["services"]["router"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_health_check_asks_the_server_itself_whatever_proxy_is_set(world):
    words = DOCKERFILE.partition("HEALTHCHECK")[2].partition("CMD ")[2].partition("]\n")[0] + "]"
    command = json.loads(words.replace("\\\n", ""))
    assert command[0] == "python"
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    for port, code in ((world.server.url.rpartition(":")[2], 0), ("9", 1)):
        asked = [sys.executable, "-c", command[2].replace("8400", port)]
        assert subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == code


def test_the_image_is_made_of_what_the_build_is_given():
    given = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert given[0] == "*"
    for name in " ".join(copied).split():
        assert f"!{name}" in given
        assert (ROOT / name).exists()


def has_docker():
    if DOCKER is None:
        return False
    try:
        return subprocess.run([DOCKER, "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.skipif(not has_docker(), reason="no docker daemon here")
def test_the_image_is_built_and_healthy(tmp_path):
    def docker(*arguments):
        return subprocess.run([DOCKER, *arguments], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()

    (tmp_path / "pool.json").write_text('{"candidates": [{"name": "gpt-4o-2024-08-06", "base_url": "http://x/v1"}]}')
    docker("build", "--tag", "lookahead-router-test", ".")
    options = ("--rm", "--detach", "--read-only", "--cap-drop=ALL", "--volume", f"{tmp_path}:/etc/lookahead-router:ro")
    command = ("serve", "/etc/lookahead-router/pool.json", "--decisions", "/state/d.jsonl")
    name = docker("run", *options, "lookahead-router-test", *command)
    try:
        end = time.monotonic() + 60
        while docker("inspect", "--format", "{{.State.Health.Status}}", name) != "healthy":
            assert time.monotonic() < end
            time.sleep(1)
    finally:
        docker("stop", name)
