"""ONNX Runtime on the CPU: the default, and all that the base install has."""

from copy import copy
from pathlib import Path
from typing import Self

import numpy as np

from lookahead_router.backends.base import side_by_side
from lookahead_router.backends.copies import open_session
from lookahead_router.errors import CheckpointError

DEMAND_OUTPUTS = ("demands", "difficulty", "log_tokens", "verbosity", "embedding")
"""What the graph of a network of demands gives."""
FORESEEN = "foreseen"
"""All of them side by side, of graphs that give it: one array takes less to hand over than five."""


class OnnxBackend:
    """A routing graph in an inference session."""

    max_batch_size = 1
    """A row's bits depend on the rows beside it, as dynamic quantisation takes one scale of all; many are no faster."""
    outputs: tuple[str, ...] = ("score_logits",)
    """What the graph has to give."""

    def __init__(self, path: Path, *, n_threads: int | None = None, is_installed: bool = False) -> None:
        """Opens a graph.

        Args:
            path: `model.onnx`, `model_int8.onnx` or `static.onnx`.
            n_threads: threads of one pass; the physical cores that this process may use when absent.
            is_installed: whether the graph came with this package.

        Raises:
            CheckpointError: not a graph that ONNX Runtime can run, or not a routing graph.
            ConfigurationError: `n_threads` is no count.
        """
        self._session = open_session(path, n_threads=n_threads, is_installed=is_installed)
        is_routing = list(self._session.inputs) == ["prompt_ids", "prompt_mask"]
        if not is_routing or not {*self.outputs} <= {*self._session.outputs}:
            raise CheckpointError(
                f"{path.name} is not a routing graph: other inputs or outputs", location=str(path.parent)
            )
        self.name = {"model_int8": "onnx-int8", "static": "static"}.get(path.stem, "onnx")

    @property
    def beside(self) -> Self:
        """The backend for passes beside each other, which have one thread each."""
        one = copy(self)
        one._session = self._session.lone
        return one

    @property
    def n_threads(self) -> int:
        """Threads of one pass, and passes that run well beside each other."""
        return self._session.n_threads

    def score_logits(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Score logits `(B, K)`; see `Backend`."""
        return self._session.run(["score_logits"], {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask})[0]


class OnnxDemandBackend(OnnxBackend):
    """The graph of a network of demands in an inference session."""

    outputs = DEMAND_OUTPUTS

    def __init__(self, path: Path, *, n_threads: int | None = None, is_installed: bool = False) -> None:
        """Opens a graph; see `OnnxBackend`."""
        super().__init__(path, n_threads=n_threads, is_installed=is_installed)
        shapes = self._session.outputs
        shape = shapes["demands"]
        if len(shape) != 2 or not isinstance(shape[1], int):
            raise CheckpointError(
                f"{path.name} does not say how many demands it gives: these weights belong to another predictor",
                location=str(path.parent),
            )
        self.n_demands: int = shape[1]
        self._is_one = FORESEEN in shapes

    def foresee(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Demands, difficulty, log tokens, verbosity and embeddings side by side; see `DemandBackend`."""
        feed = {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask}
        if self._is_one:
            return self._session.run((FORESEEN,), feed)[0]
        return side_by_side(self._session.run(DEMAND_OUTPUTS, feed), f"the {self.name} backend")
