"""The network itself in torch: the same function as the ONNX graph, and its source."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from lookahead_router.backends.onnx import DEMAND_OUTPUTS
from lookahead_router.errors import CheckpointError
from lookahead_router.extras import require
from lookahead_router.networks.configuration import DemandConfig, NetworkConfig

if TYPE_CHECKING:
    from lookahead_router.networks.base import LookaheadNetwork
    from lookahead_router.networks.demands import DemandNetwork


class TorchBackend:
    """A network in evaluation mode on the CPU, in fp32."""

    name = "torch"
    max_batch_size = 32

    def __init__(self, network: "LookaheadNetwork | DemandNetwork") -> None:
        self.network = network.float().eval()

    @classmethod
    def load(
        cls, config: NetworkConfig | DemandConfig, weights: Path, renamed: Mapping[str, str] | None = None
    ) -> Self:
        """Builds the network and loads safetensors into it, strictly.

        Args:
            config: shape of the network.
            weights: the file.
            renamed: today's names of tensors by those in the file, where they differ.

        Raises:
            CheckpointError: not safetensors, or a tensor is missing, unexpected or of another shape.
            MissingDependencyError: torch, transformers or safetensors is not installed.
        """
        require("torch", "torch")
        require("transformers", "torch")
        safetensors = require("safetensors", "torch")
        load_file = require("safetensors.torch", "torch").load_file
        from lookahead_router.networks.build import build_network

        try:
            tensors = load_file(weights)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{weights.name} is not readable safetensors: {error}", location=str(weights.parent)
            ) from error
        network = build_network(config)
        try:
            for old in [name for name in tensors if name in (renamed or {}) and renamed[name] not in tensors]:
                tensors[renamed[old]] = tensors.pop(old)
            network.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{weights.name} does not fit config.json: {error}", location=str(weights.parent)
            ) from error
        return cls(network)

    def score_logits(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Score logits `(B, K)`; see `Backend`."""
        import torch

        # Inside the call: torch keeps gradient mode per thread.
        with torch.inference_mode():
            output = self.network(torch.from_numpy(prompt_ids), torch.from_numpy(prompt_mask))
        return output.score_logits.float().numpy()


class TorchDemandBackend(TorchBackend):
    """A demand network in evaluation mode on the CPU, in fp32."""

    def foresee(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> tuple[np.ndarray, ...]:
        """Demands, difficulty, log tokens, verbosity and embeddings; see `DemandBackend`."""
        import torch

        with torch.inference_mode():
            output = self.network(torch.from_numpy(prompt_ids), torch.from_numpy(prompt_mask))
        return tuple(getattr(output, name).float().numpy() for name in DEMAND_OUTPUTS)
