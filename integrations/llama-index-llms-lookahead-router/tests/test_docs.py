"""Code in the docs page and in both READMEs runs as written, top to bottom, against a local server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from calling import call_the_first_tool

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "docs/integrations/llama-index.md", *sorted((ROOT / "integrations").glob("llama-index-*/README.md"))]
BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
ADDRESS = "http://localhost:8000/v1"


def by_path(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_python_blocks_run(server, page, tmp_path):
    server.script = call_the_first_tool
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))).replace(ADDRESS, server.url))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert server.requests, "the page asks its candidates"


def test_links_lead_somewhere():
    guide, *readmes = PAGES
    for target in LINK.findall(guide.read_text(encoding="utf-8")):
        assert (guide.parent / target).exists(), target
    for page in readmes:
        assert not LINK.findall(page.read_text(encoding="utf-8")), "a package index shows it without the repository"
