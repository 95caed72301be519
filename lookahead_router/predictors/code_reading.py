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

    def of(self, embedding: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
        """`(n,)` in [0, 1]: the probability that code is asked for.

        Args:
            embedding: `(n, H)`.
            rows: token ids of each prompt.
        """
        # Row by row, so that none depends on the others to the last bit.
        return np.array([self._one(*each) for each in zip(embedding, rows, strict=True)])

    def _one(self, embedding: np.ndarray, row: np.ndarray) -> float:
        words = set(row.tolist())
        tokens = fsum(map(self.tokens.data.__getitem__, words)) / sqrt(max(len(words), 1))
        logit = float(embedding @ self.embedding) + TOKENS_SCALE * tokens + self.bias
        return 1.0 / (1.0 + exp(-min(max(logit, -60.0), 60.0)))

    def joined(self, demands: np.ndarray, embedding: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
        """`(n, R)` demands with this as the last of them; the rest as of `of`."""
        return np.concatenate([demands, self.of(embedding, rows)[:, None]], axis=1)
