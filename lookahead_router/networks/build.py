"""From a saved configuration to its network."""

from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.clm import LookaheadCLM
from lookahead_router.networks.configuration import LookaheadCLMConfig, NetworkConfig
from lookahead_router.networks.mlm import LookaheadMLM


def build_network(config: NetworkConfig) -> LookaheadNetwork:
    """A network of either kind with fresh weights."""
    return LookaheadCLM(config) if isinstance(config, LookaheadCLMConfig) else LookaheadMLM(config)
