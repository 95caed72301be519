"""Whether a prompt asks for code, read off what the network makes of it and off its tokens.

Benchmarks ask for code in one way and people in many, so that the demands which a network learns of benchmarks say
little of an everyday prompt. This is one demand more: what candidates that were made for code are better at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, sqrt

import numpy as np

TOKENS_SCALE = 2.0
"""How much the tokens count beside the embedding."""


@dataclass(frozen=True, eq=False)
class CodeReading:
    """A logistic regression; `training/code_reading.py` fits it."""

    embedding: np.ndarray
    """`(H,)` weights of the embedding."""
    tokens: np.ndarray
    """`(V,)` weights of the tokens."""
    bias: float

    def by_tokens(self, rows: Sequence[np.ndarray]) -> list[float]:
        """What the token ids of each prompt say, in logits; known before the network has read any."""
        found = []
        for row in rows:
            words = set(row.tolist())
            found.append(TOKENS_SCALE * (fsum(map(self.tokens.item, words)) / sqrt(len(words) or 1)))
        return found

    def joined(self, demands: np.ndarray, embedding: np.ndarray, by_tokens: Sequence[float]) -> np.ndarray:
        """Demands with the probability that code is asked for, in [0, 1], as the last of them.

        Args:
            demands: `(n, R)`.
            embedding: `(n, H)`.
            by_tokens: of the same prompts.
        """
        n, width = demands.shape
        joined = np.empty((n, width + 1))
        joined[:, :width] = demands
        for row in range(n):  # one by one, so that none depends on the others to the last bit
            logit = embedding[row].dot(self.embedding).item() + by_tokens[row] + self.bias
            joined[row, width] = 1.0 / (1.0 + exp(-max(logit, -60.0)))
        return joined
