"""`LookaheadCLM`: response prediction with a causal language model (paper §4)."""

import torch
from torch import nn
from torch.nn import functional as F

from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.configuration import LookaheadCLMConfig
from lookahead_router.networks.heads import LatentScoreHead
from lookahead_router.networks.outputs import LookaheadOutput
from lookahead_router.networks.packing import packed_causal_mask, packed_positions


class LookaheadCLM(LookaheadNetwork):
    """Foresees each candidate's response as the state of its MID token after the prompt, and scores it.

    One packed pass: the prompt is encoded once, each candidate's block follows it (in routing its MID
    token alone, in training also its response), and a mask keeps every block to the prompt and itself.
    The result is that of K passes over prompt and block.
    """

    configuration: LookaheadCLMConfig

    def __init__(
        self,
        config: LookaheadCLMConfig,
        backbone: nn.Module | None = None,
        output_embedding: torch.Tensor | None = None,
    ) -> None:
        """Builds the network.

        Args:
            config: the shape.
            backbone: pretrained decoder, without its language-model head; fresh weights otherwise.
            output_embedding: `(V, H)` weights of that head where they are not tied to the input
                embedding.
        """
        super().__init__(config, backbone)
        vocabulary_size, hidden_size = self.embedding.shape
        self.score_head = LatentScoreHead(hidden_size, config.head_dropout)
        self.output_embedding = None
        if not config.backbone_config.get("tie_word_embeddings", True):
            weights = torch.zeros(vocabulary_size, hidden_size) if output_embedding is None else output_embedding
            self.output_embedding = nn.Parameter(weights.detach().clone())

    def forward(
        self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, slot_ids: torch.Tensor | None = None
    ) -> LookaheadOutput:
        B, T = prompt_ids.shape
        K = self.configuration.n_candidates
        blocks = self.mid_token_ids[None, :, None].expand(B, K, 1)
        if slot_ids is not None:
            blocks = torch.cat([blocks, slot_ids], dim=2)
        length = blocks.shape[2]
        hidden = self.backbone(
            input_ids=torch.cat([prompt_ids, blocks.flatten(1)], dim=1),
            attention_mask=packed_causal_mask(prompt_mask, K, length),
            position_ids=packed_positions(prompt_mask, K, length),
            use_cache=False,
        ).last_hidden_state
        latents = hidden[:, T:].reshape(B, K, length, -1)
        return LookaheadOutput(self._score_logits(self.score_head(latents[:, :, 0])), latents)

    def reconstruct(self, states: torch.Tensor) -> torch.Tensor:
        """Logits as the pretrained head gives them, without its bias; training refuses backbones where they differ."""
        logits = F.linear(states, self.embedding if self.output_embedding is None else self.output_embedding)
        config = self.configuration.backbone_config
        scale = (config.get("logit_scale") or 1.0) / (config.get("logits_scaling") or 1.0)  # Cohere's, Granite's
        if scale != 1.0:
            logits = scale * logits
        cap = config.get("final_logit_softcapping")  # Gemma's
        return logits if cap is None else cap * torch.tanh(logits / cap)
