"""What both Lookahead networks are to the code around them."""

import inspect
from abc import ABC, abstractmethod

import torch
from torch import nn

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.backbone import fresh_backbone
from lookahead_router.networks.configuration import NetworkConfig
from lookahead_router.networks.outputs import LookaheadOutput


class LookaheadNetwork(nn.Module, ABC):
    """A backbone with heads: prompts in, one score per candidate and the foreseen responses out."""

    def __init__(self, config: NetworkConfig, backbone: nn.Module | None = None) -> None:
        """Holds the backbone.

        Args:
            config: the shape.
            backbone: pretrained model that fits `config.backbone_config`; fresh weights otherwise.

        Raises:
            ConfigurationError: the backbone takes no `position_ids`, so blocks cannot restart theirs.
        """
        super().__init__()
        self.configuration = config  # not `config`: the Trainer writes into an attribute of that name
        self.backbone = backbone if backbone is not None else fresh_backbone(config.backbone_config)
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # never read here, and it would stay untrained
        if "position_ids" not in inspect.signature(self.backbone.forward).parameters:
            raise ConfigurationError(
                f"a {config.backbone_config.get('model_type')!r} backbone takes no position_ids; "
                "choose one that does (bert, modernbert, llama, ...)"
            )
        _check_embeddings(self.backbone, config.backbone_config.get("model_type"))
        self.register_buffer("mid_token_ids", torch.tensor(config.mid_token_ids), persistent=False)

    @property
    def embedding(self) -> torch.Tensor:
        """`(V, H)` input embedding."""
        return self.backbone.get_input_embeddings().weight

    @abstractmethod
    def forward(
        self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, slot_ids: torch.Tensor | None = None
    ) -> LookaheadOutput:
        """Scores and latents of a batch.

        Args:
            prompt_ids: `(B, T)` framed prompts, padded on the *left*.
            prompt_mask: `(B, T)`, 1 on tokens, 0 on padding.
            slot_ids: `(B, K, M)` what the candidates' slots show of their responses, in training.
                Routing never passes it, so no response text can reach a score.
        """

    def _score_logits(self, raw: torch.Tensor) -> torch.Tensor:
        """`(B, K)` what the score head says, in the unit that the configuration asks for."""
        scale = self.configuration.score_scale
        return raw if scale is None else scale * (raw - raw.mean(dim=1, keepdim=True))

    @abstractmethod
    def reconstruct(self, states: torch.Tensor) -> torch.Tensor:
        """`(N, H)` latents -> `(N, V)` logits of the response tokens they should stand for."""


def _check_embeddings(backbone: nn.Module, kind: str | None) -> None:
    """Refuses what would run and be wrong, or break in the heads."""
    for name, module in backbone.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            raise ConfigurationError(
                f"a {kind!r} backbone counts its positions from after the padding's, where blocks count from 0; "
                "choose another family (bert, modernbert, ...)"
            )
    width, hidden_size = backbone.get_input_embeddings().weight.shape[1], backbone.config.hidden_size
    if width != hidden_size:
        raise ConfigurationError(
            f"a {kind!r} backbone with embeddings of {width} and states of {hidden_size} cannot rebuild responses "
            "through its embeddings; choose one where they are alike"
        )
