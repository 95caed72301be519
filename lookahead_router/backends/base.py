"""What a predictor asks of a backend."""

from typing import Protocol

import numpy as np


class DemandBackend(Protocol):
    """Runs a network of demands on token arrays. Safe under threads."""

    name: str
    max_batch_size: int
    """Prompts of one call."""

    def foresee(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """Demands `(B, R)`, difficulty, log tokens and verbosity `(B,)`, embeddings `(B, H)`, float32.

        Args:
            prompt_ids: `(B, T)` int64, each row CLS, prompt, SEP, padded on the left.
            prompt_mask: `(B, T)` int64, 1 on tokens, 0 on padding.
        """
        ...


class Backend(Protocol):
    """Runs a network on token arrays. Safe under threads; holds no tokenizer and no names."""

    name: str
    """`onnx-int8`, `onnx` or `torch`."""
    max_batch_size: int
    """Prompts of one call."""

    def score_logits(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Score logits `(B, K)` float32, unbounded.

        Args:
            prompt_ids: `(B, T)` int64, each row CLS, prompt, SEP, padded on the left.
            prompt_mask: `(B, T)` int64, 1 on tokens, 0 on padding.
        """
        ...
