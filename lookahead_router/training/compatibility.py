"""Whether a backbone computes what the networks count on: masks that separate, and a linear language-model head."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.clm import LookaheadCLM

TOLERANCE = 1e-4
"""Norm of the difference of two results that should be one, over the norm of the result: some hundred times what
the rounding of float32 leaves."""
N_PADDING = 5


def check_backbone(network: LookaheadNetwork, n_slots: int) -> None:
    """Compares, on random tokens that fill the prompt window, results that the layouts take to be equal.

    `LookaheadCLM`: the last candidate's block beside all others and padding, and alone after the prompt in a pass
    of the plain backbone. `LookaheadMLM`: a prompt with padding and without.

    Args:
        network: on the device that it will train on; in training mode afterwards if it was before.
        n_slots: M, response tokens of each block in training.

    Raises:
        ConfigurationError: they differ, or the backbone cannot run at all.
    """
    kind = network.backbone.config.model_type
    with _evaluating(network):
        difference = _difference(*_two_results(network, n_slots))
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


def check_head(network: LookaheadCLM, model: nn.Module) -> None:
    """Compares the logits that responses are rebuilt by with those of the pretrained model, less a bias.

    Raises:
        ConfigurationError: they differ, so that what the model knows of language would be lost.
    """
    ids = torch.randint(len(network.embedding), (1, 8), generator=torch.Generator().manual_seed(0))
    with _evaluating(network):
        rebuilt = network.reconstruct(network.backbone(input_ids=ids, use_cache=False).last_hidden_state)
        own = model(input_ids=ids, use_cache=False).logits
        bias = getattr(model.get_output_embeddings(), "bias", None)
        difference = _difference(rebuilt, own if bias is None else own - bias)
    if difference > TOLERANCE:
        kind = network.backbone.config.model_type
        raise ConfigurationError(
            f"the head of a {kind!r} model is more than a product with its output embedding "
            f"(logits differ by a share of {difference:.1e}); choose another family (llama, qwen3, gpt2, ...)"
        )


@contextmanager
def _evaluating(network: LookaheadNetwork) -> Iterator[None]:
    """Passes without dropout and gradients; what breaks in one, in whatever model code, is the backbone's."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError) as error:
        raise ConfigurationError(
            f"a {network.backbone.config.model_type!r} backbone cannot run as this network needs it "
            f"({type(error).__name__}: {error}); choose another family, or lower network.max_prompt_tokens if memory "
            "ran out"
        ) from error
    finally:
        network.train(was_training)


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


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
