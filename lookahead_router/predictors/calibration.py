"""From predicted scores to probabilities that a candidate's answer is good."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lookahead_router.errors import CheckpointError
from lookahead_router.types import describe


def score_logits(scores: np.ndarray) -> np.ndarray:
    """Logits of scores in [0, 1], finite at both ends."""
    clipped = np.clip(scores, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


class Platt(BaseModel):
    """A logistic curve over the score's logit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["platt"] = "platt"
    slope: float = Field(allow_inf_nan=False)
    intercept: float = Field(allow_inf_nan=False)

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Of scores in [0, 1]: the same shape, in [0, 1]."""
        return 1.0 / (1.0 + np.exp(-(self.slope * score_logits(scores) + self.intercept)))


class Isotonic(BaseModel):
    """A rising line through knots, flat beyond the first and the last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """Of scores in [0, 1]: the same shape, in [0, 1]."""
        return np.interp(scores, self.scores, self.values)


class Calibration(BaseModel):
    """One curve for each candidate, as saved in `calibration.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    curves: dict[str, Annotated[Platt | Isotonic, Field(discriminator="method")]]
    """By the candidate's name in the predictor's pool."""
    n_prompts: int = Field(ge=1)
    """Prompts that the curves were fitted on."""
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
