"""Saved weights in the backend that runs them."""

from pathlib import Path
from typing import TYPE_CHECKING

from lookahead_router.backends.base import Backend, DemandBackend
from lookahead_router.networks.demand_configuration import DemandConfig

if TYPE_CHECKING:
    from lookahead_router.networks.configuration import NetworkConfig


def open_backend(
    name: str,
    weights: Path,
    network: "NetworkConfig | DemandConfig",
    n_threads: int | None,
    *,
    is_installed: bool = False,
) -> Backend | DemandBackend:
    """The backend for a network of either kind.

    Args:
        name: `onnx-int8`, `onnx`, `torch` or `static`.
        weights: the file that it runs.
        network: whose weights they are.
        n_threads: of one ONNX pass; the physical cores that this process may use when absent.
        is_installed: whether they came with this package.

    Raises:
        CheckpointError: not such weights.
        MissingDependencyError: the torch backend without torch.
    """
    has_demands = isinstance(network, DemandConfig)
    if name == "torch":
        from lookahead_router.backends.torch import TorchBackend, TorchDemandBackend

        return (TorchDemandBackend if has_demands else TorchBackend).load(network, weights)
    from lookahead_router.backends.onnx import OnnxBackend, OnnxDemandBackend

    return (OnnxDemandBackend if has_demands else OnnxBackend)(weights, n_threads=n_threads, is_installed=is_installed)
