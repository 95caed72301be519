"""How fast a training step is, what share of the machine's bf16 matrix products it reaches, and what packing saves.

Steps are those of a recipe on real prompts and answers. The reference is the fastest bf16 product of two
square matrices that was seen in the same process. For a causal network, the same step is also done the plain way,
one row for each candidate, with the same losses.

    python benchmarks/training_speed.py lookahead7.parquet recipes/Llama-lookahead-mlm-minilm.yaml --backbone FOLDER
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

from lookahead_router import RoutingDataset
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.clm import LookaheadCLM
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training import Recipe
from lookahead_router.training.backbones import add_lora, build_network
from lookahead_router.training.batches import Collator, TokenizedDataset
from lookahead_router.training.curriculum import mask_responses, next_token_targets
from lookahead_router.training.memory import keeping_freed_memory
from lookahead_router.training.objectives import IGNORE_INDEX, reconstruction_loss, routing_loss


def peak_flops(n: int = 4096, repeats: int = 5) -> float:
    """The fastest bf16 product of two `n` by `n` matrices, in floating-point operations a second."""
    a, b = torch.randn(n, n, dtype=torch.bfloat16), torch.randn(n, n, dtype=torch.bfloat16)
    return 2 * n**3 / min(timed(lambda: a @ b, repeats))


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each call, after a warm-up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


class Step:
    """One optimiser step on a fixed batch."""

    def __init__(self, network: LookaheadNetwork, batch: dict[str, torch.Tensor], recipe: Recipe) -> None:
        self.network, self.batch, self.recipe = network.train(), batch, recipe
        self.optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-6, fused=True)
        ids, lengths = batch["response_ids"], batch["response_lengths"]
        if isinstance(network, LookaheadCLM):
            self.slots, targets = ids, next_token_targets(ids, lengths, network.configuration.eos_token_id)
        else:
            self.slots, targets = mask_responses(ids, lengths, network.mid_token_ids, 1.0)
        self.targets = targets.flatten()
        positions = (self.targets != IGNORE_INDEX).nonzero().squeeze(1)
        limit = recipe.objective.max_reconstruction_targets
        self.positions = positions if limit is None else positions[torch.randperm(len(positions))[:limit]]

    def __call__(self, forward: Callable[[], tuple[torch.Tensor, torch.Tensor]] | None = None) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits, latents = (forward or self.forward)()
            routing = routing_loss(logits, self.batch["targets"], self.recipe.objective.routing)
            rebuilt = self.network.reconstruct(latents.flatten(0, 2)[self.positions])
            loss = routing + self.recipe.objective.reconstruction_weight * reconstruction_loss(
                rebuilt, self.targets[self.positions]
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        output = self.network(self.batch["prompt_ids"], self.batch["prompt_mask"], self.slots)
        return output.score_logits, output.latents

    def separate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A causal network the plain way: `B * K` rows of prompt, MID token and response."""
        prompt_ids, prompt_mask = self.batch["prompt_ids"], self.batch["prompt_mask"]
        B, K, _ = self.slots.shape
        mid = self.network.mid_token_ids[None, :, None].expand(B, K, 1)
        blocks = torch.cat([mid, self.slots], dim=2).flatten(0, 1)
        ids = torch.cat([prompt_ids.repeat_interleave(K, 0), blocks], dim=1)
        mask = torch.cat([prompt_mask.repeat_interleave(K, 0), torch.ones_like(blocks)], dim=1)
        hidden = self.network.backbone(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False
        ).last_hidden_state
        latents = hidden[:, prompt_ids.shape[1] :].reshape(B, K, blocks.shape[1], -1)
        return self.network.score_head(latents[:, :, 0]), latents

    @property
    def n_tokens(self) -> int:
        """Tokens of prompts and blocks, padding not counted."""
        block = self.slots.shape[1] * (self.slots.shape[2] + 1)
        return int(self.batch["prompt_mask"].sum()) + self.slots.shape[0] * block

    def flops(self) -> float:
        """Of the matrix products of a step: forward, towards the inputs, and towards the weights that learn."""
        backbone = self.network.backbone
        linear = sum(p.numel() for p in backbone.parameters() if p.dim() == 2) - self.network.embedding.numel()
        shape = backbone.config
        B, K, M = self.slots.shape
        length = self.batch["prompt_ids"].shape[1] + K * (M + 1)
        attention = 4 * shape.num_hidden_layers * B * length**2 * shape.hidden_size
        vocabulary = 2 * len(self.positions) * self.network.embedding.numel()
        passes = 2 if self.recipe.network.lora else 3
        return passes * 2 * linear * B * length + 3 * (attention + vocabulary)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Speed, share of the machine, and what packing saves, for the recipe and data named."""
    torch.manual_seed(0)
    recipe = Recipe.from_yaml(arguments.recipe, arguments.overrides)
    dataset = RoutingDataset.from_file(arguments.data).filter(split=recipe.data.train_split)
    network, tokenizer = build_network(recipe, arguments.backbone, n_candidates=len(dataset.pool))
    if recipe.network.lora:
        add_lora(network, recipe.network.lora)
    # A bucket of like length around the median prompt, as the trainer makes them.
    fast = PromptTokenizer.of(network.configuration, tokenizer)
    lengths = np.array([len(ids) for ids in fast.encode(list(dataset.prompts))[0]])
    middle = np.argsort(np.abs(lengths - np.median(lengths)), kind="stable")[: recipe.optimizer.batch_size]
    rows = TokenizedDataset.build(dataset.select(np.sort(middle)), fast, recipe.network.n_slots, recipe.objective)
    batch = Collator(network.configuration.pad_token_id)([rows[i] for i in range(len(rows))])
    step = Step(network, batch, recipe)
    seconds, peak = float(np.median(timed(step, arguments.repeats))), peak_flops()
    report = {
        "recipe": recipe.name,
        "threads": torch.get_num_threads(),
        "batch": list(batch["prompt_ids"].shape),
        "seconds_per_step": round(seconds, 2),
        "tokens_per_second": round(step.n_tokens / seconds),
        "gigaflops": round(step.flops() / seconds / 1e9),
        "gigaflops_of_a_matrix_product": round(peak / 1e9),
        "share": round(step.flops() / seconds / peak, 3),
    }
    if isinstance(network, LookaheadCLM):
        with torch.no_grad():
            network.eval()
            difference = (step.forward()[0] - step.separate()[0]).abs().max()
            network.train()
        plain = float(np.median(timed(lambda: step(step.separate), arguments.repeats)))
        report |= {
            "seconds_per_step_of_separate_rows": round(plain, 2),
            "packed_share_of_separate": round(seconds / plain, 3),
            "largest_difference_of_logits": float(f"{float(difference):.1e}"),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("recipe")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    with keeping_freed_memory():
        print(json.dumps(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
