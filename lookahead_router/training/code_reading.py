"""The reading of whether code is asked for, from everyday prompts that say so."""

from collections.abc import Sequence

import numpy as np

from lookahead_router.errors import DataError
from lookahead_router.extras import require
from lookahead_router.predictors.code_reading import TOKENS_SCALE, CodeReading

STRENGTH = 3.0
"""Inverse of the penalty on the weights."""


def fit_code_reading(
    embedding: np.ndarray, rows: Sequence[np.ndarray], is_code: np.ndarray, n_tokens: int
) -> CodeReading:
    """A logistic regression on embedding and tokens, both classes with the same weight.

    Args:
        embedding: `(n, H)` unit vectors of the prompts.
        rows: token ids of each prompt.
        is_code: `(n,)` bool.
        n_tokens: of the vocabulary.

    Raises:
        DataError: all prompts ask for code, or none does.
    """
    if is_code.all() or not is_code.any():
        raise DataError("give prompts that ask for code, and prompts that do not")
    linear = require("sklearn.linear_model", "train")
    bags = np.zeros((len(rows), n_tokens), dtype=np.float32)
    for bag, row in zip(bags, rows, strict=True):
        ids = np.unique(row)
        bag[ids] = TOKENS_SCALE / np.sqrt(max(len(ids), 1))
    used = np.flatnonzero(bags.any(axis=0))
    model = linear.LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=3000)
    model.fit(np.concatenate([embedding, bags[:, used]], axis=1), is_code)
    width, weights = embedding.shape[1], model.coef_[0]
    tokens = np.zeros(n_tokens)
    tokens[used] = weights[width:]
    return CodeReading(weights[:width], tokens, float(model.intercept_[0]))
