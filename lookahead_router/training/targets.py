"""What training aims at: targets of the routing loss, shrunk to their sources, and the weights of prompts."""

import numpy as np
import torch

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.metrics import known_mean
from lookahead_router.training.objectives import OBJECTIVES, routing_targets
from lookahead_router.training.recipe import ObjectiveSettings, SourcePrior


def dataset_targets(dataset: RoutingDataset, objective: ObjectiveSettings) -> np.ndarray:
    """`(n, K)` float32 targets of the routing loss, shrunk to the sources; NaN where nothing is known."""
    targets = routing_targets(torch.from_numpy(dataset.scores), objective)
    return shrink_to_sources(
        targets.numpy(),
        dataset.scores,
        dataset.sources,
        objective.source_shrinkage,
        objective.source_prior,
        is_distribution=OBJECTIVES[objective.routing].has_distributions,
    )


def ranks_candidates(scores: np.ndarray) -> np.ndarray:
    """`(n,)` bool: prompts whose judged candidates do not all score alike."""
    judged = ~np.isnan(scores)
    high = np.where(judged, scores, -np.inf).max(axis=1)
    low = np.where(judged, scores, np.inf).min(axis=1)
    return high > low


def source_weights(dataset: RoutingDataset, exponent: float) -> np.ndarray:
    """`(n,)` float32: each prompt weighs n_ranking_prompts_of_its_source ** -exponent, scaled to mean 1."""
    ranking = ranks_candidates(dataset.scores)
    names, source = np.unique(dataset.sources, return_inverse=True)
    sizes = np.bincount(source[ranking], minlength=len(names)).clip(min=1)
    weights = (sizes[source].astype(np.float64)) ** -exponent
    return (weights / weights[ranking].mean() if ranking.any() else weights).astype(np.float32)


def shrink_to_sources(
    targets: np.ndarray,
    scores: np.ndarray,
    sources: np.ndarray,
    share: float,
    prior: SourcePrior = "mean",
    *,
    is_distribution: bool = False,
) -> np.ndarray:
    """`(n, K)` targets, of which `share` is what the prompts of the same source have in common.

    One answer is a single draw of what its candidate can do, and a network that believes every draw
    routes by accidents. The source is a steadier guess; a mixture of both, as in shrinkage estimators,
    keeps what is particular about a prompt only where it is strong.

    Args:
        targets: `(n, K)`, NaN where nothing is known, which stays so.
        scores: `(n, K)` observed, NaN where not judged.
        sources: `(n,)`.
        share: in [0, 1).
        prior: `mean`, each candidate's mean target; `best`, 1 for the candidate with the highest mean
            score and 0 for the others, so that every source speaks with the same voice, however close
            its candidates are.
        is_distribution: keep the known targets of a prompt at a sum of 1, as far as they were.
    """
    shrunk = targets.copy()
    for source in np.unique(sources) if share else ():
        rows = sources == source
        means = np.nan_to_num(known_mean(targets[rows]))
        if prior == "best":
            known = ~np.isnan(targets[rows])
            best = np.nan_to_num(known_mean(np.where(known, scores[rows], np.nan)), nan=-1.0).argmax()
            means = np.eye(targets.shape[1], dtype=targets.dtype)[best]
        given = np.broadcast_to(means, targets[rows].shape)
        if is_distribution:
            judged = np.where(np.isnan(targets[rows]), 0.0, given)
            mass = judged.sum(axis=1, keepdims=True)
            given = np.where(mass > 0, judged / np.where(mass > 0, mass, 1.0), targets[rows])
        shrunk[rows] = (1 - share) * targets[rows] + share * given
    return shrunk
