"""Whoever was best on this kind of prompt: k-means, as the paper's baseline and Avengers (arXiv 2505.19797) do."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.extras import require
from lookahead_router.predictors.fitted.base import Arrays, Baseline, group_means


@dataclass(eq=False, kw_only=True)
class Clusters(Baseline):
    """Mean observed score in the prompt's k-means cluster."""

    kind = "clusters"

    n_clusters: int = 64
    prior_prompts: float = 20.0
    """A small cluster's means are drawn to those of all prompts, as by so many more prompts."""

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        centers, groups = cluster(features, self.n_clusters, self.seed)
        return {
            "centers": centers,
            "means": group_means(groups, len(centers), dataset.scores, prior_prompts=self.prior_prompts),
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
