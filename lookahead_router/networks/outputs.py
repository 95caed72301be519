"""What a network returns."""

from typing import NamedTuple

import torch


class LookaheadOutput(NamedTuple):
    """Scores and foreseen responses of a batch."""

    score_logits: torch.Tensor
    """`(B, K)`, unbounded, higher is better. The sigmoid is the predicted score: the chance to be near the
    best (paper §4) or the expected place between worst and best, or, of a relative network, 0.5 plus the
    expected score above the pool's mean."""
    latents: torch.Tensor
    """`(B, K, M, H)`: the state of every lookahead slot. A causal network has the MID token's state
    first, and in training the response tokens' after it."""


class DemandOutput(NamedTuple):
    """What the prompts of a batch ask for, whoever answers them."""

    demands: torch.Tensor
    """`(B, R)`, met by a candidate's abilities: its chance of a good answer is the sigmoid of its level, plus its
    abilities times the demands, less the difficulty."""
    difficulty: torch.Tensor
    """`(B,)`, in logits."""
    log_tokens: torch.Tensor
    """`(B,)` natural logarithm of the tokens of an average candidate's answer."""
    verbosity: torch.Tensor
    """`(B,)` how far a candidate's own habit of length shows on this prompt."""
    embedding: torch.Tensor
    """`(B, H)` unit vectors: where the prompt lies among those of training."""
    latents: torch.Tensor
    """`(B, n_references, M, H)`: the state of every slot."""
