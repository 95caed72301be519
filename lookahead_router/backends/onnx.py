"""ONNX Runtime on the CPU: the default, and all that the base install has."""

from pathlib import Path

import numpy as np

from lookahead_router.errors import CheckpointError

DEMAND_OUTPUTS = ("demands", "difficulty", "log_tokens", "verbosity", "embedding")
"""What the graph of a network of demands gives."""


class OnnxBackend:
    """A routing graph in an inference session."""

    max_batch_size = 32

    def __init__(self, path: Path, *, n_threads: int | None = None) -> None:
        """Opens a graph.

        Args:
            path: `model.onnx` or `model_int8.onnx`.
            n_threads: threads of one pass; the physical cores when absent.

        Raises:
            CheckpointError: not a graph that ONNX Runtime can run, or not a routing graph.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        if n_threads is not None:
            options.intra_op_num_threads = n_threads
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise CheckpointError(
                f"{path.name} is not a graph that ONNX Runtime can run: {error}", location=str(path.parent)
            ) from error
        if [i.name for i in self._session.get_inputs()] != ["prompt_ids", "prompt_mask"]:
            raise CheckpointError(f"{path.name} is not a routing graph: other inputs", location=str(path.parent))
        self.name = "onnx-int8" if path.stem.endswith("int8") else "onnx"

    def score_logits(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Score logits `(B, K)`; see `Backend`."""
        return self._session.run(["score_logits"], {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask})[0]


class OnnxDemandBackend(OnnxBackend):
    """The graph of a network of demands in an inference session."""

    max_batch_size = 1  # dynamic quantisation has one scale for a whole pass: alone, a prompt depends on itself only

    def foresee(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """Demands, difficulty, log tokens, verbosity and embeddings; see `DemandBackend`."""
        return tuple(self._session.run(list(DEMAND_OUTPUTS), {"prompt_ids": prompt_ids, "prompt_mask": prompt_mask}))
