"""`LookaheadMLM`: response prediction with a masked-language encoder (paper §4, §C)."""

import torch
from torch import nn

from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.configuration import LookaheadMLMConfig
from lookahead_router.networks.heads import LatentReadout, ReconstructionHead, ScoreHead
from lookahead_router.networks.outputs import LookaheadOutput
from lookahead_router.networks.packing import packed_positions


class LookaheadMLM(LookaheadNetwork):
    """Foresees the start of every candidate's response and scores the candidates.

    Joint prediction: slots hold their candidate's MID token; one pass turns them into latents under
    full attention between prompt and blocks, and the first token (CLS) is read out into one score per
    candidate. Separate prediction: each candidate has a pass of its own over the prompt, its MID token
    and mask tokens, and the MID token is read out.
    """

    configuration: LookaheadMLMConfig

    def __init__(self, config: LookaheadMLMConfig, backbone: nn.Module | None = None) -> None:
        super().__init__(config, backbone)
        vocabulary_size, hidden_size = self.embedding.shape
        is_joint = config.prediction == "joint"
        self.score_head = ScoreHead(hidden_size, config.n_candidates if is_joint else 1, config.head_dropout)
        self.latent_readout = LatentReadout(hidden_size) if config.readout == "cls+latents" else None
        self.reconstruction_head = ReconstructionHead(hidden_size, vocabulary_size)
        fillers = self.mid_token_ids.clone()
        if config.mask_token_id is not None and not is_joint:
            fillers.fill_(config.mask_token_id)
        self.register_buffer("filler_token_ids", fillers, persistent=False)

    def forward(
        self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, slot_ids: torch.Tensor | None = None
    ) -> LookaheadOutput:
        config = self.configuration
        B, K, M = prompt_ids.shape[0], config.n_candidates, config.n_slots
        if slot_ids is None:
            slot_ids = self.filler_token_ids[None, :, None].expand(B, K, M)
        if config.prediction == "separate":
            return self._separately(prompt_ids, prompt_mask, slot_ids)
        blocks = slot_ids
        if M:
            blocks = torch.cat([slot_ids, torch.full_like(slot_ids[:, :, :1], config.sep_token_id)], dim=2)
        hidden, T = self._encode(prompt_ids, prompt_mask, blocks), prompt_ids.shape[1]
        H = hidden.shape[2]
        first = prompt_mask.argmax(dim=1)[:, None, None].expand(-1, 1, H)
        cls = hidden.gather(1, first).squeeze(1)
        latents = hidden[:, T:].reshape(B, K, config.block_length, H)[:, :, :M]
        score_logits = self.score_head(cls)
        if self.latent_readout is not None:
            score_logits = score_logits + self.latent_readout(latents)
        return LookaheadOutput(self._score_logits(score_logits), latents)

    def _separately(
        self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, slot_ids: torch.Tensor
    ) -> LookaheadOutput:
        B, K, M = slot_ids.shape
        mids = self.mid_token_ids[None, :, None].expand(B, K, 1)
        blocks = torch.cat([mids, slot_ids, torch.full_like(mids, self.configuration.sep_token_id)], dim=2)
        rows_ids, rows_mask = (tensor.repeat_interleave(K, dim=0) for tensor in (prompt_ids, prompt_mask))
        hidden = self._encode(rows_ids, rows_mask, blocks.reshape(B * K, 1, M + 2))[:, prompt_ids.shape[1] :]
        hidden = hidden.reshape(B, K, M + 2, -1)
        score_logits = self._score_logits(self.score_head(hidden[:, :, 0]).squeeze(-1))
        return LookaheadOutput(score_logits, hidden[:, :, 1:-1])

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
