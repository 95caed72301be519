"""`LookaheadMLM`: response prediction with a masked-language encoder (paper §4, §C)."""

import torch
from torch import nn

from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.configuration import LookaheadMLMConfig
from lookahead_router.networks.heads import ReconstructionHead, ScoreHead
from lookahead_router.networks.outputs import LookaheadOutput
from lookahead_router.networks.packing import packed_positions


class LookaheadMLM(LookaheadNetwork):
    """Foresees the start of every candidate's response and scores the candidates.

    Slots hold their candidate's MID token; one pass turns them into latents under full attention between
    prompt and blocks, and the first token (CLS) is read out into one score per candidate.
    """

    configuration: LookaheadMLMConfig

    def __init__(self, config: LookaheadMLMConfig, backbone: nn.Module | None = None) -> None:
        super().__init__(config, backbone)
        vocabulary_size, hidden_size = self.embedding.shape
        self.score_head = ScoreHead(hidden_size, config.n_candidates, config.head_dropout)
        self.reconstruction_head = ReconstructionHead(hidden_size, vocabulary_size)

    def forward(
        self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, slot_ids: torch.Tensor | None = None
    ) -> LookaheadOutput:
        config = self.configuration
        B, K, M = prompt_ids.shape[0], config.n_candidates, config.n_slots
        if slot_ids is None:
            slot_ids = self.mid_token_ids[None, :, None].expand(B, K, M)
        blocks = slot_ids
        if M:
            blocks = torch.cat([slot_ids, torch.full_like(slot_ids[:, :, :1], config.sep_token_id)], dim=2)
        hidden, T = self._encode(prompt_ids, prompt_mask, blocks), prompt_ids.shape[1]
        H = hidden.shape[2]
        first = prompt_mask.argmax(dim=1)[:, None, None].expand(-1, 1, H)
        cls = hidden.gather(1, first).squeeze(1)
        latents = hidden[:, T:].reshape(B, K, config.block_length, H)[:, :, :M]
        return LookaheadOutput(self._score_logits(self.score_head(cls)), latents)

    def _encode(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
        """`(B, T + n*L, H)` states of prompts followed by their `(B, n, L)` blocks."""
        _, n, length = blocks.shape
        flat = blocks.flatten(1)
        return self.backbone(
            input_ids=torch.cat([prompt_ids, flat], dim=1),
            attention_mask=torch.cat([prompt_mask, torch.ones_like(flat)], dim=1),
            position_ids=packed_positions(prompt_mask, n, length),
        ).last_hidden_state

    def reconstruct(self, states: torch.Tensor) -> torch.Tensor:
        return self.reconstruction_head(states, self.embedding)
