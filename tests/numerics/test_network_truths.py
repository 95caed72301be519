"""Truths about the network that any implementation of the method must keep (method A.7)."""

import torch

from lookahead_router.networks.mlm import LookaheadMLM

SHORT = torch.tensor([[2, 20, 21, 3]])


def pad_left(ids, n):
    padded = torch.cat([torch.zeros(1, n, dtype=torch.long), ids], dim=1)
    mask = torch.cat([torch.zeros(1, n, dtype=torch.long), torch.ones_like(ids)], dim=1)
    return padded, mask


def scores(network, ids, mask, **kwargs):
    with torch.inference_mode():
        return network(ids, mask, **kwargs).score_logits


def test_padding_does_not_change_scores(network):
    expected = scores(network, SHORT, torch.ones_like(SHORT))
    for n in (1, 3, 9):
        torch.testing.assert_close(scores(network, *pad_left(SHORT, n)), expected, rtol=0, atol=1e-5)


def test_what_stands_in_the_padding_does_not_change_scores(network):
    ids, mask = pad_left(SHORT, 5)
    expected = scores(network, ids, mask)
    ids[:, :5] = 17
    torch.testing.assert_close(scores(network, ids, mask), expected, rtol=0, atol=1e-5)


def test_neighbours_in_the_batch_do_not_change_scores(network):
    expected = scores(network, SHORT, torch.ones_like(SHORT))
    ids, mask = pad_left(SHORT, 4)
    batch = torch.cat([ids, torch.full_like(ids, 15)])
    batch_mask = torch.cat([mask, torch.ones_like(mask)])
    torch.testing.assert_close(scores(network, batch, batch_mask)[:1], expected, rtol=0, atol=1e-5)


def test_routing_is_the_fully_masked_pass(network):
    mids = torch.tensor(network.configuration.mid_token_ids)
    blocks = torch.cat([mids[:, None].expand(-1, 4), torch.full((3, 1), 3)], dim=1)[None]
    mask = torch.ones_like(SHORT)
    torch.testing.assert_close(
        scores(network, SHORT, mask, block_ids=blocks), scores(network, SHORT, mask), rtol=0, atol=0
    )


def test_a_revealed_response_token_does_change_scores_so_routing_must_reveal_none(network):
    blocks = network.masked_block_ids[None].clone()
    blocks[0, 1, 0] = 17
    mask = torch.ones_like(SHORT)
    difference = scores(network, SHORT, mask, block_ids=blocks) - scores(network, SHORT, mask)
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
