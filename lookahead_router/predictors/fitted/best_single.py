"""Everything to the candidate that is best on average."""

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline, mean_scores


class BestSingle(Baseline):
    """Each candidate's mean score in training, whatever the prompt."""

    kind = "best-single"
    is_random = False
    reads_embeddings = False

    def _fit(self, features: list[str], dataset: RoutingDataset) -> Arrays:
        return {"means": mean_scores(dataset.scores)}

    def _predict(self, features: list[str], arrays: Arrays) -> np.ndarray:
        return np.tile(arrays["means"], (len(features), 1))
