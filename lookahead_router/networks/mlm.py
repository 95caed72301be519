"""`LookaheadMLM`: joint response prediction with a masked-language encoder (paper §4, §C)."""

import inspect

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.configuration import LookaheadMLMConfig
from lookahead_router.networks.heads import ReconstructionHead, ScoreHead
from lookahead_router.networks.outputs import LookaheadOutput
from lookahead_router.networks.packing import masked_blocks, packed_positions


class LookaheadMLM(nn.Module):
    """Foresees the start of every candidate's response in one pass and scores the candidates.

    Slots hold their candidate's MID token; the encoder turns them into latents under full attention
    between prompt and blocks, and the first token (CLS) is read out into one score per candidate.
    """

    def __init__(self, config: LookaheadMLMConfig, backbone: nn.Module | None = None) -> None:
        """Builds the network.

        Args:
            config: the shape.
            backbone: pretrained encoder that fits `config.backbone_config`; fresh weights otherwise.

        Raises:
            ConfigurationError: the backbone takes no `position_ids`, so blocks cannot restart theirs.
        """
        super().__init__()
        self.configuration = config  # not `config`: the Trainer writes into an attribute of that name
        self.backbone = backbone if backbone is not None else _fresh_backbone(config)
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # never read here, and it would stay untrained
        if "position_ids" not in inspect.signature(self.backbone.forward).parameters:
            raise ConfigurationError(
                f"a {config.backbone_config.get('model_type')!r} backbone takes no position_ids; "
                "choose a BERT-like encoder that does (bert, modernbert, ...)"
            )
        embedding = self.backbone.get_input_embeddings()
        vocabulary_size, hidden_size = embedding.weight.shape
        self.score_head = ScoreHead(hidden_size, config.n_candidates, config.head_dropout)
        self.reconstruction_head = ReconstructionHead(hidden_size, vocabulary_size)
        mids = torch.tensor(config.mid_token_ids)
        blocks = masked_blocks(mids, config.n_slots, config.sep_token_id) if config.n_slots else mids[:, None][:, :0]
        self.register_buffer("masked_block_ids", blocks, persistent=False)

    def forward(
        self,
        prompt_ids: torch.Tensor,
        prompt_mask: torch.Tensor,
        block_ids: torch.Tensor | None = None,
    ) -> LookaheadOutput:
        """Scores and latents of a batch.

        Args:
            prompt_ids: `(B, T)`, each row CLS, prompt, SEP, padded on the *left*.
            prompt_mask: `(B, T)`, 1 on tokens, 0 on padding.
            block_ids: `(B, K, M+1)` partly revealed blocks, in training; fully masked when absent.
                Routing never passes it, so no response text can reach a score.
        """
        B = prompt_ids.shape[0]
        K, block_length = self.masked_block_ids.shape
        if block_ids is None:
            block_ids = self.masked_block_ids[None].expand(B, -1, -1)
        blocks = block_ids.reshape(B, K * block_length)
        hidden = self.backbone(
            input_ids=torch.cat([prompt_ids, blocks], dim=1),
            attention_mask=torch.cat([prompt_mask, torch.ones_like(blocks)], dim=1),
            position_ids=packed_positions(prompt_mask, K, block_length),
        ).last_hidden_state
        T, H = prompt_ids.shape[1], hidden.shape[2]
        first = prompt_mask.argmax(dim=1)[:, None, None].expand(-1, 1, H)
        cls = hidden.gather(1, first).squeeze(1)
        latents = hidden[:, T:].reshape(B, K, block_length, H)[:, :, : self.configuration.n_slots]
        return LookaheadOutput(self.score_head(cls), latents)

    def reconstruct(self, states: torch.Tensor) -> torch.Tensor:
        """`(N, H)` latents -> `(N, V)` logits of the response tokens they should stand for."""
        return self.reconstruction_head(states, self.backbone.get_input_embeddings().weight)


def _fresh_backbone(config: LookaheadMLMConfig) -> nn.Module:
    return AutoModel.from_config(AutoConfig.for_model(**config.backbone_config))
