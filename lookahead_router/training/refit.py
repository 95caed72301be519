"""The score head, trained anew on the frozen states of a trained backbone.

While everything trains together, the head chases states that still move. Afterwards it costs one pass
over the data and some seconds to fit a head to the states as they are.
"""

import copy

import numpy as np
import torch
from torch import nn
from transformers import get_cosine_schedule_with_warmup

from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.training.batches import Collator, TokenizedDataset
from lookahead_router.training.objectives import routing_loss
from lookahead_router.training.recipe import ObjectiveSettings, RefitSettings


def readout_states(network: LookaheadNetwork, dataset: TokenizedDataset, batch_size: int) -> torch.Tensor:
    """`(n, H)` or `(n, K, H)` what the score head reads of every prompt, fully masked as in routing."""
    was_training = network.training
    network.eval()
    seen: list[torch.Tensor] = []
    hook = network.score_head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0].float().cpu()))
    collate = Collator(network.configuration.pad_token_id)
    device = network.mid_token_ids.device
    order = np.argsort([len(ids) for ids in dataset.prompt_ids], kind="stable")
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                batch = collate([dataset[int(row)] for row in order[start : start + batch_size]])
                network(batch["prompt_ids"].to(device), batch["prompt_mask"].to(device))
    finally:
        hook.remove()
        network.train(was_training)
    return torch.cat(seen)[torch.from_numpy(np.argsort(order))].clone()


def fit_head(
    head: nn.Module,
    states: torch.Tensor,
    dataset: TokenizedDataset,
    objective: ObjectiveSettings,
    settings: RefitSettings,
    *,
    seed: int,
) -> nn.Module:
    """A head of the same kind with fresh weights, trained on the states.

    Args:
        head: the kind to train, which stays as it is.
        states: of the dataset's prompts, in their order.
        dataset: targets and weights.
        objective: of the routing loss.
        settings: how long and how fast.
        seed: of fresh weights, dropout and the order of rows.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    fresh = copy.deepcopy(head).train()
    fresh.reset_parameters()
    fresh.dropout.p = settings.dropout
    targets, weights = torch.from_numpy(dataset.targets), torch.from_numpy(dataset.weights)
    n_steps = max(1, int(settings.n_epochs * -(-len(states) // settings.batch_size)))
    optimizer = torch.optim.AdamW(fresh.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = get_cosine_schedule_with_warmup(optimizer, n_steps // 10, n_steps)
    step = 0
    while step < n_steps:
        order = torch.from_numpy(generator.permutation(len(states)))
        for rows in order.split(settings.batch_size)[: n_steps - step]:
            loss = routing_loss(
                fresh(states[rows]).flatten(1),
                targets[rows],
                objective,
                weights=weights[rows],
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
    fresh.dropout.p = head.dropout.p
    return fresh.train(head.training)
