"""The token layout of joint prediction: one prompt, then one block of slots per candidate.

    [PAD ...] CLS prompt SEP | MID_1 x M, SEP | MID_2 x M, SEP | ... | MID_K x M, SEP

Prompts are padded on the left, so that the distance from a prompt token to a slot, which backbones
with local attention windows look at, does not depend on the batch.
"""

import torch


def masked_blocks(mid_token_ids: torch.Tensor, n_slots: int, sep_token_id: int) -> torch.Tensor:
    """`(K, M+1)` ids of fully masked blocks: every slot its candidate's MID, then SEP."""
    slots = mid_token_ids[:, None].expand(-1, n_slots)
    separators = torch.full_like(mid_token_ids, sep_token_id)[:, None]
    return torch.cat([slots, separators], dim=1)


def packed_positions(prompt_mask: torch.Tensor, n_candidates: int, block_length: int) -> torch.Tensor:
    """`(B, T + K*(M+1))` position ids: the prompt's from 0, and each block's right after them.

    Args:
        prompt_mask: `(B, T)`, 1 on the prompt with its CLS and SEP, 0 on the padding to the left.
        n_candidates: K.
        block_length: M + 1, or 0 without blocks.
    """
    prompt = (prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    if block_length == 0:
        return prompt
    length = prompt_mask.sum(dim=1, keepdim=True)
    block = torch.arange(block_length, device=prompt_mask.device).repeat(n_candidates)
    return torch.cat([prompt, length + block[None, :]], dim=1)
