"""Everything to the candidate that is best on average."""

import numpy as np

from lookahead_router.metrics import known_mean
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor


class BestSingle(FittedPredictor):
    """Each candidate's mean score in training, whatever the prompt."""

    kind = "best-single"
    is_random = False
    reads_embeddings = False

    def _fit(self, features: list[str], scores: np.ndarray) -> Arrays:
        return {"means": known_mean(scores)}

    def _predict(self, features: list[str], arrays: Arrays) -> np.ndarray:
        return np.tile(arrays["means"], (len(features), 1))
