"""The losses of a demand network, and what it learns about the candidates on the way."""

from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.nn import functional as F

from lookahead_router.networks.outputs import DemandOutput
from lookahead_router.training.demand_recipe import DemandObjectiveSettings

TYPICAL_LOG_TOKENS = 5.0
"""Where log tokens start from: 150 tokens."""


class Abilities(nn.Module):
    """What training believes of `K` candidates; profiles are fitted anew afterwards."""

    def __init__(self, n_candidates: int, n_demands: int, n_offsets: int) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.zeros(n_candidates))
        self.abilities = nn.Parameter(0.1 * torch.randn(n_candidates, n_demands))
        self.lengths = nn.Parameter(torch.zeros(n_candidates))
        self.verbosities = nn.Parameter(torch.zeros(n_candidates))
        self.offsets = nn.Parameter(torch.zeros(n_offsets))
        """How lenient each judge is; the first is 0 and stays there."""

    def logits(self, output: DemandOutput, rows: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """`(n,)` logits of a good answer of candidates to prompts of the batch, before a judge's offset."""
        met = (self.abilities[candidates] * output.demands[rows]).sum(dim=1)
        return self.levels[candidates] + met - output.difficulty[rows]

    def all_logits(self, output: DemandOutput, candidates: torch.Tensor) -> torch.Tensor:
        """`(B, k)` logits of these candidates on the whole batch."""
        return self.levels[candidates] + output.demands @ self.abilities[candidates].T - output.difficulty[:, None]

    def prior(self, settings: DemandObjectiveSettings) -> torch.Tensor:
        """Negative logarithm of the prior density, less a constant."""
        return 0.5 * (
            (self.abilities / settings.ability_std).square().sum()
            + (self.levels / settings.level_std).square().sum()
            + (self.offsets / settings.offset_std).square().sum()
            + self.lengths.square().sum()
            + self.verbosities.square().sum()
        )


@dataclass(frozen=True)
class Answers:
    """Judged answers to the prompts of a batch."""

    rows: torch.Tensor
    """`(n,)` int: of the batch."""
    candidates: torch.Tensor
    """`(n,)` int."""
    sources: torch.Tensor
    """`(n,)` int, of the offsets."""
    scores: torch.Tensor
    """`(n,)` in [0, 1]."""
    log_tokens: torch.Tensor
    """`(n,)`, NaN where unknown."""
    weights: torch.Tensor
    """`(n,)` that give prompts with many answers no more than their due."""

    def to(self, device: torch.device) -> "Answers":
        """The answers on another device."""
        return Answers(*(getattr(self, field.name).to(device) for field in fields(self)))

    def shifted(self, n_rows: int) -> "Answers":
        """The answers for the rows of a second view of the batch."""
        return Answers(self.rows + n_rows, self.candidates, self.sources, self.scores, self.log_tokens, self.weights)


def answer_losses(output: DemandOutput, abilities: Abilities, answers: Answers) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the scores, and Huber loss of the log tokens, each a weighted mean."""
    logits = abilities.logits(output, answers.rows, answers.candidates)
    logits = logits - torch.where(answers.sources > 0, abilities.offsets[answers.sources], 0.0)
    total = answers.weights.sum()
    entropy = F.binary_cross_entropy_with_logits(logits, answers.scores, reduction="none")
    is_known = torch.isfinite(answers.log_tokens)
    expected = (
        output.log_tokens[answers.rows]
        + abilities.lengths[answers.candidates]
        + abilities.verbosities[answers.candidates] * output.verbosity[answers.rows]
    )
    aims = torch.where(is_known, answers.log_tokens - TYPICAL_LOG_TOKENS, 0.0)
    lengths = F.smooth_l1_loss(expected, aims, reduction="none", beta=0.5) * is_known
    return (entropy * answers.weights).sum() / total, (lengths * answers.weights).sum() / total


def consistency_loss(output: DemandOutput, logits: torch.Tensor, n_prompts: int) -> torch.Tensor:
    """Squared differences of logits and lengths between the two views of each prompt."""
    lengths = torch.stack([output.log_tokens, output.verbosity], dim=1)
    return (logits[:n_prompts] - logits[n_prompts:]).square().mean() + 0.3 * (
        lengths[:n_prompts] - lengths[n_prompts:]
    ).square().mean()


def choice_loss(logits: torch.Tensor, n_prompts: int) -> torch.Tensor:
    """Squared differences between the two views of each prompt, of what sets a candidate's logits apart."""
    moved = logits[:n_prompts] - logits[n_prompts:]
    return (moved - moved.mean(dim=1, keepdim=True)).square().mean()


def bag_loss(token_logits: torch.Tensor, bags: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the words that each slot stands for, whatever their order.

    Args:
        token_logits: `(N, V)`.
        bags: `(N, W)` ids, -1 where there are fewer.
    """
    is_word = bags >= 0
    found = token_logits.float().log_softmax(dim=1).gather(1, bags.clamp(min=0))
    return -((found * is_word).sum(dim=1) / is_word.sum(dim=1)).mean()
