"""Whether a backbone computes what the packed layouts count on: that attention masks and positions say it all."""

import torch

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.clm import LookaheadCLM

TOLERANCE = 1e-4
"""Norm of the difference of two results that should be one, over the norm of the result: some hundred times what
the rounding of float32 leaves."""
N_PADDING = 5


def check_backbone(network: LookaheadNetwork, n_slots: int) -> None:
    """Compares, on random tokens as long as the longest row, results that the layouts take to be equal.

    `LookaheadCLM`: the last candidate's block beside all others and padding, and alone after the prompt in a pass
    of the plain backbone. `LookaheadMLM`: a prompt with padding and without.

    Args:
        network: in whichever mode; stays in it.
        n_slots: M, response tokens of each block in training.

    Raises:
        ConfigurationError: they differ, or the backbone cannot run at all.
    """
    kind = network.backbone.config.model_type
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            packed, plain = _two_results(network, n_slots)
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:  # of whatever model code
        raise ConfigurationError(
            f"a {kind!r} backbone cannot run as this network needs it: {error}; choose another family"
        ) from error
    finally:
        network.train(was_training)
    difference = float((packed - plain).norm() / plain.norm())
    if difference <= TOLERANCE:
        return
    if isinstance(network, LookaheadCLM):
        raise ConfigurationError(
            f"a {kind!r} backbone gives a candidate other states beside the other candidates than alone, by a share of "
            f"{difference:.1e}: it has recurrent or convolutional layers, or windows shorter than prompt and block, "
            "or looks ahead. Choose a decoder that attends to all that precedes (llama, qwen3, gpt2, ...), or lower "
            "network.max_prompt_tokens or network.n_slots"
        )
    raise ConfigurationError(
        f"a {kind!r} backbone gives a prompt other scores with padding than without, by a share of {difference:.1e}: "
        "the prompts beside it would change its route. Choose an encoder that minds its attention mask "
        "(bert, modernbert, ...)"
    )


def _two_results(network: LookaheadNetwork, n_slots: int) -> tuple[torch.Tensor, torch.Tensor]:
    configuration, device = network.configuration, network.mid_token_ids.device
    generator = torch.Generator().manual_seed(0)  # not the global one, which a run's weights and order come from

    def tokens(*shape: int) -> torch.Tensor:
        return torch.randint(len(network.embedding), shape, generator=generator).to(device)

    frame = (configuration.prompt_prefix, configuration.prompt_suffix)
    prefix, suffix = (torch.tensor([ids], dtype=torch.long, device=device) for ids in frame)
    prompt = torch.cat([prefix, tokens(1, configuration.max_prompt_tokens), suffix], dim=1)
    padding = torch.full((1, N_PADDING), configuration.pad_token_id, device=device)
    padded = torch.cat([padding, prompt], dim=1)
    mask = torch.cat([torch.zeros_like(padding), torch.ones_like(prompt)], dim=1)
    if not isinstance(network, LookaheadCLM):
        return network(padded, mask).score_logits, network(prompt, torch.ones_like(prompt)).score_logits
    responses = tokens(1, configuration.n_candidates, n_slots)
    packed = network(padded, mask, responses).latents[:, -1]
    row = torch.cat([prompt, network.mid_token_ids[None, -1:], responses[:, -1]], dim=1)
    plain = network.backbone(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False).last_hidden_state
    return packed, plain[:, prompt.shape[1] :]
