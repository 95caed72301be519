"""Truths about the network that any implementation of the method must keep (method A.7)."""

import pytest
import torch
from conftest import causal_config, llama_config, make_network
from torch.utils.flop_counter import FlopCounterMode

from lookahead_router.networks.build import build_network
from lookahead_router.networks.clm import LookaheadCLM
from lookahead_router.networks.mlm import LookaheadMLM
from lookahead_router.training.curriculum import next_token_targets
from lookahead_router.training.objectives import IGNORE_INDEX, reconstruction_loss

SHORT = torch.tensor([[2, 20, 21, 3]])


def pad_left(ids, n):
    padded = torch.cat([torch.zeros(1, n, dtype=torch.long), ids], dim=1)
    mask = torch.cat([torch.zeros(1, n, dtype=torch.long), torch.ones_like(ids)], dim=1)
    return padded, mask


def scores(network, ids, mask, **kwargs):
    with torch.inference_mode():
        return network(ids, mask, **kwargs).score_logits


def test_padding_does_not_change_scores(any_network):
    network = any_network
    expected = scores(network, SHORT, torch.ones_like(SHORT))
    for n in (1, 3, 9):
        torch.testing.assert_close(scores(network, *pad_left(SHORT, n)), expected, rtol=0, atol=1e-5)


def test_what_stands_in_the_padding_does_not_change_scores(any_network):
    network = any_network
    ids, mask = pad_left(SHORT, 5)
    expected = scores(network, ids, mask)
    ids[:, :5] = 17
    torch.testing.assert_close(scores(network, ids, mask), expected, rtol=0, atol=1e-5)


def test_neighbours_in_the_batch_do_not_change_scores(any_network):
    network = any_network
    expected = scores(network, SHORT, torch.ones_like(SHORT))
    ids, mask = pad_left(SHORT, 4)
    batch = torch.cat([ids, torch.full_like(ids, 15)])
    batch_mask = torch.cat([mask, torch.ones_like(mask)])
    torch.testing.assert_close(scores(network, batch, batch_mask)[:1], expected, rtol=0, atol=1e-5)


def test_routing_is_the_fully_masked_pass(network):
    mids = torch.tensor(network.configuration.mid_token_ids)
    slots = mids[None, :, None].expand(1, -1, 4)
    mask = torch.ones_like(SHORT)
    torch.testing.assert_close(
        scores(network, SHORT, mask, slot_ids=slots), scores(network, SHORT, mask), rtol=0, atol=0
    )


def test_a_revealed_response_token_does_change_scores_so_routing_must_reveal_none(network):
    slots = network.mid_token_ids[None, :, None].repeat(1, 1, 4)
    slots[0, 1, 0] = 17
    mask = torch.ones_like(SHORT)
    difference = scores(network, SHORT, mask, slot_ids=slots) - scores(network, SHORT, mask)
    assert difference.abs().max() > 1e-6


def test_candidates_with_swapped_mids_blocks_and_head_rows_swap_their_scores(network):
    order = [2, 0, 1]
    config = network.configuration
    swapped_config = config.model_copy(update={"mid_token_ids": tuple(config.mid_token_ids[i] for i in order)})
    swapped = LookaheadMLM(swapped_config).eval()
    swapped.load_state_dict(network.state_dict())
    with torch.no_grad():
        swapped.score_head.out.weight.copy_(network.score_head.out.weight[order])
        swapped.score_head.out.bias.copy_(network.score_head.out.bias[order])
    mask = torch.ones_like(SHORT)
    if config.backbone_config["model_type"] == "bert":  # full attention: block order is invisible
        torch.testing.assert_close(
            scores(swapped, SHORT, mask), scores(network, SHORT, mask)[:, order], rtol=0, atol=1e-5
        )
    else:  # a local window sees which block is nearer
        assert not torch.allclose(scores(swapped, SHORT, mask), scores(network, SHORT, mask)[:, order], atol=1e-7)


def test_two_candidates_with_different_mids_get_different_latents(network):
    with torch.inference_mode():
        latents = network(SHORT, torch.ones_like(SHORT)).latents
    assert (latents[0, 0] - latents[0, 1]).abs().max() > 1e-4


