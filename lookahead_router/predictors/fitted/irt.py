"""Item-response theory: prompts have difficulty and demands, candidates abilities (IRT-Router, arXiv 2506.01048)."""

import numpy as np
from pydantic import Field

from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings
from lookahead_router.predictors.fitted.descending import cross_entropy, fit_by_descent, scaled


class ItemResponseSettings(Settings):
    """What `irt` can be told."""

    n_abilities: int = Field(default=32, ge=1)
    n_epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1.0, ge=0)


class ItemResponse(FittedPredictor):
    """`sigmoid(discrimination · ability - difficulty)`, the first and the last read from the embedding.

    Discriminations lie in (0, 1), so that more of an ability never hurts.
    """

    kind = "irt"
    Settings = ItemResponseSettings

    def _fit(self, features: np.ndarray, scores: np.ndarray) -> Arrays:
        generator = np.random.default_rng(self.settings.seed)
        width, n_abilities = features.shape[1], self.settings.n_abilities
        start = {
            "discrimination": generator.normal(0, width**-0.5, (width, n_abilities)),
            "abilities": generator.normal(0, 0.1, (n_abilities, scores.shape[1])),
            "difficulty": np.zeros((width, 1)),
            "mean_difficulty": np.zeros(1),
        }

        def loss(p, rows):
            return cross_entropy(_logits((rows["x"] @ p["discrimination"]).sigmoid(), rows["x"], p), rows)

        return fit_by_descent(self.settings, start, loss, features, scores)

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        x = scaled(features)
        return sigmoid(_logits(sigmoid(x @ arrays["discrimination"]), x, arrays))


def _logits(discriminations, x, parameters):
    """`(B, K)`; of arrays or tensors."""
    difficulty = x @ parameters["difficulty"] + parameters["mean_difficulty"]
    return discriminations @ parameters["abilities"] - difficulty
