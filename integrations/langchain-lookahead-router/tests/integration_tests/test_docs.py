"""The code of the guide and of the README runs as written, against a local server and the embedded predictor."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from fakes import rule_reply
from servers.openai_server import OpenAIServer

DISTRIBUTION = Path(__file__).parents[2]
PAGES = [DISTRIBUTION / "README.md", DISTRIBUTION.parents[1] / "docs" / "integrations" / "langchain.md"]
# The core's tests skip what is marked `no-run`, since they have no LangChain; here everything runs.
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_the_pages_runs(page, tmp_path, monkeypatch):
    if tuple(map(int, importlib.metadata.version("langchain").split(".")[:2])) < (1, 4):
        pytest.skip("the pages show agents, which need langchain 1.4")
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    namespace = {"__name__": "__docs__"}
    with OpenAIServer(rule_reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for code in blocks:
            exec(compile(code, page.name, "exec"), namespace)
        assert server.requests
