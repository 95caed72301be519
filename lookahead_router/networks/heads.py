"""The heads on the backbone: candidate scores, and the response tokens during training."""

import torch
from torch import nn
from torch.nn import functional as F


class ScoreHead(nn.Module):
    """`(B, H)` read-out state -> `(B, K)` score logits: dense, GELU, norm, dropout, linear (paper §4)."""

    def __init__(self, hidden_size: int, n_candidates: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_size, n_candidates)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fresh weights, drawn from torch's generator."""
        self.dense.reset_parameters()
        self.norm.reset_parameters()
        nn.init.trunc_normal_(self.out.weight, std=self.out.in_features**-0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(self.norm(F.gelu(self.dense(state)))))


class LatentScoreHead(nn.Module):
    """`(B, K, H)` latents -> `(B, K)` score logits, one linear map for all candidates (paper §4)."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_size, 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fresh weights, drawn from torch's generator."""
        nn.init.trunc_normal_(self.out.weight, std=self.out.in_features**-0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.out(self.dropout(latents)).squeeze(-1)


class ReconstructionHead(nn.Module):
    """`(N, H)` slot states -> `(N, V)` token logits through the input embedding, which is tied.

    Called on the gathered target positions only: the vocabulary projection is the most expensive
    product of a training step.
    """

    def __init__(self, hidden_size: int, vocabulary_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, states: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        return F.linear(self.norm(F.gelu(self.dense(states))), embedding, self.bias)
