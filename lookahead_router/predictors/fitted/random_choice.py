"""The floor: scores that say nothing."""

import hashlib

import numpy as np

from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor


class RandomChoice(FittedPredictor):
    """Uniform scores, drawn anew for every prompt and always the same for the same one."""

    kind = "random"
    reads_embeddings = False

    def _fit(self, features: list[str], scores: np.ndarray) -> Arrays:
        return {"n_candidates": np.array(scores.shape[1])}

    def _predict(self, features: list[str], arrays: Arrays) -> np.ndarray:
        return np.stack([self._draw(text, int(arrays["n_candidates"])) for text in features])

    def _draw(self, text: str, n_candidates: int) -> np.ndarray:
        digest = hashlib.sha256(f"{self.settings.seed} {text}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big")).random(n_candidates)
