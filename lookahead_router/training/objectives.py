"""The losses of joint training, L = L_route + lambda * L_reconstruction (paper §4); L_route is one of `OBJECTIVES`.

Reading a recipe needs the names alone, so torch is loaded by the losses only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from lookahead_router.training.recipe import ObjectiveSettings

IGNORE_INDEX = -100


@dataclass(frozen=True)
class Objective:
    """A choice of L_route: what it compares the logits with, and how."""

    targets: "Callable[[torch.Tensor, torch.Tensor, ObjectiveSettings], torch.Tensor]"
    """From `(B, K)` scores scaled per prompt and scores as they are to `(B, K)` targets."""
    losses: "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, ObjectiveSettings], torch.Tensor]"
    """From `(B, K)` logits, targets (0 where unknown) and whether they are known to `(B,)` losses."""
    is_relative: bool = False
    """Whether candidates are ranked against each other, so that only differences of logits mean anything."""
    has_distributions: bool = False
    """Whether the targets of a prompt are a distribution over its judged candidates."""


def _near_the_best(scaled, scores, settings):
    return scaled if settings.threshold is None else (scaled >= settings.threshold).float()


def _each_for_itself(logits, targets, known, settings):
    from torch.nn import functional as F

    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def _the_best(scaled, scores, settings):
    is_best = (scaled == 1).float()
    return is_best / is_best.sum(dim=1, keepdim=True).clamp(min=1)


def _cross_entropy(logits, targets, known, settings):
    return -(targets * _log_softmax(logits, known)).sum(dim=1)


def _regret_of_a_draw(logits, targets, known, settings):
    log_choice = _log_softmax(logits, known)
    choice = log_choice.exp() * known
    entropy = -(choice * log_choice).sum(dim=1)
    return targets.amax(dim=1) - (choice * targets).sum(dim=1) - settings.temperature * entropy


OBJECTIVES = {
    "bce": Objective(_near_the_best, _each_for_itself),
    "ce": Objective(_the_best, _cross_entropy, is_relative=True, has_distributions=True),
    "expected-regret": Objective(lambda scaled, scores, settings: scores, _regret_of_a_draw, is_relative=True),
}
"""- `bce`: binary cross-entropy of "this candidate is near the best", each for itself (paper §4, §C.4). Near is a
  scaled score of at least `threshold`; without one, the scaled scores are soft targets.
- `ce`: cross-entropy to the best candidate; tied ones share the target.
- `expected-regret`: what is lost against the best, in units of the score, by a router that draws its choice from the
  softmax of the logits; less `temperature` times the entropy of that choice. The only one that weighs a mistake by its
  price, and not in the paper. Certainty comes early where the temperature is low: a candidate that loses on most
  prompts may never be chosen.
"""


def scale_per_prompt(scores: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
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
    return ((scores - low) / (high - low)).masked_fill(~decided, 0.0), decided


def routing_targets(scores: "torch.Tensor", settings: "ObjectiveSettings") -> "torch.Tensor":
    """What an objective compares the logits with.

    Args:
        scores: `(B, K)` observed in [0, 1], NaN where not judged.
        settings: which objective, and its threshold.

    Returns:
        `(B, K)`, NaN where a candidate was not judged and on prompts that rank nothing.
    """
    scores = scores.float()
    scaled, decided = scale_per_prompt(scores)
    return OBJECTIVES[settings.routing].targets(scaled, scores, settings).masked_fill(~decided, float("nan"))


def routing_loss(
    score_logits: "torch.Tensor",
    targets: "torch.Tensor",
    settings: "ObjectiveSettings",
    *,
    weights: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """How far the score logits are from ranking the candidates as observed, a scalar.

    Args:
        score_logits: `(B, K)`.
        targets: `(B, K)` of the same objective, NaN where nothing is known.
        settings: which objective, and its temperature.
        weights: `(B,)` weight of each prompt, mean 1 over the dataset.

    Returns:
        The mean over prompts with targets; 0 where a batch has none.
    """
    known = ~targets.isnan()
    losses = OBJECTIVES[settings.routing].losses(
        score_logits.float(), targets.float().masked_fill(~known, 0.0), known, settings
    )
    if weights is not None:
        losses = losses * weights
    ranks = known.any(dim=1)
    return (losses * ranks).sum() / ranks.sum().clamp(min=1)


def reconstruction_loss(token_logits: "torch.Tensor", token_targets: "torch.Tensor") -> "torch.Tensor":
    """Mean cross-entropy of the masked response tokens, a scalar (paper §4).

    Args:
        token_logits: `(N, V)` at the target positions only.
        token_targets: `(N,)`.
    """
    from torch.nn import functional as F

    if token_targets.numel() == 0:
        return token_logits.sum() * 0.0
    return F.cross_entropy(token_logits.float(), token_targets)


def _log_softmax(values: "torch.Tensor", where: "torch.Tensor") -> "torch.Tensor":
    """`(B, K)` log-softmax over the marked entries; 0 at the others, and in rows that have none."""
    no_entry = ~where.any(dim=1, keepdim=True)  # an empty softmax would be NaN, and so its gradient
    return values.masked_fill(~(where | no_entry), float("-inf")).log_softmax(dim=1).masked_fill(~where, 0.0)
