"""Do prompts of the evaluation stand in the training data?"""

from collections.abc import Sequence

import numpy as np

from lookahead_router.errors import MissingDependencyError
from lookahead_router.evaluation.results import LeakageResult
from lookahead_router.extras import require

_BLOCK = 512


def find_leakage(
    training: Sequence[str], evaluation: Sequence[str], ids: Sequence[str], *, threshold: float = 0.9
) -> LeakageResult:
    """The evaluation prompts that are in the training split, but for case and space, or nearly.

    Near is a cosine of at least `threshold` between word three-grams weighted by rarity, so that a
    benchmark's fixed preamble counts for little. Near ones are looked for where scikit-learn is installed.

    Args:
        training: prompts that something learnt from.
        evaluation: prompts that it is evaluated on.
        ids: ids of the latter.
        threshold: in (0, 1].
    """
    train, test = ([" ".join(prompt.lower().split()) for prompt in prompts] for prompts in (training, evaluation))
    known = set(train)
    is_exact = np.array([prompt in known for prompt in test])
    is_near = _are_near(train, test, threshold)
    is_near = None if is_near is None else is_near & ~is_exact
    order = [*np.flatnonzero(is_exact), *(() if is_near is None else np.flatnonzero(is_near))]
    return LeakageResult(
        n_exact=int(is_exact.sum()),
        n_near=None if is_near is None else int(is_near.sum()),
        threshold=threshold,
        ids=tuple(str(ids[row]) for row in order),
    )


def _are_near(train: Sequence[str], test: Sequence[str], threshold: float) -> np.ndarray | None:
    """Whether each test prompt is nearly one of the training prompts; `None` without scikit-learn."""
    try:
        text = require("sklearn.feature_extraction.text", "eval")
    except MissingDependencyError:
        return None
    vectorizer = text.TfidfVectorizer(
        ngram_range=(3, 3), token_pattern=r"(?u)\w+|[^\w\s]", dtype=np.float32, lowercase=False
    )
    try:
        seen = vectorizer.fit_transform(train)
    except ValueError:  # no training prompt has three words
        return np.zeros(len(test), dtype=bool)
    asked = vectorizer.transform(test)
    blocks = range(0, asked.shape[0], _BLOCK)
    nearest = np.concatenate([(asked[at : at + _BLOCK] @ seen.T).max(axis=1).toarray().ravel() for at in blocks])
    return nearest >= threshold
