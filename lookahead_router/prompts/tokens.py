"""How many tokens a text has at most, whoever counts them."""

import re

ATTACHMENT_TOKENS = 1600
"""Allowance for an image or another attachment: about the most that the large providers count for one image."""
MESSAGE_TOKENS = 4
"""Allowance for the marks around a message: role, beginning, end."""

_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_SPACES = b" "
_ONE_BYTE = bytes(range(128))
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_TWO_BYTES = bytes(range(0xC0, 0xE0))
_THREE_BYTES = bytes(range(0xE0, 0xF0))
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def estimate_tokens(text: str) -> int:
    """A number of tokens that tokenizers of today rarely exceed, without asking one.

    Characters count by class: three ASCII letters, or eight spaces beyond one a word, are a token; every other ASCII
    character is one, and so is every letter of two bytes in UTF-8 (Cyrillic, Greek, Arabic, accented Latin). Letters
    of three bytes are two tokens, symbols of four are three. Takes some 10 ms for a megabyte.
    """
    encoded = text.encode("utf-8", "surrogatepass")

    def count(members: bytes) -> int:
        return len(encoded) - len(encoded.translate(None, members))

    letters, spaces = count(_LETTERS), count(_SPACES)
    ascii_others = count(_ONE_BYTE) - letters - spaces
    two, three = count(_TWO_BYTES), count(_THREE_BYTES)
    four = len(encoded) - count(_ONE_BYTE) - count(_CONTINUATIONS) - two - three
    return -(-letters // 3) + -(-spaces // 8) + ascii_others + two + 2 * three + 3 * four
