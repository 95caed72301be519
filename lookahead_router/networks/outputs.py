"""What a Lookahead network returns."""

from typing import NamedTuple

import torch


class LookaheadOutput(NamedTuple):
    """Scores and foreseen responses of a batch."""

    score_logits: torch.Tensor
    """`(B, K)`, unbounded, higher is better. The sigmoid is the predicted score: the chance to be near the
    best (paper §4), the expected place between worst and best, or, of a relative network, 0.5 plus the
    expected score above the pool's mean."""
    latents: torch.Tensor
    """`(B, K, M, H)`: the state of every lookahead slot. A causal network has the MID token's state
    first, and in training the response tokens' after it."""
