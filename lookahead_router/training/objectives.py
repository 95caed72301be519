"""The losses of joint training, L = L_route + lambda * L_reconstruction (paper §4)."""

from typing import get_args

import torch
from torch.nn import functional as F

from lookahead_router.training.recipe import RoutingObjective

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


def routing_targets(
    scores: torch.Tensor,
    objective: RoutingObjective = "bce",
    *,
    threshold: float | None = 0.8,
    temperature: float = 0.1,
) -> torch.Tensor:
    """What an objective compares the logits with.

    Args:
        scores: `(B, K)` observed in [0, 1], NaN where not judged.
        objective: see `routing_loss`.
        threshold: `bce`: a candidate is near the best from this share of the per-prompt scale;
            `None` takes the scaled scores themselves as soft targets.
        temperature: `forward-kl`, `reverse-kl`: of the softmax over scaled scores.

    Returns:
        `(B, K)`, NaN where a candidate was not judged and on prompts that rank nothing. `bce`: near the
        best, 0 or 1 or soft; `mse`: scaled scores; `ce`, `forward-kl`, `reverse-kl`: a distribution over
        the judged candidates; `expected-regret`: the scores.
    """
    scores = scores.float()
    scaled, decided = scale_per_prompt(scores)
    if objective == "bce":
        targets = scaled if threshold is None else (scaled >= threshold).float()
    elif objective == "mse":
        targets = scaled
    elif objective == "ce":
        is_best = (decided & (scaled == 1)).float()
        targets = is_best / is_best.sum(dim=1, keepdim=True).clamp(min=1)
    elif objective in ("forward-kl", "reverse-kl"):
        targets = _log_softmax(scaled / temperature, decided).exp()
    elif objective == "expected-regret":
        targets = scores
    else:
        raise ValueError(f"unknown objective {objective!r}; choose one of {', '.join(get_args(RoutingObjective))}")
    return targets.masked_fill(~decided, float("nan"))


def routing_loss(
    score_logits: torch.Tensor,
    targets: torch.Tensor,
    objective: RoutingObjective = "bce",
    *,
    temperature: float = 0.1,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """How far the score logits are from ranking the candidates as observed, a scalar.

    - `bce`: binary cross-entropy of "this candidate is near the best", each for itself (paper §4, §C.4).
    - `ce`: cross-entropy to the best candidate; tied ones share the target.
    - `mse`: squared error of the sigmoid against the scaled score.
    - `forward-kl`, `reverse-kl`: divergence between the softmax of the logits and that of the scaled
      scores over a temperature.
    - `expected-regret`: what is lost against the best, in units of the score, by a router that draws
      its choice from the softmax of the logits; less `temperature` times the entropy of that choice.
      The only objective that weighs a mistake by its price, and not in the paper. Certainty comes
      early where the temperature is low: a candidate that loses on most prompts may never be chosen.

    Args:
        score_logits: `(B, K)`.
        targets: `(B, K)` of the same objective, NaN where nothing is known.
        objective: one of the above.
        temperature: `expected-regret`: price of certainty, in units of the score.
        weights: `(B,)` weight of each prompt, mean 1 over the dataset.

    Returns:
        The mean over prompts with targets; 0 where a batch has none.
    """
    logits, decided = score_logits.float(), ~targets.isnan()
    targets = targets.float().masked_fill(~decided, 0.0)
    log_choice = _log_softmax(logits, decided)
    choice = log_choice.exp() * decided
    if objective == "bce":
        losses = _mean(F.binary_cross_entropy_with_logits(logits, targets, reduction="none"), decided)
    elif objective == "mse":
        losses = _mean((logits.sigmoid() - targets) ** 2, decided)
    elif objective == "ce":
        losses = -(targets * log_choice).sum(dim=1)
    elif objective == "forward-kl":
        losses = (torch.xlogy(targets, targets) - targets * log_choice).sum(dim=1)
    elif objective == "reverse-kl":
        log_targets = targets.clamp(min=torch.finfo(torch.float32).tiny).log()
        losses = (choice * (log_choice - log_targets)).sum(dim=1)
    elif objective == "expected-regret":
        entropy = -(choice * log_choice).sum(dim=1)
        losses = targets.amax(dim=1) - (choice * targets).sum(dim=1) - temperature * entropy
    else:
        raise ValueError(f"unknown objective {objective!r}; choose one of {', '.join(get_args(RoutingObjective))}")
    if weights is not None:
        losses = losses * weights
    ranks = decided.any(dim=1)
    return (losses * ranks).sum() / ranks.sum().clamp(min=1)


def reconstruction_loss(token_logits: torch.Tensor, token_targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the masked response tokens, a scalar (paper §4).

    Args:
        token_logits: `(N, V)` at the target positions only.
        token_targets: `(N,)`.
    """
    if token_targets.numel() == 0:
        return token_logits.sum() * 0.0
    return F.cross_entropy(token_logits.float(), token_targets)


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """`(B, K)` -> `(B,)` mean over the marked entries, 0 where a row has none."""
    return (values * where).sum(dim=1) / where.sum(dim=1).clamp(min=1)


def _log_softmax(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """`(B, K)` log-softmax over the marked entries; 0 at the others, and in rows that have none."""
    no_entry = ~where.any(dim=1, keepdim=True)  # an empty softmax would be NaN, and so its gradient
    return values.masked_fill(~(where | no_entry), float("-inf")).log_softmax(dim=1).masked_fill(~where, 0.0)
