"""A candidate is what it got wrong on each kind of prompt, so that new ones need no training (UniRoute,
arXiv 2502.08773, with its learned cluster map)."""

import numpy as np
from pydantic import Field

from lookahead_router.metrics import softmax
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings, group_means
from lookahead_router.predictors.fitted.clusters import cluster
from lookahead_router.predictors.fitted.descending import fit_by_descent, scaled


class UniRouteSettings(Settings):
    """What `uniroute` can be told."""

    n_clusters: int = Field(default=32, ge=1)
    prior_prompts: float = Field(default=5.0, gt=0)
    """A small cluster's means are drawn to those of all prompts, as by so many more prompts."""
    n_epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1.0, ge=0)


class UniRoute(FittedPredictor):
    """Soft membership of the prompt in clusters, times each candidate's mean score there.

    The clusters come from k-means; who belongs where is then learnt, so that the mixture foretells the scores.
    """

    kind = "uniroute"
    Settings = UniRouteSettings

    def _fit(self, features: np.ndarray, scores: np.ndarray) -> Arrays:
        centers, groups = cluster(features, self.settings.n_clusters, self.settings.seed)
        means = group_means(groups, len(centers), scores, prior_prompts=self.settings.prior_prompts)
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

        return {**fit_by_descent(self.settings, start, loss, features, scores), "means": means}

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        return softmax(scaled(features) @ arrays["weights"] + arrays["biases"]) @ arrays["means"]
