"""The losses of joint training, L = L_route + lambda * L_reconstruction (paper §4)."""

import torch
from torch.nn import functional as F

IGNORE_INDEX = -100


def scale_per_prompt(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores scaled to [0, 1] over each prompt's candidates, and which entries carry a ranking.

    A row whose judged candidates all score the same says nothing about which is better (scaled by
    the published scripts to zeros, it would label all of them positive). Its entries are
    marked undecided here, as are missing scores.

    Args:
        scores: `(B, K)` in [0, 1], NaN where not judged.

    Returns:
        `(B, K)` scaled scores (0 where undecided) and a `(B, K)` bool mask of decided entries.
    """
    judged = ~scores.isnan()
    low = scores.masked_fill(~judged, float("inf")).amin(dim=1, keepdim=True)
    high = scores.masked_fill(~judged, float("-inf")).amax(dim=1, keepdim=True)
    decided = judged & (high > low)
    scaled = (scores - low) / (high - low)
    return torch.where(decided, scaled, torch.zeros_like(scores)), decided


def routing_loss(
    score_logits: torch.Tensor,
    scores: torch.Tensor,
    *,
    threshold: float | None = 0.8,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary cross-entropy of "this candidate is near the best", a scalar (paper §4, §C.4).

    Args:
        score_logits: `(B, K)`.
        scores: `(B, K)` observed, NaN where not judged.
        threshold: a candidate is near the best from this share of the per-prompt scale; `None`
            takes the scaled scores themselves as soft targets.
        weights: `(B,)` weight of each prompt, mean 1 over the dataset.

    Returns:
        The mean over decided entries; 0 where a batch has none.
    """
    scaled, decided = scale_per_prompt(scores.float())
    targets = scaled if threshold is None else (scaled >= threshold).float()
    losses = F.binary_cross_entropy_with_logits(score_logits.float(), targets, reduction="none")
    if weights is not None:
        losses = losses * weights[:, None]
    return (losses * decided).sum() / decided.sum().clamp(min=1)


def reconstruction_loss(token_logits: torch.Tensor, token_targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the masked response tokens, a scalar (paper §4).

    Args:
        token_logits: `(N, V)` at the target positions only.
        token_targets: `(N,)`.
    """
    if token_targets.numel() == 0:
        return token_logits.sum() * 0.0
    return F.cross_entropy(token_logits.float(), token_targets)
