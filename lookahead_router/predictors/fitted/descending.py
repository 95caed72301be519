"""Fitting by gradient. The losses use tensors' own methods; torch is in `networks`."""

from collections.abc import Callable

import numpy as np

from lookahead_router.extras import require
from lookahead_router.predictors.fitted.base import Arrays, Settings


def fit_by_descent(
    settings: Settings, start: Arrays, loss: Callable, features: np.ndarray, scores: np.ndarray
) -> Arrays:
    """The parameters after descent, by the settings `n_epochs`, `learning_rate`, `weight_decay` and `seed`.

    Args:
        settings: with these four.
        start: the parameters to begin with.
        loss: of parameters and rows, both tensors by name.
        features: `(n, H)` unit embeddings; rows hold them scaled, as `x`.
        scores: `(n, K)`; rows hold them as `scores`, 0 where missing, and `judged`, 1 where not.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    require("torch", "train")
    from lookahead_router.networks.descent import descend

    judged = ~np.isnan(scores)
    rows = {
        "x": scaled(features).astype(np.float32),
        "scores": np.where(judged, scores, 0.0).astype(np.float32),
        "judged": judged.astype(np.float32),
    }
    return descend(
        start,
        loss,
        rows,
        n_epochs=settings.n_epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
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
