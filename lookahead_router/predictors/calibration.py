"""From predicted scores to probabilities that a candidate's answer is good."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lookahead_router.errors import CheckpointError, DataError, describe
from lookahead_router.extras import require
from lookahead_router.metrics import expected_calibration_error, sigmoid

MIN_CALIBRATION_PROMPTS = 50
"""Judged prompts of each candidate, below which curves are too rough to keep."""


def score_logits(scores: np.ndarray) -> np.ndarray:
    """Logits of scores in [0, 1], finite at both ends."""
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


class Platt(BaseModel):
    """A logistic curve over the score's logit."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    method: Literal["platt"] = "platt"
    slope: float = Field(allow_inf_nan=False)
    intercept: float = Field(allow_inf_nan=False)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1] for scores in [0, 1], in the same shape."""
        return sigmoid(self.slope * score_logits(scores) + self.intercept)


class Isotonic(BaseModel):
    """A rising line through knots, flat beyond the first and the last."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    method: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    values: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self):
        if len(self.scores) != len(self.values) or np.any(np.diff(self.scores) < 0) or np.any(np.diff(self.values) < 0):
            raise ValueError("knots must be as many scores as values, both rising")
        if not 0 <= self.values[0] <= self.values[-1] <= 1:
            raise ValueError("values are probabilities")
        return self

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1] for scores in [0, 1], in the same shape."""
        return np.interp(scores, self.scores, self.values)


class Calibration(BaseModel):
    """One curve for each candidate, as saved in `calibration.json`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    curves: dict[str, Annotated[Platt | Isotonic, Field(discriminator="method")]]
    """Curves by the candidate's name in the predictor's pool."""
    n_prompts: int = Field(ge=1)
    """Judged prompts that the curves were fitted on."""
    expected_calibration_error: float = Field(ge=0, le=1)
    """On prompts of the same split that the curves had not seen, mean over folds and candidates."""

    @classmethod
    def read(cls, path: Path, names: tuple[str, ...]) -> "Calibration":
        """The checked file.

        Raises:
            CheckpointError: malformed, or not of these candidates.
        """
        try:
            calibration = cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            reason = describe(error) if isinstance(error, ValidationError) else error
            raise CheckpointError(f"{path.name}: {reason}", location=str(path.parent)) from error
        if set(calibration.curves) != set(names):
            raise CheckpointError(f"{path.name} is of other candidates than pool.json", location=str(path.parent))
        return calibration

    def probabilities(self, scores: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """`(n_prompts, n_candidates)` probabilities from predicted scores of that shape, columns by name."""
        columns = [self.curves[name].probabilities(scores[:, k]) for k, name in enumerate(names)]
        return np.stack(columns, axis=1)


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
    n_judged = int((~np.isnan(observed)).any(axis=1).sum())
    return Calibration(curves=curves, n_prompts=n_judged, expected_calibration_error=float(np.mean(errors)))


def _fit_platt(x: np.ndarray, y: np.ndarray) -> Platt:
    linear = require("sklearn.linear_model", "eval")
    logits = score_logits(x)[:, None]
    # A share of a good answer is that much of a good one and the rest of a bad one.
    twice = np.concatenate([logits, logits])
    label = np.repeat([1, 0], len(x))
    model = linear.LogisticRegression(C=1e3).fit(twice, label, sample_weight=np.concatenate([y, 1 - y]))
    return Platt(slope=float(model.coef_[0, 0]), intercept=float(model.intercept_[0]))


def _fit_isotonic(x: np.ndarray, y: np.ndarray) -> Isotonic:
    isotonic = require("sklearn.isotonic", "eval")
    model = isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)
    return Isotonic(scores=model.X_thresholds_.tolist(), values=model.y_thresholds_.tolist())


_METHODS = {"platt": _fit_platt, "isotonic": _fit_isotonic}


def _log_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    p = np.clip(probabilities, 1e-3, 1 - 1e-3)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
