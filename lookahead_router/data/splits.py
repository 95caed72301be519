"""Splits by a hash of the prompt: the same prompt always falls into the same split."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

from lookahead_router.errors import ConfigurationError

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.8, 0.1, 0.1)


def split_of(prompt: str, fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> str:
    """The split of a prompt: a function of its text and the seed, whatever else is in the dataset.

    Args:
        prompt: the text that is routed.
        fractions: expected shares of `SPLITS`, in [0, 1], summing to 1.
        seed: another one gives another partition.

    Raises:
        ConfigurationError: the fractions are not three shares of a whole.
    """
    if len(fractions) != len(SPLITS) or not all(share >= 0 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigurationError(
            f"expected three fractions, of {', '.join(SPLITS)}, that are at least 0 and sum to 1; "
            f"got {', '.join(map(str, fractions))}"
        )
    digest = hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
    place = int.from_bytes(digest[:6], "big") / 2**48
    last = max(index for index, share in enumerate(fractions) if share > 0)
    return next((name for name, end in zip(SPLITS, accumulate(fractions), strict=True) if place < end), SPLITS[last])
