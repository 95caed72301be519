"""The head of a demand network and the candidates' abilities, fitted to states that stay as they are."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from lookahead_router.networks.demands import DemandNetwork
from lookahead_router.networks.outputs import DemandOutput
from lookahead_router.training.demand_answers import Population, draw_answers
from lookahead_router.training.demand_objectives import Abilities, answer_losses, choice_loss, consistency_loss
from lookahead_router.training.demand_recipe import DemandObjectiveSettings, DemandRecipe, HeadSettings

N_ASKED = 64
"""Candidates of a step whose logits have to agree between the views of a prompt, and that everyday prompts ask."""
PRIOR_SHARE = 0.6
"""Answers weigh about so much on average, since a prompt with many counts for no more than its due."""

View = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Pooled prompts, first tokens and slots of the same prompts in one dress."""


def fit_head(
    network: DemandNetwork,
    abilities: Abilities,
    views: Sequence[View],
    rows: Population,
    recipe: DemandRecipe,
    settings: HeadSettings,
) -> None:
    """Fits `network.head` and the abilities from where they are, in place.

    Args:
        network: whose head is fitted.
        abilities: of the candidates of `rows`.
        views: of all prompts of `rows`, the first of them as they are; of the others each step sees one.
        rows: prompts and answers.
        recipe: weights of the losses, and how prompts are drawn.
        settings: of the optimiser.
    """
    device = next(network.head.parameters()).device
    head, dropout, aims = network.head, network.head.dropout.p, recipe.objective
    own = {name: getattr(settings, name) for name in ("everyday_weight", "choice_weight")}
    aims = aims.model_copy(update={name: weight for name, weight in own.items() if weight is not None})
    n_steps = max(1, int(settings.n_epochs * (np.diff(rows.starts) > 0).sum() / settings.batch_size))
    groups = [
        {"params": list(head.parameters()), "weight_decay": settings.weight_decay},
        {"params": list(abilities.parameters()), "weight_decay": 0.0},
    ]
    rates = [settings.learning_rate, 2 * settings.learning_rate]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
    cycle = max(n_steps, 11)  # one of ten steps would warm up in none, which torch divides by
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=cycle, pct_start=0.1)
    random = np.random.default_rng(recipe.seed)
    chances = rows.draw_weights(recipe.data)
    head.train()
    head.dropout.p = settings.dropout
    for _ in range(n_steps):
        drawn = random.choice(rows.n_prompts, settings.batch_size, p=chances)
        others = [views[random.integers(1, len(views))]] if len(views) > 1 else []
        seen = [[states[drawn] for states in view] for view in (views[0], *others)]
        output = network.read(*(torch.cat(states).to(device) for states in zip(*seen, strict=True)))
        losses = view_losses(output, abilities, rows, drawn, aims, recipe.data.max_answers, random)
        loss = sum(losses.values()) + abilities.prior(aims) / (PRIOR_SHARE * len(rows.scores))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    head.dropout.p = dropout
    head.eval()


def view_losses(
    output: DemandOutput,
    abilities: Abilities,
    rows: Population,
    drawn: np.ndarray,
    aims: DemandObjectiveSettings,
    max_answers: int,
    random: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """The weighted losses of a batch but for distillation and reconstruction.

    Args:
        output: of the drawn prompts, and where they are seen twice, of their second view after them.
        abilities: of the candidates.
        rows: prompts and answers.
        drawn: `(B,)` prompts.
        aims: the weights.
        max_answers: to one prompt.
        random: draws answers and candidates.
    """
    n, n_views, device = len(drawn), len(output.difficulty) // len(drawn), output.difficulty.device
    answers = draw_answers(rows, drawn, max_answers, random).to(device)
    parts = {}
    if len(answers.scores):
        losses = [answer_losses(output, abilities, answers.shifted(n * view)) for view in range(n_views)]
        parts["answers"] = sum(entropy for entropy, _ in losses) / n_views
        parts["length"] = aims.length_weight * sum(length for _, length in losses) / n_views
    if not len(rows.often_asked):
        return parts
    logits = abilities.all_logits(output, torch.from_numpy(random.choice(rows.often_asked, N_ASKED)).to(device))
    if n_views == 2:
        parts["consistency"] = aims.consistency_weight * consistency_loss(output, logits, n)
        parts["choice"] = aims.choice_weight * choice_loss(logits, n)
    labels = torch.tensor(rows.labels[drawn], dtype=torch.float32, device=device)
    is_everyday = torch.isfinite(labels)
    if is_everyday.any():
        asked = is_everyday.repeat(n_views)
        wanted = labels.repeat(n_views)[asked][:, None].expand(-1, N_ASKED)
        entropy = F.binary_cross_entropy_with_logits(logits[asked], wanted)
        parts["everyday"] = aims.everyday_weight * entropy * is_everyday.float().mean()
    return parts
