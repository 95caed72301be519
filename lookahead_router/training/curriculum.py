"""What training shows of the responses and what it asks for: the masking curriculum, and teacher forcing."""

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


def mask_responses(
    response_ids: torch.Tensor, response_lengths: torch.Tensor, mid_token_ids: torch.Tensor, mask_rate: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots that show the start of each response, and its last tokens, which are hidden and to be rebuilt (paper §4).

    Args:
        response_ids: `(B, K, M)`, right-padded with anything.
        response_lengths: `(B, K)`, 0 for an empty or missing response.
        mid_token_ids: `(K,)` what stands in a hidden or unused slot.
        mask_rate: in (0, 1]; at least one token of a non-empty response is hidden.

    Returns:
        `(B, K, M)` slot ids, and `(B, K, M)` targets with `IGNORE_INDEX` outside the hidden tokens.
    """
    lengths = response_lengths[..., None]
    n_masked = (lengths * mask_rate).long().clamp(min=1).minimum(lengths)
    slot = torch.arange(response_ids.shape[2], device=response_ids.device)
    is_shown = slot < lengths - n_masked
    is_target = (slot < lengths) & ~is_shown
    slots = torch.where(is_shown, response_ids, mid_token_ids[None, :, None])
    return slots, torch.where(is_target, response_ids, torch.full_like(response_ids, IGNORE_INDEX))


def next_token_targets(response_ids: torch.Tensor, response_lengths: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """What a causal network says after its MID token and after each response token (paper §4).

    A response that fills its slots may go on, so nothing is asked after its last token.

    Args:
        response_ids: `(B, K, M)`, right-padded with anything.
        response_lengths: `(B, K)`, 0 for an empty or missing response, of which nothing is asked.
        eos_token_id: ends a response that is shorter than its slots.

    Returns:
        `(B, K, M+1)` targets with `IGNORE_INDEX` where nothing is asked.
    """
    M = response_ids.shape[2]
    lengths = response_lengths[..., None]
    slot = torch.arange(M + 1, device=response_ids.device)
    following = torch.nn.functional.pad(response_ids, (0, 1))
    targets = torch.where(slot < lengths, following, torch.full_like(following, IGNORE_INDEX))
    is_end = (slot == lengths) & (lengths > 0) & (lengths < M)
    return targets.masked_fill(is_end, eos_token_id)
