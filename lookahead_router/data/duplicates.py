"""Which prompts are nearly the same: equal ones, and those that share most of their word three-grams."""

from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

import numpy as np

N_BANDS, N_ROWS = 20, 5
"""Two prompts are compared where all hashes of one band agree: nearly always at a similarity of 0.8 or more."""


def duplicate_groups(prompts: Sequence[str], *, threshold: float = 0.8) -> np.ndarray:
    """`(n,)` number of the group that each prompt is in; of near-duplicates it is the same one.

    Groups are numbered in the order of their first prompt. Equal but for case and space is the same; so is a Jaccard
    similarity of word three-grams of at least the threshold, as MinHash estimates it (Broder, 1997), and whatever such
    pairs connect. Time is linear in the number of prompts.

    Args:
        prompts: texts.
        threshold: in (0, 1].
    """
    texts = [" ".join(prompt.lower().split()) for prompt in prompts]
    distinct = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(distinct)}
    signatures = np.array([_signature(text) for text in distinct]).reshape(len(distinct), N_BANDS * N_ROWS)
    leader = np.arange(len(distinct))
    for band in range(N_BANDS):
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for row, part in enumerate(signatures[:, band * N_ROWS : (band + 1) * N_ROWS]):
            others = buckets[part.tobytes()]
            near = next((one for one in others if (signatures[one] == signatures[row]).mean() >= threshold), None)
            if near is None:
                others.append(row)
            else:
                _join(leader, near, row)
    roots = [_root(leader, place[text]) for text in texts]
    number: dict[int, int] = {}
    return np.array([number.setdefault(root, len(number)) for root in roots], dtype=np.int64)


def folds_of(prompts: Sequence[str], n_folds: int, seed: int) -> np.ndarray:
    """`(n,)` fold of each prompt: near-duplicates share one, and folds are as equal in size as that allows."""
    groups = duplicate_groups(prompts)
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold = np.zeros(n_folds, dtype=int), np.zeros(len(sizes), dtype=int)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[groups]


_generator = np.random.default_rng(0)
_FACTORS, _SHIFTS = _generator.integers(0, 1 << 64, (2, N_BANDS * N_ROWS), dtype=np.uint64) | np.uint64(1)


def _signature(text: str) -> np.ndarray:
    """The least of every hash over the text's three-grams; a shorter text is one."""
    words = text.split()
    grams = {" ".join(words[at : at + 3]) for at in range(max(len(words) - 2, 1))}
    hashes = np.fromiter((crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams), np.uint64, len(grams))
    least = np.full(len(_FACTORS), np.iinfo(np.uint64).max, dtype=np.uint64)
    for at in range(0, len(hashes), 4096):
        part = (hashes[at : at + 4096, None] * _FACTORS + _SHIFTS) >> np.uint64(32)  # wraps around, as it should
        least = np.minimum(least, part.min(axis=0))
    return least


def _root(leader: np.ndarray, row: int) -> int:
    while leader[row] != row:
        leader[row] = leader[leader[row]]
        row = leader[row]
    return int(row)


def _join(leader: np.ndarray, one: int, other: int) -> None:
    first, second = sorted((_root(leader, one), _root(leader, other)))
    leader[second] = first
