"""Text of unknown origin, for a terminal, for Markdown and for HTML: one function a medium, and nothing else escapes.

Names, prompts, file names and messages of other libraries may hold escape sequences that act on a terminal,
characters that turn the reading order around, line breaks that forge a line, and markup.
"""

import re

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, which begin escape sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # reading order
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # without any shape
    "\ud800-\udfff"  # halves of characters, such as bytes of a file name that are no UTF-8
    "]"
)
"""The joiners U+200C and U+200D are not among them: Persian, Indic scripts and emoji are written with them."""

_MARKDOWN = re.compile(
    r"[\\`*|#~$]"
    r"|\](?=[(\[:])"  # a link; brackets by themselves mean nothing
    r"|(?<!\w)_|_(?!\w)"  # within a word it means nothing
    r"|^[-+=](?=\s|[-+=]|$)|(?<=^\d)[.)](?=\s|$)|(?<=^\d\d)[.)](?=\s|$)"  # a list, or a line under a heading
)

_CODE_LINK = re.compile(r"\](?=\((?!https?://|[\w./#-]+\))|[\[:])")


def to_terminal(text: str) -> str:
    """One line that acts on no terminal: hidden characters as U+FFFD, white space of any kind as one space."""
    return _HIDDEN.sub("\ufffd", " ".join(text.split()))


def to_markdown(text: str) -> str:
    """One line that reads in Markdown as it would in plain text, within a paragraph, a list or a cell of a table."""
    import html

    return _MARKDOWN.sub(r"\\\g<0>", html.escape(to_terminal(text), quote=False))


def to_markdown_prose(markdown: str) -> str:
    """One line of Markdown that its author wrote as such: marks stay, HTML and links that run code do not."""
    return _CODE_LINK.sub(r"\\]", to_terminal(markdown).replace("<", "&lt;"))


def to_html(text: str) -> str:
    """One line that reads in HTML as it would in plain text, also within a quoted attribute."""
    import html

    return html.escape(to_terminal(text))
