"""Which prompts of a log are asked: such as cover it in proportion and, of these, such as tell most."""

import numpy as np

from lookahead_router.predictors.catalogue import facts_of
from lookahead_router.predictors.fitted.clusters import cluster
from lookahead_router.predictors.profiles import Foreseen, Population

PROMPTS_PER_CLUSTER = 4
"""Prompts of the sample that a cluster gives, about: clusters as fine as the sample can cover."""


def covering(embedding: np.ndarray, weights: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows of a log such that every cluster has its share; all rows where there are no more than `n`.

    Args:
        embedding: `(m, H)` unit vectors of the different prompts.
        weights: `(m,)` how often each comes.
        n: rows to draw.
        seed: of clusters and draw.
    """
    if len(embedding) <= n:
        return np.arange(len(embedding))
    generator = np.random.default_rng(seed)
    labels, quotas = _clusters(embedding, weights, n, seed)
    found = []
    for number, quota in enumerate(quotas):
        rows = np.flatnonzero(labels == number)
        # Of a prompt that comes often its like come as well: by its weight, and once.
        found.append(generator.choice(rows, quota, replace=False, p=weights[rows] / weights[rows].sum()))
    return np.concatenate(found)


def telling(population: Population, foreseen: Foreseen, weights: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows of a log whose answers would tell most about candidates, of every cluster its share.

    A candidate of which nothing is known has a profile with the population's covariance, and by it a variance of the
    logit of a good answer to each prompt of the log. One after the other, the prompt is taken whose answer is expected
    to reduce the mean of these most, by Laplace's covariance: A-optimal design, greedily.

    Args:
        population: where profiles start.
        foreseen: of the `m` different prompts.
        weights: `(m,)` how often each comes.
        n: rows to choose.
        seed: of the clusters.

    Returns:
        `(min(n, m),)` rows, those that tell most first.
    """
    embedding = foreseen.embedding.astype(np.float32)
    labels, quotas = _clusters(embedding, weights, min(n, len(embedding)), seed)
    stranger = population.start(facts_of())
    x = population.design(foreseen)
    spread = np.zeros((x.shape[1], x.shape[1]))
    np.fill_diagonal(spread, population.component_variance)
    size = population.n_abilities
    spread[:size, :size] = population.covariance
    log = (x.T * weights) @ x / weights.sum()
    chance = population.predict(foreseen, [stranger])[0][:, 0]
    curvature, is_left, found = chance * (1 - chance), np.ones(len(x), dtype=bool), []
    while quotas.sum():
        reach = x @ spread
        gain = curvature * ((reach @ log) * reach).sum(axis=1) / (1 + curvature * (reach * x).sum(axis=1))
        row = int(np.where(is_left & (quotas[labels] > 0), gain, -1.0).argmax())
        found.append(row)
        is_left[row] = False
        quotas[labels[row]] -= 1
        direction = spread @ x[row]
        spread -= np.outer(direction, direction) * curvature[row] / (1 + curvature[row] * (x[row] @ direction))
    return np.array(found, dtype=int)


def _clusters(embedding: np.ndarray, weights: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`(m,)` cluster of each row, and how many rows of each cluster are to be taken, `n` in all."""
    centers, labels = cluster(embedding, max(n // PROMPTS_PER_CLUSTER, 1), seed)
    sizes = np.bincount(labels, minlength=len(centers))
    return labels, _quotas(np.bincount(labels, weights=weights, minlength=len(centers)), sizes, n)


def _quotas(shares: np.ndarray, sizes: np.ndarray, n: int) -> np.ndarray:
    """How many rows of each cluster, by its share, at most all of them; together `n`."""
    quotas = np.zeros(len(shares), dtype=int)
    while (missing := n - quotas.sum()) > 0:
        is_open = quotas < sizes
        wished = np.where(is_open, shares, 0.0) / shares[is_open].sum() * missing
        whole = np.minimum(np.floor(wished).astype(int), sizes - quotas)
        quotas += whole
        left = min(missing - whole.sum(), n - quotas.sum())
        for number in np.argsort(-(wished - np.floor(wished)), kind="stable")[:left]:
            quotas[number] += quotas[number] < sizes[number]
    return quotas
