"""Fitting by gradient of small heads over frozen prompt embeddings."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

Tensors = dict[str, torch.Tensor]


@contextmanager
def one_thread() -> Iterator[None]:
    """torch with a single thread: over small tensors more of them wait for each other most of the time."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def descend(
    parameters: dict[str, np.ndarray],
    loss: Callable[[Tensors, Tensors], torch.Tensor],
    rows: dict[str, np.ndarray],
    *,
    n_epochs: int,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The parameters after AdamW on a loss, with the rate falling to zero along a cosine.

    Args:
        parameters: where to start, by name.
        loss: of parameters and a batch of rows, both as tensors by name; a mean over the batch.
        rows: `(n, ...)` arrays by name, drawn in batches without replacement.
        n_epochs: passes over the rows.
        batch_size: rows of a step.
        learning_rate: at the first step.
        weight_decay: of AdamW, on every parameter.
        seed: of the order of rows.

    Returns:
        Arrays of the same names and shapes, float32.
    """
    data = {name: torch.as_tensor(value) for name, value in rows.items()}
    n_rows = len(next(iter(data.values())))
    generator = torch.Generator().manual_seed(seed)

    def batches():
        for _ in range(n_epochs):
            for batch in torch.randperm(n_rows, generator=generator).split(batch_size):
                yield {name: column[batch] for name, column in data.items()}

    n_steps = n_epochs * -(-n_rows // batch_size)
    return descend_on(parameters, loss, batches(), n_steps, learning_rate=learning_rate, weight_decay=weight_decay)


def descend_on(
    parameters: dict[str, np.ndarray],
    loss: Callable[[Tensors, Tensors], torch.Tensor],
    batches: Iterable[Tensors],
    n_steps: int,
    *,
    learning_rate: float,
    weight_decay: float,
) -> dict[str, np.ndarray]:
    """Descent over batches that are drawn in another way.

    Args:
        parameters: where to start, by name.
        loss: of parameters and a batch.
        batches: tensors by name, one a step.
        n_steps: how many there are.
        learning_rate: at the first step; it falls to zero along a cosine.
        weight_decay: of AdamW, on every parameter.
    """
    weights = {name: torch.tensor(value, dtype=torch.float32, requires_grad=True) for name, value in parameters.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for batch in batches:
        optimizer.zero_grad()
        loss(weights, batch).backward()
        optimizer.step()
        schedule.step()
    return {name: value.detach().numpy() for name, value in weights.items()}
