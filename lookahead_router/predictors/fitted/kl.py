"""Distilling the distribution of scores over candidates into a classifier (ZOOTER, arXiv 2311.08692)."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline, filled_scores
from lookahead_router.predictors.fitted.classifier import softmax
from lookahead_router.predictors.fitted.descending import fit_by_descent, scaled


@dataclass(eq=False, kw_only=True)
class Distillation(Baseline):
    """Linear head under the Kullback-Leibler divergence to the softmax of the observed scores.

    Scores are relative: those of a prompt sum to 1. Of the observed ones a part is replaced by the mean of the
    prompt's source, which is what ZOOTER does with tags against noise.
    """

    kind = "kl"

    temperature: float = 0.2
    """Of the softmax over observed scores."""
    source_share: float = 0.3
    """How much of an observed score is its source's mean, in [0, 1]."""
    n_epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1.0

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        scores = filled_scores(dataset)
        means = np.empty_like(scores)
        for source in np.unique(dataset.sources):
            rows = dataset.sources == source
            means[rows] = scores[rows].mean(axis=0)
        mixed = (1 - self.source_share) * scores + self.source_share * means
        start = {"weights": np.zeros((features.shape[1], scores.shape[1])), "biases": np.zeros(scores.shape[1])}

        def loss(p, rows):
            return -(rows["target"] * (rows["x"] @ p["weights"] + p["biases"]).log_softmax(dim=1)).sum(dim=1).mean()

        return fit_by_descent(self, start, loss, features, dataset, target=softmax(mixed / self.temperature))

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        return softmax(scaled(features) @ arrays["weights"] + arrays["biases"])
