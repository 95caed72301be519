"""Whoever was best on this kind of prompt: k-means, as the paper's baseline and Avengers (arXiv 2505.19797) do."""

import numpy as np
from pydantic import Field

from lookahead_router.extras import require
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings, group_means


class ClustersSettings(Settings):
    """What `clusters` can be told."""

    n_clusters: int = Field(default=64, ge=1)
    prior_prompts: float = Field(default=20.0, gt=0)
    """A small cluster's means are drawn to those of all prompts, as by so many more prompts."""


class Clusters(FittedPredictor):
    """Mean observed score in the prompt's k-means cluster."""

    kind = "clusters"
    Settings = ClustersSettings

    def _fit(self, features: np.ndarray, scores: np.ndarray) -> Arrays:
        centers, groups = cluster(features, self.settings.n_clusters, self.settings.seed)
        return {
            "centers": centers,
            "means": group_means(groups, len(centers), scores, prior_prompts=self.settings.prior_prompts),
        }

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        return arrays["means"][nearest_center(features, arrays["centers"])]


def cluster(embeddings: np.ndarray, n_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres `(n_clusters, H)` and the `(n,)` cluster of each row; fewer clusters where rows are few."""
    sklearn_cluster = require("sklearn.cluster", "eval")
    n_distinct = len(np.unique(embeddings, axis=0))
    model = sklearn_cluster.KMeans(min(n_clusters, n_distinct), n_init=3, random_state=seed)
    with require("threadpoolctl", "eval").threadpool_limits(1):  # several add up in an order of their own
        model.fit(embeddings)
    return model.cluster_centers_.astype(np.float32), model.labels_


def nearest_center(embeddings: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """`(n,)` row of the nearest centre."""
    return np.argmax(embeddings.astype(np.float64) @ centers.T - (centers**2).sum(axis=1) / 2, axis=1)
