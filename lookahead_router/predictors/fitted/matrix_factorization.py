"""Prompts and candidates as vectors whose product is the chance of a good answer (RouteLLM, arXiv 2406.18665;
EmbedLLM, arXiv 2410.02223)."""

from dataclasses import dataclass

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.fitted.base import Arrays, Baseline
from lookahead_router.predictors.fitted.classifier import sigmoid
from lookahead_router.predictors.fitted.descending import cross_entropy, fit_by_descent, scaled


@dataclass(eq=False, kw_only=True)
class MatrixFactorization(Baseline):
    """`sigmoid(candidate vector · projected prompt + candidate bias)`."""

    kind = "matrix-factorization"

    n_factors: int = 8
    n_epochs: int = 5
    learning_rate: float = 3e-3
    weight_decay: float = 1.0

    def _fit(self, features: np.ndarray, dataset: RoutingDataset) -> Arrays:
        generator = np.random.default_rng(self.seed)
        width, n_candidates = features.shape[1], len(dataset.pool)
        start = {
            "projection": generator.normal(0, width**-0.5, (width, self.n_factors)),
            "candidates": generator.normal(0, 0.1, (self.n_factors, n_candidates)),
            "biases": np.zeros(n_candidates),
        }
        return fit_by_descent(
            self, start, lambda p, rows: cross_entropy(_logits(rows["x"], p), rows), features, dataset
        )

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        return sigmoid(_logits(scaled(features), arrays))


def _logits(x, parameters):
    """`(B, K)`; of arrays or tensors."""
    return x @ parameters["projection"] @ parameters["candidates"] + parameters["biases"]
