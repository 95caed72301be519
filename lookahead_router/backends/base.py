"""What a predictor asks of a backend."""

from collections.abc import Sequence
from math import isfinite
from typing import Protocol

import numpy as np

from lookahead_router.errors import PredictionError


class DemandBackend(Protocol):
    """Runs a network of demands on token arrays. Safe under threads."""

    name: str
    max_batch_size: int
    """Prompts of one call."""
    n_threads: int
    """Calls that run well beside each other; 1 where a backend does not say."""
    beside: "DemandBackend"
    """The backend for calls beside each other; asked for where `n_threads` is more than 1."""
    n_demands: int
    """R, how many demands there are."""

    def foresee(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """`(B, R + 3 + H)` float32: demands, difficulty, log tokens, verbosity and embedding, side by side.

        Args:
            prompt_ids: `(B, T)` int64, each row CLS, prompt, SEP, padded on the left.
            prompt_mask: `(B, T)` int64, 1 on tokens, 0 on padding.
        """
        ...


class Backend(Protocol):
    """Runs a network on token arrays. Safe under threads; holds no tokenizer and no names."""

    name: str
    """`onnx-int8`, `onnx`, `torch` or `static`."""
    max_batch_size: int
    """Prompts of one call; 1 where a row would otherwise depend on those beside it."""
    n_threads: int
    """Calls that run well beside each other; 1 where a backend does not say."""
    beside: "Backend"
    """The backend for calls beside each other; asked for where `n_threads` is more than 1."""

    def score_logits(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Score logits `(B, K)` float32, unbounded.

        Args:
            prompt_ids: `(B, T)` int64, each row CLS, prompt, SEP, padded on the left.
            prompt_mask: `(B, T)` int64, 1 on tokens, 0 on padding.
        """
        ...


def checked_logits(backend: Backend, prompt_ids: np.ndarray, prompt_mask: np.ndarray, n_candidates: int) -> np.ndarray:
    """Score logits `(B, n_candidates)` float64, finite: the one door through which a backend's output comes in.

    Raises:
        PredictionError: the backend cannot run on this, or something else comes out of it.
    """
    logits = finite(backend.score_logits(prompt_ids, prompt_mask), f"the {backend.name} backend")
    expected = (len(prompt_ids), n_candidates)
    if logits.shape != expected:
        raise PredictionError(
            f"the {backend.name} backend gives logits of shape {logits.shape} where {expected}, prompts by candidates, "
            "was expected: these weights belong to another predictor"
        )
    return logits.astype(np.float64)


def checked_demands(backend: DemandBackend, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
    """What `foresee` gives, a row a prompt, float64 and finite: the one door through which it comes in.

    Raises:
        PredictionError: the backend cannot run on this, or something else comes out of it.
    """
    name = f"the {backend.name} backend"
    found = _floats(backend.foresee(prompt_ids, prompt_mask), name)
    if len(found.shape) != 2 or len(found) != len(prompt_ids) or found.shape[1] <= backend.n_demands + 3:
        raise PredictionError(
            f"{name} gives demands, difficulty, log tokens, verbosity and embeddings of the shape {found.shape} for "
            f"{len(prompt_ids)} prompts: these weights belong to another predictor"
        )
    return _finite(found.astype(np.float64), name)


def side_by_side(parts: Sequence[np.ndarray], name: str) -> np.ndarray:
    """`(B, R + 3 + H)` of demands `(B, R)`, difficulty, log tokens and verbosity `(B,)`, and embeddings `(B, H)`.

    Raises:
        PredictionError: they have other shapes; `name` says what they come from.
    """
    demands, *single, embedding = (_floats(part, name) for part in parts)
    if [len(part.shape) for part in parts] != [2, 1, 1, 1, 2] or len({len(part) for part in parts}) > 1:
        raise PredictionError(
            f"{name} gives demands, difficulty, log tokens, verbosity and embeddings of the shapes "
            f"{', '.join(str(part.shape) for part in parts)}: these weights belong to another predictor"
        )
    return np.concatenate([demands, *(values[:, None] for values in single), embedding], axis=1)


def finite(array: object, name: str) -> np.ndarray:
    """The array, if it is one of finite floats.

    Raises:
        PredictionError: it is not; `name` says what it comes from.
    """
    return _finite(_floats(array, name), name)


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    flat = array.ravel()
    # The sum of squares takes a fraction of the time, and is finite but where a number is very large or none.
    if not isfinite(flat.dot(flat)) and not np.isfinite(array).all():
        raise PredictionError(
            f"{name} gives numbers that are not finite: its weights are damaged; fetch or export them again"
        )
    return array


def _floats(array: object, name: str) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = getattr(array, "dtype", type(array).__name__)
        raise PredictionError(f"{name} gives {kind} where floats were expected")
    return array
