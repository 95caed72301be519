"""The most similar training prompts decide (paper §5, its kNN baseline)."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline, filled_scores


@dataclass(eq=False, kw_only=True)
class NearestNeighbors(Baseline):
    """Mean observed score over the nearest training prompts by cosine."""

    kind = "knn"
    is_random = False

    n_neighbors: int = 100

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        return {"embeddings": features, "scores": filled_scores(dataset)}

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        n_neighbors = min(self.n_neighbors, len(arrays["scores"]))
        predicted = np.empty((len(features), arrays["scores"].shape[1]))
        for row, vector in enumerate(features):
            # One product a prompt: in a product of matrices a row's last bits depend on the rows beside it.
            nearest = np.argpartition(-(arrays["embeddings"] @ vector), n_neighbors - 1)[:n_neighbors]
            predicted[row] = arrays["scores"][nearest].mean(axis=0)
        return predicted
