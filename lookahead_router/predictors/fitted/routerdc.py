"""Dual contrastive learning: a prompt near the candidates that answer it well, and near its like (RouterDC,
arXiv 2409.19886)."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline, filled_scores
from lookahead_router.predictors.fitted.classifier import softmax
from lookahead_router.predictors.fitted.clusters import cluster
from lookahead_router.predictors.fitted.descending import fit_by_descent, scaled


@dataclass(eq=False, kw_only=True)
class RouterDC(Baseline):
    """Cosine between the projected prompt and each candidate's vector, as a softmax over the pool.

    RouterDC tunes its encoder; this one learns a projection of a frozen one, like its peers here. Scores are
    relative: those of a prompt sum to 1.
    """

    kind = "routerdc"

    n_dimensions: int = 128
    n_positives: int = 3
    """Candidates a prompt is drawn to: the best, at most so many."""
    n_negatives: int = 3
    """Candidates it is driven from: the worst, at most so many, if they scored less than the positive."""
    n_groups: int = 5
    """Clusters of prompts within which prompts attract each other."""
    sample_weight: float = 0.1
    """Of the loss between prompts, beside that between prompts and candidates."""
    temperature: float = 1.0
    n_epochs: int = 5
    learning_rate: float = 3e-3
    weight_decay: float = 1.0

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        generator = np.random.default_rng(self.seed)
        scores = filled_scores(dataset)
        width, n_candidates = features.shape[1], scores.shape[1]
        start = {
            "projection": generator.normal(0, width**-0.5, (width, self.n_dimensions)),
            "candidates": generator.normal(0, 1.0, (n_candidates, self.n_dimensions)),
        }
        # Equals in random order: in the pool's, the first candidates would attract more prompts.
        rank = np.argsort(np.argsort(-scores + generator.uniform(0, 1e-9, scores.shape), axis=1), axis=1)
        _, groups = cluster(features, self.n_groups, self.seed)

        def loss(p, rows):
            prompts = _unit(rows["x"] @ p["projection"])
            to_candidates = prompts @ _unit(p["candidates"]).T / self.temperature
            # (B, K positives, K negatives): only what scored less repels.
            repels = rows["is_low"][:, None, :] & (rows["scores"][:, None, :] < rows["scores"][:, :, None])
            attracts = rows["is_high"] & repels.any(dim=2)
            between = prompts @ prompts.T / self.temperature
            same = (rows["groups"][:, None] == rows["groups"][None, :]).float().fill_diagonal_(0).bool()
            unlike = (rows["groups"][:, None] != rows["groups"][None, :])[:, None, :].expand(-1, len(prompts), -1)
            return _contrast(to_candidates, attracts, repels) + self.sample_weight * _contrast(between, same, unlike)

        targets = {
            "scores": scores.astype(np.float32),
            "is_high": rank < min(self.n_positives, n_candidates - 1),
            "is_low": rank >= n_candidates - min(self.n_negatives, n_candidates - 1),
            "groups": groups,
        }
        return {
            **fit_by_descent(self, start, loss, features, dataset, **targets),
            "temperature": np.array(self.temperature),
        }

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        prompts = _unit(scaled(features) @ arrays["projection"])
        return softmax(prompts @ _unit(arrays["candidates"]).T / arrays["temperature"])


def _unit(rows):
    """Rows of length 1; of arrays or tensors."""
    return rows / ((rows**2).sum(1)[:, None] + 1e-12) ** 0.5


def _contrast(similarities, positives, negatives):
    """Mean over the positive pairs of -log(exp(pair) / (exp(pair) + sum of exp over its negatives)).

    Args:
        similarities: `(B, N)` tensor.
        positives: `(B, N)` bool.
        negatives: `(B, N, N)` bool: for the pair of row and column, which columns are its negatives.
    """
    others = similarities[:, None, :].masked_fill(~negatives, -1e9).logsumexp(dim=2)
    losses = (others - similarities).logaddexp(similarities.new_zeros(()))  # exp would overflow where cold
    return (losses * positives).sum() / positives.sum().clamp(min=1)
