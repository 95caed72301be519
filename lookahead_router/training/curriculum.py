"""The masking curriculum: responses are shown first, then hidden token by token from their end."""

from dataclasses import dataclass

import torch

from lookahead_router.training.objectives import IGNORE_INDEX


@dataclass(frozen=True)
class MaskingCurriculum:
    """Mask rate as a function of the optimiser step (paper §4).

    Driven by the step and nothing else, so it is the same for any number of workers or processes
    and after a resume.
    """

    initial_mask_rate: float = 0.3
    """rho_0: share of each response masked at step 0."""
    warmup_share: float = 0.4
    """alpha: share of all steps after which responses are masked whole; 0 masks them whole at once."""

    def mask_rate(self, step: int, total_steps: int) -> float:
        """The share of each response to mask at `step`, in [rho_0, 1]."""
        warmup_steps = self.warmup_share * total_steps
        if step >= warmup_steps:
            return 1.0
        return self.initial_mask_rate + (1.0 - self.initial_mask_rate) * step / warmup_steps


def end_masked_blocks(
    response_ids: torch.Tensor,
    response_lengths: torch.Tensor,
    mid_token_ids: torch.Tensor,
    sep_token_id: int,
    mask_rate: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Blocks whose responses are hidden from the end on, and the tokens to rebuild (paper §4).

    Args:
        response_ids: `(B, K, M)`, right-padded with anything.
        response_lengths: `(B, K)`, 0 for an empty or missing response.
        mid_token_ids: `(K,)`.
        sep_token_id: closes every block.
        mask_rate: in (0, 1]; at least one token of a non-empty response is masked.

    Returns:
        `(B, K, M+1)` block ids, and `(B, K, M)` targets with `IGNORE_INDEX` outside the masked tokens.
    """
    B, K, M = response_ids.shape
    lengths = response_lengths[..., None]
    n_masked = (lengths * mask_rate).long().clamp(min=1).minimum(lengths)
    slot = torch.arange(M, device=response_ids.device)
    is_kept = slot < lengths - n_masked
    is_target = ~is_kept & (slot < lengths)
    mids = mid_token_ids[None, :, None].expand(B, K, M)
    blocks = torch.where(is_kept, response_ids, mids)
    separators = torch.full((B, K, 1), sep_token_id, dtype=blocks.dtype, device=blocks.device)
    targets = torch.where(is_target, response_ids, torch.full_like(response_ids, IGNORE_INDEX))
    return torch.cat([blocks, separators], dim=2), targets
