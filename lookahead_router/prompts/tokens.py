"""How many tokens a text has at most, whoever counts them."""

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from lookahead_router.prompts.reading import Request

ATTACHMENT_TOKENS = 1600
"""Allowance for an image or another attachment: about the most that the large providers count for one image."""
MESSAGE_TOKENS = 4
"""Allowance for the marks around a message: role, beginning, end."""

_CHARACTERS_PER_TOKEN = 8
"""The most that a token holds, but for blanks."""


def estimate_tokens(text: str) -> int:
    """A number of tokens that the tokenizers of today rarely exceed, without asking one of them.

    Every byte of the UTF-8 text has a weight, set to the most that any of six tokenizers (OpenAI's two, Mistral's
    two, SmolLM2's, BERT's) made of texts in 17 scripts. English and code come out half too high, other scripts up to
    two or three times by the newest tokenizers; long random strings may come out a third too low. Takes a few
    milliseconds for a megabyte.
    """
    import numpy as np

    encoded = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    return math.ceil(np.bincount(encoded, minlength=256) @ _weights())


def cut_to_tokens(text: str, n_tokens: int) -> str:
    """The two ends of a text, half of about so many estimated tokens each; all of it where it has no more."""
    longest = n_tokens * _CHARACTERS_PER_TOKEN
    is_long = len(text) > 2 * longest
    seen = text[:longest] + text[-longest:] if is_long else text
    n_seen = estimate_tokens(seen)
    if n_seen <= n_tokens and not is_long:
        return text
    half = int(len(seen) * min(1.0, n_tokens / max(n_seen, 1))) // 2
    if not half:
        return ""
    begin, end = text[:half], text[-half:]
    return f"{begin[: max(begin.rfind(' '), 0) or half]} … {end[end.find(' ') + 1 :]}"


def paid_tokens(counted: "np.ndarray | None", requests: "Sequence[Request]", unknown: float) -> "np.ndarray | None":
    """`(n,)` tokens to pay for: those of the routed text, and of what goes along with it in their proportion.

    Args:
        counted: `(n,)` tokens of the routed texts, where the predictor knows them.
        requests: what is sent.
        unknown: length of a prompt that nobody counted.
    """
    import numpy as np

    if counted is None and all(request.n_tokens <= unknown for request in requests):
        return None
    lengths = np.full(len(requests), unknown) if counted is None else counted.copy()
    for row, request in enumerate(requests):
        estimated = estimate_tokens(request.text)
        if request.n_tokens > estimated + MESSAGE_TOKENS:
            lengths[row] = request.n_tokens if counted is None else counted[row] * request.n_tokens / estimated
    return lengths


@cache
def _weights() -> "np.ndarray":
    """Tokens for each byte; of a character beyond ASCII the first byte counts."""
    import numpy as np

    weights = np.ones(256)  # punctuation, digits, line breaks
    weights[ord(" ")] = 1 / 8
    weights[ord("a") : ord("z") + 1] = 1 / 3
    weights[ord("A") : ord("Z") + 1] = 1 / 2
    weights[0x80:0xC0] = 0
    weights[0xC0:0xC8] = 4  # accented Latin letters, which also split their word
    weights[0xC8:0xE0] = 1.3  # Greek, Cyrillic, Hebrew, Arabic
    weights[0xD4:0xD7] = 2.2  # Armenian
    weights[0xD7] = 1.5  # Hebrew
    weights[0xE0:0xF0] = 2.2  # Indic scripts, Thai, kana, Chinese
    weights[0xE1] = 3  # Georgian, Ethiopic, Vietnamese vowels
    weights[0xE2] = 3  # mathematics, symbols
    weights[0xEA:0xEE] = 3  # Hangul
    weights[0xF0:] = 4  # emoji, of which many are several characters
    return weights
