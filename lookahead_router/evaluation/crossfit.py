"""Cross-fitting: what each predictor foresees of prompts that it was not fitted on, from fits on the others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.predictors.base import Predictor, read_requests
from lookahead_router.predictors.open_pool import OpenPoolPredictor
from lookahead_router.predictors.profiles import Foreseen
from lookahead_router.prompts import Prompt, Request
from lookahead_router.types import CandidatePool, Prediction

Fitting = Callable[[RoutingDataset], Predictor]
"""Gives the predictor that a dataset's scores make."""


class Crossfitted:
    """A predictor of the prompts of one dataset, each as it was foreseen by a fit on the other folds."""

    revision = None
    reads_context = True

    def __init__(self, name: str, prediction: Prediction, prompts: Sequence[Prompt | Request]) -> None:
        self.name, self.pool, self._prediction = name, prediction.pool, prediction
        self._rows = {_key(request): row for row, request in enumerate(read_requests(prompts))}

    def predict(self, prompts: Sequence[Prompt | Request]) -> Prediction:
        """What was foreseen of these prompts.

        Raises:
            KeyError: a prompt that is not of the dataset.
        """
        return _rows_of(self._prediction, [self._rows[_key(request)] for request in read_requests(prompts)])

    def __repr__(self) -> str:
        return f"{self.name}, cross-fitted"


def _key(request: Request) -> tuple[str, tuple[str, ...]]:
    """What a prompt is known by: the same question with passages and without is two prompts."""
    return request.text, request.passages


def crossfit(
    fittings: Mapping[str, Fitting],
    dataset: RoutingDataset,
    folds: np.ndarray,
    on_progress: Callable[[str, float], None] = lambda step, share: None,
) -> dict[str, Crossfitted]:
    """What each kind of predictor foresees of all prompts, by fits that have not seen them or their like.

    Args:
        fittings: by label.
        dataset: prompts with observed scores.
        folds: `(n,)` of `folds_of`.
        on_progress: told before each step what comes, and what share of all is done.

    Raises:
        DataError: a fold leaves a candidate without any score.
    """
    numbers = np.unique(folds)
    found = {}
    for at, (label, fit) in enumerate(fittings.items()):
        parts, rows = [], []
        for step, number in enumerate(numbers):
            on_progress(f"trying {label}", (at + step / len(numbers)) / len(fittings))
            held = np.flatnonzero(folds == number)
            predictor = fit(dataset.select(folds != number))
            asked = dataset.select(held)
            asked = asked.requests() if getattr(predictor, "reads_context", False) else asked.prompts
            parts.append(predictor.predict(asked).select(dataset.pool.names))
            rows.append(held)
        found[label] = Crossfitted(
            label, _joined(parts, np.argsort(np.concatenate(rows)), dataset.pool), dataset.requests()
        )
    return found


def remembering(predictor: OpenPoolPredictor, prompts: Sequence[str]) -> OpenPoolPredictor:
    """A copy of the predictor that runs its network on these prompts now and on none of them again."""
    return with_parts(predictor, foresee=Remembered(*predictor.foresee(list(prompts)), prompts))


def with_parts(predictor: OpenPoolPredictor, **parts: Any) -> OpenPoolPredictor:
    """The predictor with other parts, by the names that `OpenPoolPredictor` takes."""
    names = ("foresee", "population", "catalogue", "members", "name", "base_revision", "found")
    return OpenPoolPredictor(**{name: getattr(predictor, name) for name in names} | parts)


class Remembered:
    """A `Foreseer` of known prompts: what the network said of them before."""

    def __init__(self, foreseen: Foreseen, lengths: np.ndarray, prompts: Sequence[str]) -> None:
        self.foreseen, self.lengths = foreseen, lengths
        self.rows = {prompt: row for row, prompt in enumerate(prompts)}
        self.strangers_told: set[str] = set()

    def __call__(self, texts: Sequence[str]) -> tuple[Foreseen, np.ndarray]:
        rows = np.array([self.rows[text] for text in texts], dtype=int)
        return self.foreseen.select(rows), self.lengths[rows]


class Embedded:
    """An embedder that has read known prompts, and reads them once for all folds."""

    def __init__(self, embedder: Any, prompts: Sequence[str]) -> None:
        self._embedder, self.fingerprint, self.location = embedder, embedder.fingerprint, embedder.location
        self._vectors = embedder.embed(prompts)
        self._rows = {prompt: row for row, prompt in enumerate(prompts)}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, as the embedder gives them."""
        rows = [self._rows.get(text, -1) for text in texts]
        return self._embedder.embed(texts) if -1 in rows else self._vectors[rows]


def _rows_of(prediction: Prediction, rows: Sequence[int]) -> Prediction:
    arrays = {name: values[rows] for name, values in _arrays(prediction).items()}
    return Prediction(prediction.pool, **arrays)


def _joined(parts: Sequence[Prediction], order: np.ndarray, pool: CandidatePool) -> Prediction:
    arrays = [_arrays(part) for part in parts]
    shared = {name: np.concatenate([each[name] for each in arrays])[order] for name in arrays[0]}
    return Prediction(pool, **shared)


def _arrays(prediction: Prediction) -> dict[str, np.ndarray]:
    return {name: value for name, value in vars(prediction).items() if name != "pool" and value is not None}
