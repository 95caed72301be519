"""The page at `/`, in a real browser."""

import re
import shutil
from contextlib import ExitStack

import pytest
from servers.cascaded_server import SORRY, Cascaded
from servers.openai_server import Reply
from servers.router_server import CHEAP, STRONG

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
PROMPT = "Prove that the square root of 2 is irrational."


def test_the_page_loads_nothing_from_elsewhere_and_runs_its_own_script_alone(world):
    response = world.server.client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", response.text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches


@pytest.fixture(scope="module")
def browser():
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, world):
    """The page, on which no error may be reported and nothing asked of other hosts."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: r.url.startswith((world.server.url, "data:")) or complaints.append(r.url))
    page.goto(world.server.url)
    yield page
    context.close()
    assert complaints == []


def chosen(page):
    return page.locator("tr.chosen th").inner_text().removesuffix(" – chosen")


def decide(page, text=PROMPT):
    page.get_by_role("textbox", name="Prompt").fill(text)
    page.locator("tr.chosen").wait_for()


@in_a_browser
def test_the_decision_follows_the_prompt_and_the_choice_the_knob(page, world):
    decide(page)
    curve = world.server.client.post("/v1/route", json={"prompt": PROMPT, "curve": True}).json()["curve"]
    knob = page.get_by_role("slider")
    seen = set()
    for value in (100, 80, 60, 40, 20, 0):
        knob.fill(str(value))
        step = next(step for step in curve if value / 100 <= step["to"])
        assert chosen(page) == step["candidate"]
        assert step["candidate"] in page.locator("#why").inner_text()
        assert page.locator("svg circle.chosen").count() == 1
        seen.add(step["candidate"])
    assert seen == {STRONG, CHEAP}
    assert world.n_requests == 0


@in_a_browser
def test_the_chosen_one_is_asked_by_keyboard_alone_and_its_answer_scored(page, world):
    for server in world.behind.values():
        server.script = lambda request: Reply(f"{request['model']} says <b>so</b>")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "prompt"
    page.keyboard.type(PROMPT)
    page.keyboard.press("Control+Enter")
    votes = page.get_by_role("group").get_by_role("button")
    votes.first.wait_for()
    assert page.locator(".answer").inner_text() == f"{page.locator('h3').inner_text()} says <b>so</b>"
    before = world.server.metric("feedback_total")
    page.get_by_role("button", name="Poor answer").press("Enter")
    page.get_by_text("Learnt.").wait_for()
    assert world.server.metric("feedback_total") == before + 1


@in_a_browser
def test_two_are_asked_side_by_side_and_voted_on(page, world):
    decide(page)
    page.get_by_label("Left").select_option(CHEAP)
    page.get_by_label("Right").select_option(STRONG)
    page.get_by_role("button", name="Ask two side by side").click()
    page.get_by_role("button", name="Right is better").click()
    page.get_by_text("Learnt.").wait_for()
    assert page.locator("h3").all_inner_texts() == [CHEAP, STRONG]
    assert page.locator(".answer").all_inner_texts() == [f"{CHEAP}: {PROMPT}", f"{STRONG}: {PROMPT}"]
    assert [len(server.requests) for server in world.behind.values()] == [1, 1]


@in_a_browser
def test_what_goes_wrong_is_said_on_the_page(page, world):
    for server in world.behind.values():
        server.script = lambda request: Reply("one two three", breaks_after=1)
    decide(page)
    page.get_by_role("button", name="Ask the chosen one").click()
    page.get_by_text("broke off its answer").wait_for()
    assert page.locator("#votes").is_hidden()


# What an axe-style check looks for: a name for everything that is worked with, one heading a level, contrast.
CHECK = """() => {
  const faults = [];
  const name = (e) => (e.getAttribute('aria-label') || e.textContent || '').trim()
    || (e.labels && [...e.labels].map((l) => l.textContent).join('').trim())
    || (e.getAttribute('aria-labelledby') || '').split(' ')
      .map((i) => (document.getElementById(i) || {}).textContent).join('');
  for (const e of document.querySelectorAll('button, input, select, textarea, svg, [role=group], section'))
    if (!name(e)) faults.push('no name: ' + e.outerHTML.slice(0, 80));
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of ids) if (ids.filter((other) => other === id).length > 1) faults.push('id twice: ' + id);
  for (const e of document.querySelectorAll('[aria-labelledby], [aria-describedby], label[for]'))
    for (const id of (e.getAttribute('aria-labelledby') || e.getAttribute('aria-describedby') || e.htmlFor).split(' '))
      if (!document.getElementById(id)) faults.push('names nobody: ' + id);
  if (!document.documentElement.lang) faults.push('no language');
  if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
  if (!document.querySelector('main')) faults.push('no main');
  for (const e of document.querySelectorAll('th')) if (!e.scope) faults.push('a head without scope');
  const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).map((v) => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.disabled || e.closest('svg, script, style, option')) continue;
    const pair = [light(getComputedStyle(e).color), light(back(e))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) faults.push('contrast ' + ratio.toFixed(2) + ': ' + e.textContent.trim().slice(0, 40));
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the screen: '
    + document.documentElement.scrollWidth);
  return faults;
}"""


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_can_be_read_and_worked_by_everyone_on_any_screen(page, world, scheme, tmp_path):
    page.emulate_media(color_scheme=scheme)
    decide(page)
    page.get_by_role("button", name="Ask two side by side").click()
    page.get_by_role("button", name="Both are good").wait_for()
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=tmp_path / f"{scheme}-{width}.png", full_page=True)
        assert page.evaluate(CHECK) == []


@in_a_browser
def test_a_server_with_keys_asks_for_one(browser, make_world, tmp_path):
    from lookahead_router.server.keys import new_key

    key = new_key(tmp_path / "keys.json", "me")
    world = make_world("--keys", str(tmp_path / "keys.json"))
    context = browser.new_context()
    page = context.new_page()
    page.goto(world.server.url)
    page.get_by_role("textbox", name="Prompt").fill(PROMPT)
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()
    page.locator("tr.chosen").wait_for()
    assert key not in page.content()
    context.close()


@pytest.fixture(scope="module")
def cascaded(tmp_path_factory):
    with ExitStack() as stack:
        yield Cascaded(stack, tmp_path_factory.mktemp("cascaded"))


@pytest.fixture
def cascade_page(browser, cascaded):
    """The page of a pool with a cascade, on which no error may be reported; a key is to be given."""
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(cascaded.server.url)
    yield page
    context.close()
    assert complaints == []


def enter(page, key):
    page.get_by_role("textbox", name="Prompt").fill(PROMPT)
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").press("Enter")
    page.locator("#cascade-row").wait_for()
    page.get_by_text("Its answer is looked at (refusal, confidence): up to 2 calls").wait_for()


@in_a_browser
def test_a_cascade_is_foretold_and_its_calls_are_shown_in_order_with_why_it_ended(cascade_page, cascaded):
    page = cascade_page
    cascaded.say(Reply(SORRY), Reply("It is four."))
    enter(page, cascaded.keys["rich"])
    assert chosen(page) == CHEAP
    planned = page.get_by_role("list", name="If each answer fails").get_by_role("listitem").all_inner_texts()
    assert [words.split(":")[0] for words in planned] == [CHEAP, STRONG]
    assert f"If each passes: {CHEAP}, about $" in page.locator("#passing").inner_text()
    assert page.get_by_role("slider").is_disabled()
    page.get_by_role("button", name="Ask, and look at the answer").press("Enter")
    page.get_by_text("these are all calls that the pool file allows. In all about $").wait_for()
    assert (page.locator("h3").inner_text(), page.locator(".answer").inner_text()) == (STRONG, "It is four.")
    calls = page.get_by_role("list", name="Calls, in their order").get_by_role("listitem").all_inner_texts()
    assert calls[0].startswith(f"{CHEAP}: ")
    assert "fails refusal, confidence says nothing" in calls[0]
    assert calls[0].endswith("Another answer is worth asking for")
    assert calls[1].startswith(f"{STRONG}: given whatever it says")
    cascaded.say(Reply("Fine."), Reply("Better."))
    page.get_by_role("button", name="Ask, and look at the answer").click()
    page.get_by_text("another answer was expected to gain less than it costs").wait_for()
    assert page.locator("h3").inner_text() == CHEAP


@in_a_browser
def test_without_its_box_the_page_asks_one_candidate_by_the_knob(cascade_page, cascaded):
    page = cascade_page
    cascaded.say(Reply(SORRY), Reply("It is four."))
    enter(page, cascaded.keys["rich"])
    page.get_by_label("Look at the answer").press("Space")
    page.get_by_text("The best chance of all.").wait_for()
    assert page.locator("#calls").is_hidden()
    page.get_by_role("slider").fill("0")
    assert chosen(page) == CHEAP
    page.get_by_role("button", name="Ask the chosen one").click()
    page.get_by_role("button", name="Poor answer").wait_for()
    assert page.locator(".answer").inner_text() == SORRY
    assert page.get_by_role("list", name="Calls, in their order").count() == 0


@in_a_browser
def test_a_budget_that_ends_a_cascade_is_said(cascade_page, cascaded):
    page = cascade_page
    cascaded.say(Reply(SORRY), Reply("It is four."))
    enter(page, cascaded.keys["poor"])
    page.get_by_role("button", name="Ask, and look at the answer").click()
    page.get_by_text("The budget of this key pays for no further call").wait_for()


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_cascade_can_be_read_and_worked_by_everyone_on_any_screen(cascade_page, cascaded, scheme, tmp_path):
    page = cascade_page
    page.emulate_media(color_scheme=scheme)
    cascaded.say(Reply(SORRY), Reply("down", status=500))
    enter(page, cascaded.keys["rich"])
    page.get_by_role("button", name="Ask, and look at the answer").click()
    page.get_by_text("Whoever was asked last failed").wait_for()
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=tmp_path / f"cascade-{scheme}-{width}.png", full_page=True)
        assert page.evaluate(CHECK) == []
