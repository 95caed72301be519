"""Proximal policy optimisation of a small actor with a critic, for decision processes of finite horizon."""

from collections.abc import Callable

import numpy as np
import torch

from lookahead_router.networks.descent import Tensors, one_thread

Observe = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From rows `(b,)`, who was asked `(b, K)` and weights of a dollar `(b,)` to what is seen `(b, D)` and which of the
`2 K` actions are allowed, bool. The first K ask a candidate, the others give its answer and end."""
Reward = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From rows, actions and weights, each `(b,)`, to what an action brings at once, `(b,)`."""
_EPOCHS, _CLIP, _ENTROPY = 4, 0.2, 0.02


@one_thread()
def learn_policy(
    observe: Observe,
    reward: Reward,
    weights: Callable[[np.random.Generator, int], np.ndarray],
    *,
    n_rows: int,
    n_candidates: int,
    n_updates: int,
    n_episodes: int,
    n_hidden: int,
    learning_rate: float,
    seed: int,
    tell: Callable[[float], None] = lambda share: None,
) -> dict[str, np.ndarray]:
    """The actor that earns most, as arrays: two hidden layers `(inner, outer)` and the actions' `act`, with biases.

    Args:
        observe: what the policy sees.
        reward: what an action brings.
        weights: draws so many weights of a dollar; the policy is learnt for all of them at once.
        n_rows: rows that episodes start from.
        n_candidates: K.
        n_updates: rounds of episodes.
        n_episodes: of a round.
        n_hidden: width of both hidden layers.
        learning_rate: of Adam in the first round; it falls to zero along a cosine.
        seed: of all that is random.
        tell: told before every round what share of them is done.
    """
    generator, chance = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    seen, _ = observe(np.zeros(1, dtype=int), np.zeros((1, n_candidates), dtype=bool), np.zeros(1))
    p = _start(seen.shape[1], n_hidden, 2 * n_candidates, chance)
    optimizer = torch.optim.Adam(p.values(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_updates)
    for update in range(n_updates):
        tell(update / n_updates)
        rows, worth = generator.integers(n_rows, size=n_episodes), weights(generator, n_episodes)
        batch = _episodes(p, observe, reward, rows, worth, n_candidates, chance)
        for _ in range(_EPOCHS):
            optimizer.zero_grad()
            _loss(p, batch, _ENTROPY * (1 - update / n_updates)).backward()
            torch.nn.utils.clip_grad_norm_(p.values(), 0.5)
            optimizer.step()
        schedule.step()
    return {name: value.detach().numpy() for name, value in p.items() if not name.startswith("value")}


def _start(n_seen: int, n_hidden: int, n_actions: int, chance: torch.Generator) -> Tensors:
    def matrix(rows: int, columns: int, scale: float = 1.0) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=chance) * scale * rows**-0.5).requires_grad_()

    def zeros(n: int) -> torch.Tensor:
        return torch.zeros(n, requires_grad=True)

    return {
        "inner": matrix(n_seen, n_hidden), "inner_bias": zeros(n_hidden),
        "outer": matrix(n_hidden, n_hidden), "outer_bias": zeros(n_hidden),
        "act": matrix(n_hidden, n_actions, 0.01), "act_bias": zeros(n_actions),
        "value": matrix(n_hidden, 1), "value_bias": zeros(1),
    }  # fmt: skip


def _heads(p: Tensors, seen: torch.Tensor, allowed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of actions, and what is still to be earned."""
    hidden = ((seen @ p["inner"] + p["inner_bias"]).tanh() @ p["outer"] + p["outer_bias"]).tanh()
    logits = (hidden @ p["act"] + p["act_bias"]).masked_fill(~allowed, -1e9)
    return logits.log_softmax(dim=1), (hidden @ p["value"] + p["value_bias"])[:, 0]


def _episodes(p, observe, reward, rows, worth, n_candidates: int, chance: torch.Generator) -> Tensors:
    """All steps of a round of episodes: what was seen, done, thought of it, and earned from there on."""
    is_asked = np.zeros((len(rows), n_candidates), dtype=bool)
    active, steps, at = np.arange(len(rows)), [], []
    while len(active):
        seen, allowed = observe(rows[active], is_asked[active], worth[active])
        seen, allowed = torch.as_tensor(seen, dtype=torch.float32), torch.as_tensor(allowed)
        with torch.no_grad():
            logs, value = _heads(p, seen, allowed)
            action = torch.multinomial(logs.exp(), 1, generator=chance)[:, 0]
            log = logs.gather(1, action[:, None])[:, 0]
        chosen = action.numpy()
        earned = torch.as_tensor(reward(rows[active], chosen, worth[active]), dtype=torch.float32)
        steps.append({"seen": seen, "allowed": allowed, "action": action, "log": log, "value": value, "gain": earned})
        at.append(active)
        goes_on = chosen < n_candidates
        is_asked[active[goes_on], chosen[goes_on]] = True
        active = active[goes_on]
    later = torch.zeros(len(rows))
    for step, active in zip(reversed(steps), reversed(at), strict=True):
        later[active] += step["gain"]
        step["gain"] = later[active].clone()
    return {name: torch.cat([step[name] for step in steps]) for name in steps[0]}


def _loss(p: Tensors, batch: Tensors, entropy_weight: float) -> torch.Tensor:
    logs, value = _heads(p, batch["seen"], batch["allowed"])
    advantage = batch["gain"] - batch["value"]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
    ratio = (logs.gather(1, batch["action"][:, None])[:, 0] - batch["log"]).exp()
    gained = torch.minimum(ratio * advantage, ratio.clamp(1 - _CLIP, 1 + _CLIP) * advantage).mean()
    entropy = -(logs.exp() * logs.clamp(min=-50)).sum(dim=1).mean()
    return (value - batch["gain"]).square().mean() - gained - entropy_weight * entropy
