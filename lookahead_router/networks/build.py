"""From a saved configuration to its network."""

from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.clm import LookaheadCLM
from lookahead_router.networks.configuration import LookaheadCLMConfig, NetworkConfig
from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.networks.demands import DemandNetwork
from lookahead_router.networks.mlm import LookaheadMLM


def build_network(config: NetworkConfig | DemandConfig) -> LookaheadNetwork | DemandNetwork:
    """A network of any kind with fresh weights."""
    if isinstance(config, DemandConfig):
        return DemandNetwork(config)
    return LookaheadCLM(config) if isinstance(config, LookaheadCLMConfig) else LookaheadMLM(config)
