"""A candidate is what it got wrong on each kind of prompt, so that new ones need no training (UniRoute,
arXiv 2502.08773, with its learned cluster map)."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline, group_means
from lookahead_router.predictors.fitted.classifier import softmax
from lookahead_router.predictors.fitted.clusters import cluster
from lookahead_router.predictors.fitted.descending import fit_by_descent, scaled


@dataclass(eq=False, kw_only=True)
class UniRoute(Baseline):
    """Soft membership of the prompt in clusters, times each candidate's mean score there.

    The clusters come from k-means; who belongs where is then learnt, so that the mixture foretells the scores.
    """

    kind = "uniroute"

    n_clusters: int = 32
    prior_prompts: float = 5.0
    """A small cluster's means are drawn to those of all prompts, as by so many more prompts."""
    n_epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1.0

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        centers, groups = cluster(features, self.n_clusters, self.seed)
        means = group_means(groups, len(centers), dataset.scores, prior_prompts=self.prior_prompts)
        # Start at k-means: the nearest centre has the largest logit.
        width = features.shape[1]
        start = {"weights": centers.T * 10 / width**0.5, "biases": -5 * (centers**2).sum(axis=1)}
        fixed = means.astype(np.float32)

        def loss(p, rows):
            membership = (rows["x"] @ p["weights"] + p["biases"]).softmax(dim=1)
            predicted = (membership @ membership.new_tensor(fixed)).clamp(1e-4, 1 - 1e-4)
            y = rows["scores"]
            losses = -(y * predicted.log() + (1 - y) * (1 - predicted).log())
            return (losses * rows["judged"]).sum() / rows["judged"].sum()

        return {**fit_by_descent(self, start, loss, features, dataset), "means": means}

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        return softmax(scaled(features) @ arrays["weights"] + arrays["biases"]) @ arrays["means"]
