"""Whoever leads on the benchmarks that a prompt is like: from leaderboards alone, as ORI does (arXiv 2502.10051).

ORI takes the cluster's dominant benchmark and its leader; here benchmarks mix by their share of the cluster.
"""

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.metrics import known_mean
from lookahead_router.predictors.fitted.base import Arrays, FittedPredictor, Settings
from lookahead_router.predictors.fitted.clusters import cluster, nearest_center

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset


class LeadersSettings(Settings):
    """What `leaders` can be told."""

    n_clusters: int = Field(default=64, ge=1)
    prior_prompts: float = Field(default=5.0, gt=0)
    """A small cluster's shares of sources are drawn to those of all prompts, as by so many more prompts."""


class Leaders(FittedPredictor):
    """Mean of the candidate's means on each source, by the sources' shares of the prompt's k-means cluster.

    A score per prompt is not needed, where `fit` is given the means of a leaderboard.
    """

    kind = "leaders"
    Settings = LeadersSettings

    def fit(self, dataset: "RoutingDataset", leaderboard: Mapping[str, Mapping[str, float]] | None = None) -> Self:
        """Learns which sources prompts are like, and who is good at which source.

        Args:
            dataset: training prompts with their sources; their scores, unless a leaderboard is given.
            leaderboard: `{candidate: {source: mean score in [0, 1]}}`, for every candidate and source of the dataset.

        Raises:
            DataError: a candidate has no score at all; or a mean is missing, or none in [0, 1].
            ConfigurationError: no embedder was given, or a leaderboard that is no mapping.
            MissingDependencyError: scikit-learn is not installed.
        """
        if leaderboard is None:
            return super().fit(dataset)
        sources = np.unique(dataset.sources.astype(str))
        means = _means_of(leaderboard, dataset.pool.names, sources.tolist())
        return self._keep(dataset.pool, self._arranged(dataset, means))

    def _fit_rows(self, rows: "RoutingDataset") -> Arrays:
        sources = rows.sources.astype(str)
        means = np.stack([known_mean(rows.scores[sources == source]) for source in np.unique(sources)])
        return self._arranged(rows, np.where(np.isnan(means), known_mean(rows.scores), means))

    def _arranged(self, rows: "RoutingDataset", means: np.ndarray) -> Arrays:
        settings = self.settings
        centers, groups = cluster(self._features(rows.requests()), settings.n_clusters, settings.seed)
        names, of = np.unique(rows.sources.astype(str), return_inverse=True)
        counts = np.zeros((len(centers), len(names)))
        np.add.at(counts, (groups, of), 1.0)
        usual = counts.sum(axis=0) / counts.sum()
        shares = (counts + settings.prior_prompts * usual) / (
            counts.sum(axis=1, keepdims=True) + settings.prior_prompts
        )
        return {"centers": centers, "shares": shares, "means": means}

    def _predict(self, features: np.ndarray, arrays: Arrays) -> np.ndarray:
        # A row a prompt: in a product of matrices a row's last bits depend on the rows beside it.
        mixed = np.stack([(share[:, None] * arrays["means"]).sum(axis=0) for share in arrays["shares"]])
        return mixed[nearest_center(features, arrays["centers"])]


def _means_of(
    leaderboard: Mapping[str, Mapping[str, float]], candidates: tuple[str, ...], sources: list[str]
) -> np.ndarray:
    """`(n_sources, n_candidates)` of a leaderboard."""
    if not isinstance(leaderboard, Mapping):
        raise ConfigurationError(f"leaderboard must be a mapping from candidates, got {type(leaderboard).__name__}")
    means = np.zeros((len(sources), len(candidates)))
    for k, name in enumerate(candidates):
        for row, source in enumerate(sources):
            value = leaderboard[name].get(source) if isinstance(leaderboard.get(name), Mapping) else None
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= 1:
                expected = f"the leaderboard must give {name} a mean in [0, 1] on {source!r}"
                raise DataError(f"{expected}, got {value!r}; divide percent by 100")
            means[row, k] = value
    return means
