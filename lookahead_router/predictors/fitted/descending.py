"""What the baselines that learn by gradient share. Their losses use tensors' own methods; torch is in `networks`."""

from collections.abc import Callable

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.extras import require
from lookahead_router.predictors.fitted.base import Arrays, Baseline


def fit_by_descent(
    baseline: Baseline,
    start: Arrays,
    loss: Callable,
    features: np.ndarray,
    dataset: RoutingDataset,
    **targets: np.ndarray,
) -> Arrays:
    """The parameters after descent, by the baseline's `n_epochs`, `learning_rate`, `weight_decay` and `seed`.

    Args:
        baseline: whose settings count.
        start: the parameters to begin with.
        loss: of parameters and rows, both tensors by name.
        features: `(n, H)` unit embeddings; rows hold them scaled, as `x`.
        dataset: rows hold its scores as `scores`, 0 where missing, and as `judged`, 1 where not.
        targets: further `(n, ...)` columns of the rows; one called as those above takes its place.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    require("torch", "train")
    from lookahead_router.networks.descent import descend

    judged = ~np.isnan(dataset.scores)
    rows = {
        "x": scaled(features).astype(np.float32),
        "scores": np.where(judged, dataset.scores, 0.0).astype(np.float32),
        "judged": judged.astype(np.float32),
        **{
            name: column.astype(np.float32) if column.dtype == np.float64 else column
            for name, column in targets.items()
        },
    }
    return descend(
        start,
        loss,
        rows,
        n_epochs=baseline.n_epochs,
        learning_rate=baseline.learning_rate,
        weight_decay=baseline.weight_decay,
        seed=baseline.seed,
    )


def scaled(features: np.ndarray) -> np.ndarray:
    """`(n, H)` float64 unit vectors at unit variance a dimension, which suits a learning rate of weights near 1.

    In a product of float32 matrices a row's last bits depend on the rows beside it; in float64 that is below 1e-12.
    """
    return features.astype(np.float64) * features.shape[1] ** 0.5


def cross_entropy(logits, rows):
    """Binary cross-entropy of `(B, K)` logits with observed scores, a tensor; what is not judged does not count."""
    losses = logits.clamp(min=0) - logits * rows["scores"] + (-logits.abs()).exp().log1p()
    return (losses * rows["judged"]).sum() / rows["judged"].sum()