def causal_rows(network, prompts, slots):
    """The plain way to a causal network's latents: a row of its own for every prompt and candidate."""
    states = {}
    for b, prompt in enumerate(prompts):
        for k, mid in enumerate(network.configuration.mid_token_ids):
            row = torch.tensor([[*prompt, mid, *slots[b][k]]])
            hidden = network.backbone(input_ids=row).last_hidden_state
            states[b, k] = hidden[0, len(prompt) :]
    return states


@pytest.mark.parametrize("name", ["llama", "llama-untied", "gpt2"])
@torch.inference_mode()
def test_packed_causal_prediction_equals_separate_rows_in_scores_and_loss(name):
    network = make_network(name)
    generator = torch.Generator().manual_seed(1)
    prompts = [[20, 21], [14, 15, 16, 17, 18]]
    slots = torch.randint(13, 23, (2, 3, 4), generator=generator)
    lengths = torch.tensor([[4, 2, 0], [1, 4, 3]])
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    packed = network(ids, mask, slots)
    rows = causal_rows(network, prompts, slots.tolist())
    for (b, k), states in rows.items():
        torch.testing.assert_close(packed.latents[b, k], states, rtol=0, atol=1e-5)
        expected = network.score_head(states[None, None, 0])[0, 0]
        torch.testing.assert_close(packed.score_logits[b, k], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(network(ids, mask).score_logits, packed.score_logits, rtol=0, atol=1e-5)

    targets = next_token_targets(slots, lengths, eos_token_id=3)
    where = targets.flatten() != IGNORE_INDEX
    found = reconstruction_loss(network.reconstruct(packed.latents.flatten(0, 2)[where]), targets.flatten()[where])
    separate = torch.cat([rows[b, k] for b in range(2) for k in range(3)])
    losses = []
    for state, target in zip(separate, targets.flatten().tolist(), strict=True):
        if target != IGNORE_INDEX:
            losses.append(-network.reconstruct(state[None]).log_softmax(dim=1)[0, target])
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-5, atol=1e-6)


def test_a_packed_pass_costs_at_most_a_third_of_a_row_for_each_candidate():
    K, T, M = 5, 98, 16  # the median prompt of lookahead7 and its recipe's slots
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9, "num_key_value_heads": 3}
    backbone = llama_config(**shape, max_position_embeddings=512)  # two layers of SmolLM2-135M's thirty
    network = build_network(causal_config(backbone, n_candidates=K, mid_token_ids=range(5, 5 + K)))
    network.backbone.set_attn_implementation("eager")  # whose products are counted
    ids, slots = torch.zeros(1, T, dtype=torch.long), torch.zeros(1, K, M, dtype=torch.long)
    rows = torch.zeros(K, T + 1 + M, dtype=torch.long)
    flops = {}
    for name, run in (
        ("packed", lambda: network(ids, torch.ones_like(ids), slots).latents),
        ("rows", lambda: network.backbone(input_ids=rows, use_cache=False).last_hidden_state),
    ):
        with FlopCounterMode(display=False) as counter:
            run().sum().backward()
        flops[name] = counter.get_total_flops()
    assert 0 < flops["packed"] <= flops["rows"] / 3


def test_a_response_cannot_reach_a_causal_networks_scores():
    network = make_network("llama")
    mask = torch.ones_like(SHORT)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        slots = torch.randint(13, 23, (1, 3, 6), generator=generator)
        torch.testing.assert_close(
            scores(network, SHORT, mask, slot_ids=slots), scores(network, SHORT, mask), rtol=0, atol=1e-6
        )


def test_candidates_of_a_causal_network_permute_with_their_mids():
    network = make_network("llama")
    order = [2, 0, 1]
    config = network.configuration
    swapped = LookaheadCLM(config.model_copy(update={"mid_token_ids": tuple(config.mid_token_ids[i] for i in order)}))
    swapped.load_state_dict(network.state_dict())
    mask = torch.ones_like(SHORT)
    torch.testing.assert_close(
        scores(swapped.eval(), SHORT, mask), scores(network, SHORT, mask)[:, order], rtol=0, atol=1e-6
    )


def test_relative_scores_keep_the_order_and_lose_the_level(any_network):
    mask = torch.ones_like(SHORT)
    raw = scores(any_network, SHORT, mask)
    any_network.configuration = any_network.configuration.model_copy(update={"score_scale": 2.0})
    relative = scores(any_network, SHORT, mask)
    torch.testing.assert_close(relative, 2.0 * (raw - raw.mean(dim=1, keepdim=True)), rtol=0, atol=1e-6)
