"""The most similar training prompts decide (paper §5, its kNN baseline)."""

import numpy as np
from pydantic import Field

from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings, filled_scores


class NearestNeighborsSettings(Settings):
    """What `knn` can be told."""

    n_neighbors: int = Field(default=100, ge=1)


class NearestNeighbors(FittedPredictor):
    """Mean observed score over the nearest training prompts by cosine."""

    kind = "knn"
    is_random = False
    Settings = NearestNeighborsSettings

    def _fit(self, features: np.ndarray, scores: np.ndarray) -> Arrays:
        return {"embeddings": features, "scores": filled_scores(scores)}

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        n_neighbors = min(self.settings.n_neighbors, len(arrays["scores"]))
        predicted = np.empty((len(features), arrays["scores"].shape[1]))
        for row, vector in enumerate(features):
            # One product a prompt: in a product of matrices a row's last bits depend on the rows beside it.
            nearest = np.argpartition(-(arrays["embeddings"] @ vector), n_neighbors - 1)[:n_neighbors]
            predicted[row] = arrays["scores"][nearest].mean(axis=0)
        return predicted
