"""`DemandNetwork`: what a prompt asks of whoever answers it, the same for every pool."""

import torch
from torch import nn
from torch.nn import functional as F

from lookahead_router.networks.backbone import fresh_backbone
from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.networks.heads import ReconstructionHead
from lookahead_router.networks.outputs import DemandOutput
from lookahead_router.networks.packing import packed_positions


class DemandNetwork(nn.Module):
    """Foresees the answers of a few reference candidates, and reads from prompt and foresight what is demanded.

    One pass over the prompt and the references' slots. The slots' states stand for those answers, which training asks
    of them; demands, difficulty and length are read from the prompt's pooled states, its first token and the slots.
    """

    def __init__(self, config: DemandConfig, backbone: nn.Module | None = None) -> None:
        """Builds the network.

        Args:
            config: the shape.
            backbone: pretrained encoder that fits `config.backbone_config`; fresh weights otherwise.
        """
        super().__init__()
        self.configuration = config
        self.backbone = backbone if backbone is not None else fresh_backbone(config.backbone_config)
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # never read here
        table = self.backbone.get_input_embeddings().weight
        vocabulary_size, hidden_size = table.shape
        n_slots = config.n_references * config.n_slots
        self.slots = nn.Parameter(table.detach().mean(dim=0) + table.detach().std() * torch.randn(n_slots, hidden_size))
        self.is_mask_whole = False
        """Whether the backbone is given the mask of all pairs of tokens, which it else makes in many operators: for a
        graph of plain attention, where every layer looks everywhere."""
        self.head = DemandHead(config, hidden_size)
        self.reconstruction_head = ReconstructionHead(hidden_size, vocabulary_size) if n_slots else None

    @property
    def embedding(self) -> torch.Tensor:
        """`(V, H)` input embedding."""
        return self.backbone.get_input_embeddings().weight

    def forward(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> DemandOutput:
        """What each prompt of a batch demands.

        Args:
            prompt_ids: `(B, T)` framed prompts, padded on the *left*.
            prompt_mask: `(B, T)`, 1 on tokens, 0 on padding.
        """
        return self.read(*self.states(prompt_ids, prompt_mask))

    def states(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the head reads: pooled prompt and first token `(B, 2, H)`, slots `(B, n_references, M, H)`."""
        B, T = prompt_ids.shape
        n_slots, H = self.slots.shape
        states = self.backbone.get_input_embeddings()(prompt_ids)
        mask = prompt_mask
        if n_slots:
            states = torch.cat([states, self.slots[None].expand(B, n_slots, H)], dim=1)
            mask = torch.cat([prompt_mask, prompt_mask.new_ones(B, n_slots)], dim=1)
        if self.is_mask_whole:
            seen = torch.where(mask[:, None, None, :] > 0, 0.0, torch.finfo(states.dtype).min)
            mask = seen.expand(B, 1, T + n_slots, T + n_slots)
        # One type for all tokens, so that no graph looks one up for each.
        has_types = getattr(self.backbone.config, "type_vocab_size", 0) > 0
        hidden = self.backbone(
            inputs_embeds=states,
            attention_mask=mask,
            position_ids=packed_positions(prompt_mask, int(n_slots > 0), n_slots),
            **({"token_type_ids": prompt_ids.new_zeros(1, 1)} if has_types else {}),
        ).last_hidden_state
        # One product reads both ends, in fewer operators than a mean and a look-up.
        is_prompt = prompt_mask.to(hidden.dtype)
        is_first = (prompt_mask.cumsum(dim=1) * prompt_mask == 1).to(hidden.dtype)
        rows = torch.stack([is_prompt / is_prompt.sum(dim=1, keepdim=True), is_first], dim=1)
        latents = hidden[:, T:].reshape(B, self.configuration.n_references, self.configuration.n_slots, H)
        return F.pad(rows, (0, n_slots)) @ hidden, latents

    def read(self, ends: torch.Tensor, latents: torch.Tensor) -> DemandOutput:
        """What such states demand."""
        read, R = self.head(ends, latents), self.configuration.n_demands
        return DemandOutput(
            demands=read[:, :R],
            difficulty=read[:, R],
            log_tokens=read[:, R + 1],
            verbosity=read[:, R + 2],
            embedding=ends[:, 0] / ends[:, 0].norm(dim=1, keepdim=True),
            latents=latents,
        )

    def reconstruct(self, states: torch.Tensor) -> torch.Tensor:
        """`(N, H)` slot states -> `(N, V)` logits of the tokens that their part of the answer holds."""
        return self.reconstruction_head(states, self.embedding)


class DemandHead(nn.Module):
    """Pooled prompt, first token and slots -> `(B, R + 3)`: demands, difficulty, log tokens, verbosity.

    Each part is normalised and has a map of its own to one hidden layer; all but the pooled prompt's start at zero, so
    that training starts from what a frozen encoder can tell.
    """

    def __init__(self, config: DemandConfig, hidden_size: int) -> None:
        super().__init__()
        self.pooled = nn.Linear(hidden_size, config.head_size)
        others = ["first", *(f"reference_{index}" for index in range(config.n_references if config.n_slots else 0))]
        self.others = nn.ModuleList(nn.Linear(hidden_size, config.head_size, bias=False) for _ in others)
        for part in self.others:
            nn.init.zeros_(part.weight)
        self.norm = nn.LayerNorm(config.head_size)
        self.dropout = nn.Dropout(config.head_dropout)
        self.out = nn.Linear(config.head_size, config.n_demands + 3)
        nn.init.normal_(self.out.weight, std=config.head_size**-0.5)
        nn.init.zeros_(self.out.bias)

    def forward(self, ends: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        parts = torch.cat([ends, latents.mean(dim=2)], dim=1)
        # The sum of all maps is one product.
        weights = torch.cat([self.pooled.weight, *(part.weight for part in self.others)], dim=1)
        hidden = F.linear(F.layer_norm(parts, parts.shape[2:]).flatten(1), weights, self.pooled.bias)
        return self.out(self.dropout(self.norm(F.gelu(hidden))))
