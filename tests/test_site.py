"""The documentation site: it builds without a warning, needs no other host, and can be read by everybody."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
LOOKED_AT = ("", "tutorials/first-decision/", "explanation/way-of-a-prompt/", "reference/cli/", "results/any-pool/")
"""Pages of every kind; `-m slow` looks at all."""
WIDTHS = {"wide": 1400, "narrow": 375}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def pages(site):
    return sorted(path for path in site.rglob("*.html") if path.name != "404.html")


def test_every_page_of_docs_is_in_it_and_nothing_else_loads_from_elsewhere(site):
    sources = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).parent for path in pages(site)}
    assert {path if path.name != "index" else path.parent for path in sources} <= built
    for path in pages(site):
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*\b(?:src|href)=\"?(https?:[^\" >]+)", path.read_text())
        assert [each for each in loaded if "canonical" not in each] == []
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?https?:", path.read_text())


def test_what_a_fence_tells_the_tests_is_not_shown(site):
    for path in pages(site):
        text = path.read_text()
        assert "no-run</p>" not in text
        assert "```" not in re.sub(r"<code.*?</code>", "", text, flags=re.DOTALL), path


def test_search_finds_what_a_page_is_about(site):
    import json

    entries = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert {"quickstart/", "explanation/profiles/", "reference/python/"} <= {each["location"] for each in entries}


def test_the_glossary_has_the_few_terms_that_users_meet():
    terms = re.findall(r"^\| (?!Term)([^|-]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert 15 < len(terms) <= 25
    assert len(terms) == len(set(terms))


@pytest.fixture(scope="module")
def made():
    """The script of the figures."""
    path = ROOT / "docs" / "figures" / "make.py"
    spec = importlib.util.spec_from_file_location("figures_make", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_figures_are_those_that_their_script_draws(made):
    path = ROOT / "docs" / "figures" / "make.py"
    assert {path.stem for path in path.parent.glob("*.svg")} == set(made.FIGURES)
    for name, draw in made.FIGURES.items():
        drawn = (path.parent / f"{name}.svg").read_text(encoding="utf-8")
        assert drawn == draw().svg(), f"{name}.svg is of other figures; run python docs/figures/make.py"


def test_who_does_not_see_the_curve_is_told_what_it_shows(made):
    for page in ("README.md", "docs/index.md"):
        assert f"![{made.in_words()}](" in (ROOT / page).read_text(), "run python docs/figures/make.py"


def test_dollars_at_95_percent_are_told_alike_by_both_tables(made):
    names, rows = made.published("Dollars for quality")
    spent = dict(zip(names, dict(rows)[95.0], strict=True))
    kinds, rows = made.published("Share of dollars saved at 95 %")
    saved = dict(rows)[100]
    for kind, share in zip(kinds, saved, strict=True):
        assert abs(spent[f"{kind}, n = 100"] + share - 1) < 0.0015


@pytest.fixture(scope="module")
def address(site):
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def faults(browser, address, locations, width, scheme):
    """What axe finds serious, what is wider than the screen, and what was asked of other hosts."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = []
    page.on("request", lambda each: each.url.startswith((address, "data:", "blob:")) or found.append(each.url))
    for location in locations:
        page.goto(address + location)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            found.append(f"{location}: {wide} pixels wide")
        for each in axe.run(page).response["violations"]:
            if each["impact"] in ("serious", "critical"):
                found.append(f"{location}: {each['id']} {each['nodes'][0]['html'][:200]}")
    page.close()
    return found


@in_a_browser
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(("width", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_pages_are_accessible_and_fit_the_screen(browser, address, width, scheme):
    assert faults(browser, address, LOOKED_AT, WIDTHS[width], scheme) == []


@pytest.mark.slow
@in_a_browser
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_pages_are_accessible_and_fit_the_screen(browser, address, site, width, scheme):
    locations = [path.relative_to(site).as_posix().removesuffix("index.html") for path in pages(site)]
    assert faults(browser, address, locations, WIDTHS[width], scheme) == []


@in_a_browser
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_search_answers_in_the_page(browser, address):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(address)
    page.get_by_role("textbox", name="Search").fill("cooldown")
    page.locator(".md-search-result__link[href*='dispatch']").first.wait_for()
    page.close()
