"""The token layouts: one prompt, then one block for each candidate.

    masked   [PAD ...] CLS prompt SEP | MID_1 x M, SEP | MID_2 x M, SEP | ... | MID_K x M, SEP
    causal   [PAD ...] prompt | MID_1 (response_1) | MID_2 (response_2) | ... | MID_K (response_K)

Prompts are padded on the left, so that the distance from a prompt token to a slot, which backbones
with local attention windows look at, does not depend on the batch.
"""

import torch


def packed_positions(prompt_mask: torch.Tensor, n_blocks: int, block_length: int) -> torch.Tensor:
    """`(B, T + n*L)` position ids: the prompt's from 0, and each block's right after them.

    Args:
        prompt_mask: `(B, T)`, 1 on the prompt and its frame, 0 on the padding to the left.
        n_blocks: blocks after the prompt.
        block_length: L, or 0 without blocks.
    """
    prompt = (prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    if block_length == 0:
        return prompt
    length = prompt_mask.sum(dim=1, keepdim=True)
    block = torch.arange(block_length, device=prompt_mask.device).repeat(n_blocks)
    return torch.cat([prompt, length + block[None, :]], dim=1)


def packed_causal_mask(prompt_mask: torch.Tensor, n_blocks: int, block_length: int) -> torch.Tensor:
    """`(B, 1, N, N)` additive float mask, N = T + n*L: 0 where a token may look, else the lowest float.

    Every token looks at what precedes it, a block's tokens at the prompt and at their own block only.
    Given as a whole because backbones take repeated positions for packed samples and would cut the
    blocks off from the prompt. Padding looks at itself, so that no row of the softmax is empty.
    """
    T = prompt_mask.shape[1]
    index = torch.arange(T + n_blocks * block_length, device=prompt_mask.device)
    block = torch.where(index < T, -1, (index - T).div(block_length, rounding_mode="floor"))
    is_causal = index[None, :] <= index[:, None]
    is_visible = (block[None, :] == -1) | (block[None, :] == block[:, None])
    in_blocks = prompt_mask.new_ones(prompt_mask.shape[0], n_blocks * block_length)
    is_token = torch.cat([prompt_mask, in_blocks], dim=1).bool()
    allowed = (is_causal & is_visible)[None] & is_token[:, None, :] | (index[None, :] == index[:, None])[None]
    return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)[:, None]
