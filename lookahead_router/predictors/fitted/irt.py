"""Item-response theory: prompts have difficulty and demands, candidates abilities (IRT-Router, arXiv 2506.01048)."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline
from lookahead_router.predictors.fitted.classifier import sigmoid
from lookahead_router.predictors.fitted.descending import cross_entropy, fit_by_descent, scaled


@dataclass(eq=False, kw_only=True)
class ItemResponse(Baseline):
    """`sigmoid(discrimination · ability - difficulty)`, the first and the last read from the embedding.

    Discriminations lie in (0, 1), so that more of an ability never hurts.
    """

    kind = "irt"

    n_abilities: int = 32
    n_epochs: int = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1.0

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        generator = np.random.default_rng(self.seed)
        width = features.shape[1]
        start = {
            "discrimination": generator.normal(0, width**-0.5, (width, self.n_abilities)),
            "abilities": generator.normal(0, 0.1, (self.n_abilities, len(dataset.pool))),
            "difficulty": np.zeros((width, 1)),
            "mean_difficulty": np.zeros(1),
        }

        def loss(p, rows):
            return cross_entropy(_logits((rows["x"] @ p["discrimination"]).sigmoid(), rows["x"], p), rows)

        return fit_by_descent(self, start, loss, features, dataset)

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        x = scaled(features)
        return sigmoid(_logits(sigmoid(x @ arrays["discrimination"]), x, arrays))


def _logits(discriminations, x, parameters):
    """`(B, K)`; of arrays or tensors."""
    difficulty = x @ parameters["difficulty"] + parameters["mean_difficulty"]
    return discriminations @ parameters["abilities"] - difficulty
