"""From trained logits to scores and probabilities that mean something, fitted on validation."""

from collections.abc import Sequence

import numpy as np

from lookahead_router._optional import require
from lookahead_router.errors import DataError
from lookahead_router.metrics import expected_calibration_error
from lookahead_router.predictors.calibration import Calibration, Isotonic, Platt, score_logits

MIN_CALIBRATION_PROMPTS = 50
"""Judged validation prompts of each candidate, below which `fit` leaves a predictor uncalibrated."""


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


def fit_calibration(
    predicted: np.ndarray, observed: np.ndarray, names: Sequence[str], *, n_folds: int = 5
) -> Calibration:
    """Curves from predicted scores to the probability of a good answer, on prompts that trained nothing.

    An observed score between 0 and 1 counts as that share of a good answer. Each candidate gets the
    method, Platt or isotonic, with the lower log loss on held-out folds.

    Args:
        predicted: `(n, K)` in [0, 1].
        observed: `(n, K)` in [0, 1], NaN where not judged.
        names: of the candidates, in column order.
        n_folds: of the comparison and of the reported error.

    Raises:
        DataError: a candidate has fewer than two judged prompts a fold.
        MissingDependencyError: scikit-learn is not installed.
    """
    curves, errors = {}, []
    for k, name in enumerate(names):
        judged = ~np.isnan(observed[:, k])
        x, y = predicted[judged, k].astype(np.float64), observed[judged, k].astype(np.float64)
        if len(x) < 2 * n_folds:
            raise DataError(f"candidate {name!r} has {len(x)} judged prompts; calibration needs {2 * n_folds}")
        fold = np.random.default_rng(0).permutation(len(x)) % n_folds
        held_out = {}
        for method, fit in _METHODS.items():
            probabilities = np.empty_like(x)
            for i in range(n_folds):
                probabilities[fold == i] = fit(x[fold != i], y[fold != i]).probabilities(x[fold == i])
            held_out[method] = probabilities
        best = min(held_out, key=lambda method: _log_loss(held_out[method], y))
        curves[name] = _METHODS[best](x, y)
        errors.append(expected_calibration_error(held_out[best], y))
    return Calibration(curves=curves, n_prompts=len(predicted), expected_calibration_error=float(np.mean(errors)))


def _fit_platt(x: np.ndarray, y: np.ndarray) -> Platt:
    linear = require("sklearn.linear_model", "train")
    logits = score_logits(x)[:, None]
    # A share of a good answer is that much of a good one and the rest of a bad one.
    twice = np.concatenate([logits, logits])
    label = np.repeat([1, 0], len(x))
    model = linear.LogisticRegression(C=1e3).fit(twice, label, sample_weight=np.concatenate([y, 1 - y]))
    return Platt(slope=float(model.coef_[0, 0]), intercept=float(model.intercept_[0]))


def _fit_isotonic(x: np.ndarray, y: np.ndarray) -> Isotonic:
    isotonic = require("sklearn.isotonic", "train")
    model = isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)
    return Isotonic(scores=model.X_thresholds_.tolist(), values=model.y_thresholds_.tolist())


_METHODS = {"platt": _fit_platt, "isotonic": _fit_isotonic}


def _log_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    p = np.clip(probabilities, 1e-3, 1 - 1e-3)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
