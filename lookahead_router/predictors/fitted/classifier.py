"""The prompt-only classifier on frozen embeddings (the paper's MLC; fine-tuned, it is a recipe without slots)."""

import numpy as np
from pydantic import Field

from lookahead_router.extras import require
from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings


class ClassifierSettings(Settings):
    """What `classifier` can be told."""

    inverse_penalty: float = Field(default=1.0, gt=0)
    """scikit-learn's `C`, on unit embeddings."""


class Classifier(FittedPredictor):
    """Logistic regression of each candidate's score on the embedding."""

    kind = "classifier"
    is_random = False
    Settings = ClassifierSettings

    def _fit(self, features: np.ndarray, scores: np.ndarray) -> Arrays:
        linear = require("sklearn.linear_model", "eval")
        weights, biases = [], []
        for column in scores.T:
            judged = ~np.isnan(column)
            # A score between is that much of a good answer and the rest of a bad one; never all of either.
            good = np.clip(column[judged], 1e-3, 1 - 1e-3)
            model = linear.LogisticRegression(C=self.settings.inverse_penalty, max_iter=1000).fit(
                np.concatenate([features[judged]] * 2),
                np.repeat([1, 0], judged.sum()),
                sample_weight=np.concatenate([good, 1 - good]),
            )
            weights.append(model.coef_[0])
            biases.append(model.intercept_[0])
        return {"weights": np.stack(weights, axis=1), "biases": np.array(biases)}

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        return sigmoid(features.astype(np.float64) @ arrays["weights"] + arrays["biases"])
