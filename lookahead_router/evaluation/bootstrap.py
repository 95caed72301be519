"""Normalised scores and costs on the data and on its resamples, the same ones for all that is compared."""

import numpy as np

from lookahead_router import metrics


class Resamples:
    """The rows of an evaluation, resampled within their benchmark."""

    def __init__(self, scores: np.ndarray, sources: np.ndarray, *, n_resamples: int, seed: int) -> None:
        """Draws the resamples.

        Args:
            scores: `(n, K)` observed, without NaN.
            sources: `(n,)` benchmark names.
            n_resamples: bootstrap samples.
            seed: seed of the draw.
        """
        self.sources = tuple(dict.fromkeys(sources.tolist()))
        self.counts = metrics.resample_counts(sources, n_resamples=n_resamples, seed=seed)
        self._masks = [sources == source for source in self.sources]
        self._floors, self._ceilings = (
            self._means(values) for values in (metrics.random_scores(scores), metrics.oracle_scores(scores))
        )

    def normalized(self, chosen: np.ndarray) -> np.ndarray:
        """Normalised score of each benchmark, and their mean last, `(n_resamples + 1, n_sources + 1)`.

        NaN where a benchmark has nothing to gain; the mean leaves it out.

        Args:
            chosen: score of the routed answer, `(n,)`.
        """
        gap = self._ceilings - self._floors
        with np.errstate(invalid="ignore", divide="ignore"):
            by_source = np.where(gap > 1e-6, 100 * (self._means(chosen) - self._floors) / gap, np.nan)
        return np.column_stack([by_source, metrics.known_mean(by_source, axis=1)])

    def means(self, values: np.ndarray) -> np.ndarray:
        """`(n_resamples + 1, ...)` mean over all prompts of `(n, ...)` values."""
        return self.counts @ values / len(values)

    def _means(self, values: np.ndarray) -> np.ndarray:
        return np.column_stack([self.counts[:, mask] @ values[mask] / mask.sum() for mask in self._masks])


def costs_at_quality(costs: np.ndarray, qualities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """`(n_resamples + 1,)` least cost at which each resample's frontier reaches its target; NaN where it does not.

    Args:
        costs: `(n_resamples + 1, n_settings)`.
        qualities: of the same shape.
        targets: `(n_resamples + 1,)`.
    """
    rows = zip(costs, qualities, targets, strict=True)
    return np.array([metrics.cost_at_quality(cost, quality, target) for cost, quality, target in rows])
