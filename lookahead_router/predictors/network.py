"""The network of a saved predictor with its tokenizer, opened: the same for every kind that has one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookahead_router.backends.base import Backend, DemandBackend
from lookahead_router.backends.open import open_backend
from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.networks.demand_configuration import DemandConfig, parse_network_config
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.saved.find import Found

if TYPE_CHECKING:
    from lookahead_router.networks.configuration import NetworkConfig


@dataclass(frozen=True)
class OpenNetwork:
    """What runs, and what `config.json` says of it."""

    name: str
    revision: str
    configuration: "NetworkConfig | DemandConfig"
    tokenizer: PromptTokenizer
    backend: Backend | DemandBackend
    weights_sha256: str | None
    """Hash of the weights as recorded; `None` where it was not."""


def open_network(found: Found, kind: str) -> OpenNetwork:
    """The network in a folder, checked and ready to run.

    Args:
        found: the folder.
        kind: what the predictor has to be, `lookahead` or `open-pool`.

    Raises:
        CheckpointError: it is missing, damaged or of another kind.
        MissingDependencyError: the torch backend without torch.
    """
    folder = found.folder
    config, weights, backend = folder.checked(found.backend)
    try:
        network = parse_network_config(config.network)
    except ConfigurationError as error:
        raise CheckpointError(f"config.json, network: {error}", location=folder.location) from error
    has_demands = isinstance(network, DemandConfig)
    if config.predictor != kind or has_demands != (kind == "open-pool"):
        raise CheckpointError(
            f"expected a predictor of kind {kind}, found {config.predictor} with a network of kind {network.kind}; "
            "Router.from_pretrained loads any",
            location=folder.location,
        )
    revision = folder.revision(config)
    recorded = config.files.get(weights.relative_to(folder.path).as_posix())
    return OpenNetwork(
        config.name,
        f"{revision}-static" if backend == "static" else revision,  # it decides otherwise
        network,
        PromptTokenizer.of(network, PromptTokenizer.read(folder.tokenizer)),
        open_backend(backend, weights, network, found.n_threads, is_installed=folder.is_installed),
        recorded.sha256 if recorded else None,
    )
