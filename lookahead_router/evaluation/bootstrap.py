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
            seed: of the draw.
        """
        self.sources = tuple(dict.fromkeys(sources.tolist()))
        self.counts = metrics.resample_counts(sources, n_resamples=n_resamples, seed=seed)
        self._masks = [sources == source for source in self.sources]
        self._floors, self._ceilings = (
            self._means(values) for values in (metrics.random_scores(scores), metrics.oracle_scores(scores))
        )

    def normalized(self, chosen: np.ndarray) -> np.ndarray:
        """`(n_resamples + 1, n_sources + 1)` normalised score of each benchmark, and their mean last.

        NaN where a benchmark has nothing to gain; the mean leaves it out.

        Args:
            chosen: `(n,)` score of the routed answer.
        """
        gap = self._ceilings - self._floors
        with np.errstate(invalid="ignore", divide="ignore"):
            by_source = np.where(gap > 1e-6, 100 * (self._means(chosen) - self._floors) / gap, np.nan)
        known = ~np.isnan(by_source)
        sums = np.where(known, by_source, 0.0).sum(axis=1)
        average = np.divide(sums, known.sum(axis=1), out=np.full(len(sums), np.nan), where=known.any(axis=1))
        return np.column_stack([by_source, average])

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
