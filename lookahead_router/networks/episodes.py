"""Training of the small network that reads a candidate's record in context: one episode a step."""

from collections.abc import Callable

import numpy as np
import torch

from lookahead_router.networks.descent import Tensors, descend_on, one_thread

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray] | None]
"""Draws an episode: the rows of the prompts on record, and those of the prompts that are asked; none of both."""


@one_thread()
def train_reader(
    start: dict[str, np.ndarray],
    embeddings: np.ndarray,
    scores: np.ndarray,
    draw: Draw,
    *,
    n_steps: int,
    learning_rate: float,
    weight_decay: float,
    min_record: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """The parameters after descent on the log loss of asked prompts, given records of others.

    Args:
        start: where to begin: `query`, `key` `(n_heads, H, D)`, `trust` `(n_heads,)`, and a hidden layer's `inner`
            `(2 n_heads + 3, hidden)`, `inner_bias`, `outer` `(hidden,)`, `outer_bias` `(1,)`.
        embeddings: `(n, H)` float32 of the prompts, at unit variance a dimension.
        scores: `(n, K)` of the candidates, NaN where not judged.
        draw: what an episode is made of.
        n_steps: episodes.
        learning_rate: at the first step.
        weight_decay: of AdamW, on every parameter.
        min_record: answers on record below which a candidate does not count in an episode.
        seed: of the episodes.
    """
    x = torch.as_tensor(embeddings)
    judged = torch.as_tensor(~np.isnan(scores)).float()
    filled = torch.as_tensor(np.nan_to_num(scores)).float()
    generator = np.random.default_rng(seed)

    def episodes():
        for _ in range(n_steps):
            record, asked = map(torch.as_tensor, draw(generator))
            yield {"record": record, "asked": asked}

    def loss(p: Tensors, rows: Tensors) -> torch.Tensor:
        record, asked = rows["record"], rows["asked"]
        has_record = judged[record].sum(dim=0) >= min_record
        of = torch.nonzero(has_record)[:, 0] if has_record.any() else torch.arange(judged.shape[1])
        known, counts = judged[record][:, of], judged[asked][:, of] * has_record[of]
        logits = read(p, x[asked], x[record], filled[record][:, of], known)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, filled[asked][:, of], reduction="none")
        return (losses * counts).sum() / counts.sum().clamp(min=1.0)

    return descend_on(start, loss, episodes(), n_steps, learning_rate=learning_rate, weight_decay=weight_decay)


def read(p: Tensors, x: torch.Tensor, anchors: torch.Tensor, scores: torch.Tensor, judged: torch.Tensor):
    """`(m, K)` log-odds of a good answer to prompts `(m, H)`, by records of answers to `(n, H)` others.

    The same as `predictors.fitted.in_context.log_odds` computes without torch.
    """
    query, key = (torch.einsum("nh,ahd->and", each, p[name]) for each, name in ((x, "query"), (anchors, "key")))
    fit = query @ key.transpose(1, 2) / key.shape[2] ** 0.5
    weight = (fit - fit.amax(dim=2, keepdim=True)).clamp(min=-20).exp()  # a record of others alone counts as a whole
    n, total, squares = judged.sum(dim=0), (scores * judged).sum(dim=0), (scores**2 * judged).sum(dim=0)
    mean, count = (total + 0.5) / (n + 1), n.clamp(min=1)
    spread = (squares / count - (total / count) ** 2).clamp(min=1e-12).sqrt()
    mass = (weight @ judged).clamp(min=1e-9)
    shift = weight @ ((scores - mean) * judged) / mass
    focus = weight**2 @ judged / mass**2
    about = torch.stack([mean, spread, (n + 1).log() / 6]).T.expand(len(x), -1, -1)
    seen = torch.cat([shift.permute(1, 2, 0), focus.permute(1, 2, 0), about], dim=2)
    hidden = (seen @ p["inner"] + p["inner_bias"]).tanh() @ p["outer"] + p["outer_bias"]
    bounded = mean.clamp(0.02, 0.98)
    return (bounded / (1 - bounded)).log() + (p["trust"][:, None, None] * shift).sum(dim=0) + spread * hidden
