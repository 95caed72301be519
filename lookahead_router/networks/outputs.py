"""What a Lookahead network returns."""

from typing import NamedTuple

import torch


class LookaheadOutput(NamedTuple):
    """Scores and foreseen responses of a batch."""

    score_logits: torch.Tensor
    """`(B, K)`, unbounded; the sigmoid is the predicted chance to be near-best (paper §4)."""
    latents: torch.Tensor
    """`(B, K, M, H)`: the hidden state of every lookahead slot."""
