"""How far judges agree: with people, with themselves, and with the order in which answers stood."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HumanAgreement:
    """Scores of a judge beside those that people gave to the same answers."""

    n_answers: int
    rank_correlation: float | None
    """Spearman's, in [-1, 1]; `None` where either gives the same score to all."""
    mean_difference: float
    """Mean of the absolute differences, in [0, 1]."""
    n_pairs: int
    """Pairs of answers to the same prompt that people scored differently."""
    same_order: float | None
    """Share of these pairs that the judge orders as people do, in [0, 1]; its ties count half. `None` without pairs."""


def human_agreement(scores: Sequence[float], human: Sequence[float], prompts: Sequence[str]) -> HumanAgreement | None:
    """How far scores agree with those of people; `None` where there are none.

    Args:
        scores: of the judge, by answer.
        human: of people, by answer.
        prompts: what was answered, by answer.
    """
    if not len(scores):
        return None
    ours, theirs = np.asarray(scores, float), np.asarray(human, float)
    order = [_pair_orders(ours[rows], theirs[rows]) for rows in _rows_by(prompts)]
    agreed = np.concatenate(order)
    return HumanAgreement(
        len(ours),
        rank_correlation(ours, theirs),
        float(np.abs(ours - theirs).mean()),
        len(agreed),
        float(agreed.mean()) if len(agreed) else None,
    )


def _rows_by(names: Sequence[str]) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return list(rows.values())


def _pair_orders(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For every pair that they order: 1 where we order it alike, 0.5 where we do not order it, 0 otherwise."""
    one, other = np.triu_indices(len(ours), 1)
    mine, right = np.sign(ours[one] - ours[other]), np.sign(theirs[one] - theirs[other])
    return np.where(mine == 0, 0.5, mine == right)[right != 0]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's correlation of two series of equal length; `None` where one of them is constant."""
    ranks = [_ranks(np.asarray(values, float)) for values in (first, second)]
    spreads = [values.std() for values in ranks]
    if not all(spreads):
        return None
    product = (ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())
    return float(np.clip(product.mean() / (spreads[0] * spreads[1]), -1, 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties sharing their mean."""
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + last - 1) / 2)[inverse] if len(unique) else values
