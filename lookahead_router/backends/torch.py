"""The network itself in torch: the same function as the ONNX graph, and its source."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lookahead_router.backends.base import side_by_side
from lookahead_router.backends.onnx import DEMAND_OUTPUTS
from lookahead_router.errors import CheckpointError, ConfigurationError, PredictionError
from lookahead_router.extras import require
from lookahead_router.networks.configuration import NetworkConfig
from lookahead_router.networks.demand_configuration import DemandConfig

if TYPE_CHECKING:
    import torch

    from lookahead_router.networks.base import LookaheadNetwork
    from lookahead_router.networks.demands import DemandNetwork


class TorchBackend:
    """A network in evaluation mode on the CPU, in fp32."""

    name = "torch"
    max_batch_size = 32

    def __init__(self, network: "LookaheadNetwork | DemandNetwork") -> None:
        self.network = network.float().eval()
        self._process = os.getpid()

    @classmethod
    def load(cls, config: NetworkConfig | DemandConfig, weights: Path) -> Self:
        """Builds the network and loads safetensors into it, strictly.

        Args:
            config: shape of the network.
            weights: the file.

        Raises:
            CheckpointError: not safetensors, or a tensor is missing, unexpected or of another shape.
            MissingDependencyError: torch, transformers or safetensors is not installed.
        """
        require("torch", "torch")
        require("transformers", "torch")
        safetensors = require("safetensors", "torch")
        load_file = require("safetensors.torch", "torch").load_file

        try:
            tensors = load_file(weights)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{weights.name} is not readable safetensors: {error}", location=str(weights.parent)
            ) from error
        network = _built(config, tensors, str(weights.parent))
        try:
            network.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{weights.name} does not fit config.json: {error}", location=str(weights.parent)
            ) from error
        return cls(network)

    def score_logits(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Score logits `(B, K)`; see `Backend`."""
        return self._run(prompt_ids, prompt_mask).score_logits.float().numpy()

    def _run(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> Any:
        import torch

        if self._process != os.getpid():  # a forked child has none of the threads that torch would wait for
            torch.set_num_threads(1)
            self._process = os.getpid()
        try:
            with torch.inference_mode():  # inside the call: torch keeps gradient mode per thread
                return self.network(torch.from_numpy(prompt_ids), torch.from_numpy(prompt_mask))
        except Exception as error:  # whatever the code of a backbone does with a shape that it did not expect
            raise PredictionError(f"the network cannot be run: {error}") from error


class TorchDemandBackend(TorchBackend):
    """A demand network in evaluation mode on the CPU, in fp32."""

    @property
    def n_demands(self) -> int:
        """R, how many demands there are."""
        return self.network.configuration.n_demands

    def foresee(self, prompt_ids: np.ndarray, prompt_mask: np.ndarray) -> np.ndarray:
        """Demands, difficulty, log tokens, verbosity and embeddings side by side; see `DemandBackend`."""
        output = self._run(prompt_ids, prompt_mask)
        return side_by_side([getattr(output, name).float().numpy() for name in DEMAND_OUTPUTS], "the torch backend")


def _built(
    config: NetworkConfig | DemandConfig, tensors: Mapping[str, "torch.Tensor"], location: str
) -> "LookaheadNetwork | DemandNetwork":
    """A network with fresh weights, of no more layers and no larger matrices than the tensors that are to fill it."""
    import torch

    from lookahead_router.networks.backbone import backbone_config
    from lookahead_router.networks.build import build_network

    try:
        n_layers = getattr(backbone_config(config.backbone_config), "num_hidden_layers", 0)
        if type(n_layers) is not int or n_layers > len(tensors):
            raise ConfigurationError(f"{n_layers!r} layers, and weights of {len(tensors)} tensors")
        with torch.device("meta"):  # takes no memory, whatever sizes it names
            shapes = {name: tensor.shape for name, tensor in build_network(config).state_dict().items()}
        wrong = [name for name in shapes if name not in tensors or tensors[name].shape != shapes[name]]
        if not wrong:
            return build_network(config)
    except Exception as error:  # transformers checks few values, so anything may come of the others
        raise CheckpointError(f"config.json, backbone_config cannot be built: {error}", location=location) from error
    raise CheckpointError(
        f"model.safetensors does not fit config.json: {wrong[0]} and {len(wrong) - 1} more are missing or of another "
        "shape",
        location=location,
    )
