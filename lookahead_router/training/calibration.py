"""From trained logits to scores that mean something, fitted on validation."""

import numpy as np


def score_scale(logits: np.ndarray, scores: np.ndarray) -> float:
    """The factor that turns differences of logits into differences of scores, as the sigmoid shows them.

    With it, `sigmoid(factor * (logit - mean logit))` is about 0.5 plus the expected score above the mean
    of the prompt's candidates: one number by least squares, so it changes no decision.

    Args:
        logits: `(n, K)` of a network trained to rank.
        scores: `(n, K)` observed in [0, 1], NaN where not judged.

    Returns:
        A positive factor; 1 where the logits do not rank the candidates at all.
    """
    judged = ~np.isnan(scores)
    n_judged = judged.sum(axis=1, keepdims=True).clip(min=1)
    values = np.where(judged, scores, 0.0)
    gain = np.where(judged, values - values.sum(axis=1, keepdims=True) / n_judged, 0.0)
    centred = logits - np.where(judged, logits, 0.0).sum(axis=1, keepdims=True) / n_judged
    centred = np.where(judged, centred, 0.0)
    slope = float((centred * gain).sum() / max((centred**2).sum(), 1e-12))
    return 4.0 * slope if slope > 0 else 1.0  # the sigmoid rises by a quarter of its argument
