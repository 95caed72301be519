"""Whether a prompt asks for code, read off what the network makes of it and off its tokens.

Benchmarks ask for code in one way and people in many, so that the demands which a network learns of benchmarks say
little of an everyday prompt. This is one demand more: what candidates that were made for code are better at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.profiles import Foreseen

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
        words = [np.unique(row) for row in rows]
        shares = np.array([TOKENS_SCALE * self.tokens[ids].sum() / np.sqrt(max(len(ids), 1)) for ids in words])
        # Row by row, so that none depends on the others to the last bit.
        return sigmoid((embedding * self.embedding).sum(axis=1) + shares + self.bias)

    def joined(self, foreseen: Foreseen, rows: Sequence[np.ndarray]) -> Foreseen:
        """What is foreseen, with this as the last of the demands."""
        code = self.of(foreseen.embedding, rows)
        return replace(foreseen, demands=np.concatenate([foreseen.demands, code[:, None]], axis=1))
