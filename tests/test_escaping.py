import html
import unicodedata

import pytest

from lookahead_router.escaping import to_html, to_markdown, to_markdown_prose, to_terminal

ACTIVE = {
    "clear the screen": "\x1b[2J",
    "write to the clipboard": "\x1b]52;c;cHduZWQ=\x07",
    "a C1 control": "\x9b31m",
    "overwrite the line": "good\rbad",
    "go back": "a\x08\x08b",
    "delete": "\x7f",
    "turn the reading order": "\u202egpj.exe",
    "isolate": "\u2066x\u2069",
    "a mark of direction": "\u200fx",
    "no width": "a\u200bb\u2060c\ufeff",
    "tags": "a\U000e0041\U000e007f",
    "a byte of a file name": "caf\udce9",
    "two lines": "name\nerror: forged",
    "lines of Unicode": "a\u2028b\u2029c\x85d\x0be\x0cf",
}


@pytest.mark.parametrize("text", ACTIVE.values(), ids=ACTIVE)
@pytest.mark.parametrize("escape", [to_terminal, to_markdown, to_markdown_prose, to_html])
def test_no_character_acts_or_hides(escape, text):
    shown = escape(text)
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert [character for character in shown if unicodedata.category(character) in hidden] == []
    shown.encode("utf-8")


@pytest.mark.parametrize("text", ["名前", "Привет", "👩\u200d💻", "می\u200cخواهم", "a-b_c.d/e:f 1.5", "–…→"])
def test_ordinary_text_of_any_script_stays(text):
    assert to_terminal(text) == text
    assert html.unescape(to_html(text)) == text


def test_hidden_characters_leave_a_trace():
    assert to_terminal("a\x1b[2Jb") == "a\ufffd[2Jb"
    assert to_terminal(" a \n\t b ") == "a b"


MARKUP = {
    "<script>alert(1)</script>": r"&lt;script&gt;alert(1)&lt;/script&gt;",
    '<img src=x onerror="x">': r'&lt;img src=x onerror="x"&gt;',
    "&lt;b&gt;": r"&amp;lt;b&amp;gt;",
    "[x](javascript:1)": r"[x\](javascript:1)",
    "![x][y]": r"![x\][y]",
    "a|b": r"a\|b",
    "`code` **bold** _it_ $x$ ~~no~~": r"\`code\` \*\*bold\*\* \_it\_ \$x\$ \~\~no\~\~",
    "# heading": r"\# heading",
    "- item": r"\- item",
    "1. item": r"1\. item",
    "12) item": r"12\) item",
    "---": r"\---",
    "gpt-4_turbo [2024] v1.5": "gpt-4_turbo [2024] v1.5",
}


@pytest.mark.parametrize(("text", "markdown"), MARKUP.items())
def test_markup_is_plain_text_in_markdown(text, markdown):
    assert to_markdown(text) == markdown


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_plain_text_in_html(text):
    escaped = to_html(text)
    assert html.unescape(escaped) == text
    assert not set('<>"') & set(escaped)


@pytest.mark.parametrize("text", ["`a/b`: **Apache-2.0**", "[terms](https://example.org/a)", "[page](docs/a.md#b)"])
def test_prose_keeps_the_marks_of_its_author(text):
    assert to_markdown_prose(text) == text


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("`x` <b onclick=1>", "`x` &lt;b onclick=1>"),
        ("[x](javascript:1)", r"[x\](javascript:1)"),
        ("[x]( data:1)", r"[x\]( data:1)"),
        ("[x]: javascript:1", r"[x\]: javascript:1"),
        ("[x][y]", r"[x\][y]"),
    ],
)
def test_prose_holds_no_html_and_no_link_that_runs(text, markdown):
    assert to_markdown_prose(text) == markdown
