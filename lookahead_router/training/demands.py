"""A training run of a demand network from answers to saved network, resumable at any point, over any processes."""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from tqdm.auto import tqdm
from transformers import set_seed

from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError
from lookahead_router.files import replacing_file, replacing_folder, write_text
from lookahead_router.networks.demands import DemandNetwork
from lookahead_router.networks.outputs import DemandOutput
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.saved.folder import write_json
from lookahead_router.training.augmentation import Augmenter, strip_instructions
from lookahead_router.training.backbones import build_demand_network
from lookahead_router.training.demand_answers import Population, build_population, reference_bags, select_answers
from lookahead_router.training.demand_objectives import (
    TYPICAL_LOG_TOKENS,
    Abilities,
    Answers,
    answer_losses,
    bag_loss,
    consistency_loss,
)
from lookahead_router.training.demand_recipe import DemandRecipe

CHECKPOINT_STEPS = 50
N_CHUNKS = 3
"""Parts of a batch by length, so that short prompts are not padded to long ones."""
N_ASKED = 64
"""Candidates of a step whose logits have to agree between the views of a prompt."""
MAX_BAGS = 96
"""Slots of a step that are rebuilt."""


def fit_demands(
    table: OutcomeTable,
    recipe: DemandRecipe,
    output: str | Path | None = None,
    *,
    backbone: str | Path | None = None,
    show_progress: bool = True,
) -> Path:
    """Trains a demand network; returns the folder `network` of the run, with weights, tokenizer and configuration.

    Called again with the same arguments, it resumes at the last checkpoint, and returns at once where it is finished.
    Under torchrun every process draws prompts of its own, and gradients are averaged.

    Args:
        table: answers with splits.
        recipe: every setting.
        output: folder of the run; the recipe's `run_folder` when absent.
        backbone: folder to load the recipe's backbone from, where it is not to come from the Hub.
        show_progress: a progress bar with the losses.

    Raises:
        DataError: a split without answers, or a pattern that fits nothing.
        ConfigurationError: settings that the backbone cannot take, or another run's output folder.
        CheckpointError: the backbone cannot be loaded.
    """
    output = recipe.run_folder if output is None else Path(output)
    final = output / "network"
    _claim(output, recipe)
    if final.is_dir():
        return final
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("gloo")
    run = _Run(select_answers(table, recipe.data), recipe, output, str(backbone or recipe.backbone))
    run.train(show_progress)
    if run.rank == 0:
        run.save(final)
    if run.n_processes > 1:
        dist.barrier()
    return final


def _claim(output: Path, recipe: DemandRecipe) -> None:
    import yaml

    path, content = output / "run.yaml", yaml.safe_dump(recipe.training_settings(), sort_keys=False)
    if path.is_file() and path.read_text(encoding="utf-8") != content and (output / "last.pt").exists():
        raise ConfigurationError(f"{output} holds a run with another recipe; choose another output folder or delete it")
    write_text(path, content)


class _Run:
    """What the steps of a run share."""

    def __init__(self, table: OutcomeTable, recipe: DemandRecipe, output: Path, backbone: str) -> None:
        self.recipe, self.output = recipe, output
        self.rank, self.n_processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        set_seed(recipe.seed)
        self.network, fast = build_demand_network(recipe, backbone)
        self.tokenizer_file = fast.to_str()
        self.tokenizer = PromptTokenizer.of(self.network.configuration, fast)
        references = recipe.network.references
        self.train_rows = build_population(table, recipe.data.train_split, recipe.data, references)
        self.validation_rows = build_population(table, recipe.data.validation_split, recipe.data, references)
        shape = len(self.train_rows.names), recipe.network.n_demands, self.train_rows.n_offsets
        self.abilities = Abilities(*shape)
        self.step = 0

    # From frozen embeddings

    def start(self) -> torch.Tensor:
        """Fits head and abilities to frozen embeddings; returns those of the plain prompts, `(m, H)`."""
        targets = frozen_states(self.network, self.tokenizer, [strip_instructions(t) for t in self.train_rows.texts])
        settings, rows = self.recipe.optimizer, self.train_rows
        head, n_answered = self.network.head, int((np.diff(rows.starts) > 0).sum())
        n_steps = max(1, int(settings.start_epochs * n_answered / 256))
        parameters = [
            {"params": head.parameters(), "weight_decay": settings.weight_decay},
            {"params": self.abilities.parameters(), "weight_decay": 0.0},
        ]
        rates = [settings.start_learning_rate, 2 * settings.start_learning_rate]
        optimizer = torch.optim.AdamW(parameters, lr=rates[0])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=n_steps, pct_start=0.1)
        random = np.random.default_rng(self.recipe.seed)
        chances = rows.draw_weights(self.recipe.data.group_exponent) * (np.diff(rows.starts) > 0)
        chances /= chances.sum()
        head.train()
        for _ in range(n_steps):
            drawn = random.choice(rows.n_prompts, 256, p=chances)
            read = self._read(targets[drawn])
            answers = draw_answers(rows, drawn, self.recipe.data.max_answers, random)
            entropy, lengths = answer_losses(read, self.abilities, answers)
            loss = entropy + self.recipe.objective.length_weight * lengths + self._prior()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return targets

    def _read(self, pooled: torch.Tensor) -> DemandOutput:
        config = self.network.configuration
        nothing = torch.zeros_like(pooled)
        latents = nothing[:, None, None].expand(-1, config.n_references, config.n_slots, -1)
        read, R = self.network.head(pooled, nothing, latents), config.n_demands
        return DemandOutput(read[:, :R], read[:, R], read[:, R + 1], read[:, R + 2], pooled, latents)

    def _prior(self) -> torch.Tensor:
        return self.abilities.prior(self.recipe.objective) / (0.6 * len(self.train_rows.scores))

    # Fine-tuning

    def train(self, show_progress: bool) -> None:
        """Runs all steps that are left."""
        settings = self.recipe.optimizer
        last = self.output / "last.pt"
        saved = torch.load(last, weights_only=True) if last.is_file() else None
        targets = saved["targets"] if saved else self.start()
        self._freeze()
        groups = self._parameter_groups()
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        rates = [group["lr"] for group in optimizer.param_groups]
        average = copy.deepcopy(torch.nn.ModuleList([self.network, self.abilities])).eval()
        self.average = average
        if saved:
            self.network.load_state_dict(saved["network"])
            self.abilities.load_state_dict(saved["abilities"])
            average.load_state_dict(saved["average"])
            optimizer.load_state_dict(saved["optimizer"])
            self.step = saved["step"]
        current = [*self.network.parameters(), *self.abilities.parameters()]
        bar = tqdm(
            total=settings.n_steps,
            initial=self.step,
            desc=self.recipe.name,
            unit="step",
            disable=not (show_progress and self.rank == 0),
        )
        with bar:
            for losses in self._steps(optimizer, rates, targets):
                decay = min(settings.averaging_decay, (1 + self.step) / (10 + self.step))
                with torch.no_grad():
                    for slow, fast in zip(average.parameters(), current, strict=True):
                        slow.lerp_(fast, 1 - decay)
                bar.update()
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()})
                if self.rank == 0 and (self.step % CHECKPOINT_STEPS == 0 or self.step == settings.n_steps):
                    self._checkpoint(last, optimizer, targets, losses)

    def _steps(self, optimizer, rates: list[float], targets: torch.Tensor) -> Iterator[dict[str, float]]:
        settings, rows = self.recipe.optimizer, self.train_rows
        bags = reference_bags(
            rows, self.recipe.network.references, self.recipe.network.n_slots, self.tokenizer, self.recipe.seed
        )
        passages = [text for answers in rows.responses for text in answers.values() if len(text) > 250]
        examples = [
            (rows.texts[row], text)
            for row, answers in enumerate(rows.responses)
            for text in answers.values()
            if len(rows.texts[row]) < 300 and len(text) < 200
        ]
        chances = rows.draw_weights(self.recipe.data.group_exponent)
        trained = [p for group in optimizer.param_groups for p in group["params"]]
        self.network.train()
        self.network.backbone.eval()  # no dropout below the head: the variants are noise enough
        while self.step < settings.n_steps:
            seed = [self.recipe.seed, self.rank, self.step]  # what a step draws depends on nothing before it
            random = np.random.default_rng(seed)
            torch.manual_seed(int(random.integers(2**31)))
            augmenter = Augmenter(passages, examples, seed=int(random.integers(2**31)))
            left = 1 - self.step / settings.n_steps
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * max(0.02, min(1.0, (self.step + 1) / (1 + settings.warmup_steps)) * left)
            drawn = random.choice(rows.n_prompts, max(1, settings.batch_size // self.n_processes), p=chances)
            loss, parts = self._loss(drawn, random, augmenter, targets, bags)
            optimizer.zero_grad()
            loss.backward()
            self._average_gradients(trained)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.max_gradient_norm)
            optimizer.step()
            self.step += 1
            yield parts

    def _loss(
        self, drawn: np.ndarray, random: np.random.Generator, augmenter: Augmenter, targets: torch.Tensor, bags
    ) -> tuple[torch.Tensor, dict[str, float]]:
        rows, aims, n = self.train_rows, self.recipe.objective, len(drawn)
        texts = [rows.texts[i] for i in drawn]
        plain = [strip_instructions(t) if random.random() < 0.6 else t for t in texts]
        output = self._forward([*plain, *map(augmenter.vary, texts)])
        answers = draw_answers(rows, drawn, self.recipe.data.max_answers, random)
        losses = [answer_losses(output, self.abilities, view) for view in (answers, answers.shifted(n))]
        parts = {
            "answers": sum(entropy for entropy, _ in losses) / 2,
            "length": aims.length_weight * sum(length for _, length in losses) / 2,
        }
        asked = torch.from_numpy(random.choice(rows.often_asked, N_ASKED)) if len(rows.often_asked) else None
        if asked is not None:
            logits = self.abilities.all_logits(output, asked)
            parts["consistency"] = aims.consistency_weight * consistency_loss(output, logits, n)
            labels = torch.tensor(rows.labels[drawn], dtype=torch.float32)
            is_everyday = torch.isfinite(labels)
            if is_everyday.any():
                both = torch.cat([is_everyday, is_everyday])
                wanted = torch.cat([labels, labels])[both][:, None].expand(-1, N_ASKED)
                entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits[both], wanted)
                parts["everyday"] = entropy * is_everyday.float().mean()
        nearness = torch.nn.functional.cosine_similarity(output.embedding, targets[drawn].repeat(2, 1))
        parts["distillation"] = aims.distillation_weight * (1 - nearness).mean()
        held = np.argwhere((bags[drawn] >= 0).any(axis=2))
        if len(held) and aims.reconstruction_weight:
            held = held[random.permutation(len(held))[:MAX_BAGS]]
            view = torch.from_numpy(random.integers(0, 2, len(held)) * n)
            states = output.latents.flatten(1, 2)[torch.from_numpy(held[:, 0]) + view, torch.from_numpy(held[:, 1])]
            with self._autocast():
                words = self.network.reconstruct(states)
            wanted = torch.from_numpy(bags[drawn][held[:, 0], held[:, 1]]).long()
            parts["reconstruction"] = aims.reconstruction_weight * bag_loss(words, wanted)
        loss = sum(parts.values()) + self._prior()
        return loss, {name: float(part.detach()) for name, part in parts.items()}

    def _forward(self, texts: list[str]) -> DemandOutput:
        encoded, _ = self.tokenizer.encode(texts)
        order = np.array(sorted(range(len(encoded)), key=lambda row: len(encoded[row])))
        with self._autocast():
            outputs = [
                self.network(*map(torch.from_numpy, left_pad([encoded[i] for i in part], self.tokenizer.pad_token_id)))
                for part in np.array_split(order, min(N_CHUNKS, len(order)))
            ]
        back = torch.from_numpy(np.argsort(order))
        return DemandOutput(
            *(torch.cat([value.float() for value in values])[back] for values in zip(*outputs, strict=True))
        )

    def _autocast(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.optimizer.use_bf16)

    def _freeze(self) -> None:
        n = self.recipe.network.n_frozen_layers
        self.network.embedding.requires_grad_(False)
        if n:
            self.network.slots.requires_grad_(False)
            for part in (self.network.backbone.embeddings, *self.network.backbone.encoder.layer[:n]):
                part.requires_grad_(False)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        settings = self.recipe.optimizer
        named = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        return [
            {
                "params": [p for name, p in named if name.startswith("backbone.") is is_backbone],
                "lr": settings.learning_rate if is_backbone else settings.head_learning_rate,
                "weight_decay": settings.weight_decay,
            }
            for is_backbone in (True, False)
        ] + [{"params": list(self.abilities.parameters()), "lr": settings.head_learning_rate, "weight_decay": 0.0}]

    def _average_gradients(self, trained: list[torch.Tensor]) -> None:
        if self.n_processes == 1:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
        dist.all_reduce(flat)
        at = 0
        for p in trained:
            p.grad = (flat[at : at + p.numel()] / self.n_processes).view_as(p)
            at += p.numel()

    # What is kept

    def _checkpoint(self, path: Path, optimizer, targets: torch.Tensor, losses: dict[str, float]) -> None:
        state = {
            "network": self.network.state_dict(),
            "abilities": self.abilities.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": self.step,
            "targets": targets,
        }
        with replacing_file(path) as temporary:
            torch.save(state, temporary)
        with (self.output / "history.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": self.step, **losses}) + "\n")

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Cross-entropy of the averaged network on the answers to validation prompts."""
        network, abilities = self.average
        rows = self.validation_rows
        total = weight = 0.0
        random = np.random.default_rng(0)
        network.eval()
        for part in np.array_split(np.arange(rows.n_prompts), max(1, rows.n_prompts // 64)):
            kept, self.network = self.network, network
            output = self._forward([rows.texts[i] for i in part])
            self.network = kept
            answers = draw_answers(rows, part, self.recipe.data.max_answers, random)
            entropy, _ = answer_losses(output, abilities, answers)
            total += float(entropy * answers.weights.sum())
            weight += float(answers.weights.sum())
        return total / weight

    def save(self, folder: Path) -> None:
        """Writes the averaged network with its tokenizer and configuration, whole or not at all."""
        network, abilities = self.average
        network.head.out.bias.data[self.recipe.network.n_demands + 1] += TYPICAL_LOG_TOKENS
        rows = self.train_rows
        record = {
            "recipe": self.recipe.training_settings(),
            "n_prompts": rows.n_prompts,
            "n_answers": len(rows.scores),
            "n_candidates": len(rows.names),
            "step": self.step,
            "validation_loss": self.validation_loss(),
        }
        with replacing_folder(folder) as temporary:
            write_text(temporary / "tokenizer.json", self.tokenizer_file)
            write_json(temporary / "network.json", network.configuration.model_dump(mode="json"))
            write_json(temporary / "training.json", record)
            tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
            save_file(tensors, temporary / "model.safetensors")
            kept = {name: tensor.contiguous() for name, tensor in abilities.state_dict().items()}
            save_file(kept, temporary / "abilities.safetensors")


@torch.no_grad()
def frozen_states(network: DemandNetwork, tokenizer: PromptTokenizer, texts: list[str]) -> torch.Tensor:
    """`(n, H)` mean states of the backbone alone, without slots."""
    encoded, _ = tokenizer.encode(texts)
    backbone = network.backbone.eval()
    states = torch.zeros(len(texts), network.slots.shape[1])
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    for start in range(0, len(order), 32):
        part = order[start : start + 32]
        ids, mask = map(torch.from_numpy, left_pad([encoded[i] for i in part], tokenizer.pad_token_id))
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        hidden = backbone(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
        weights = mask[:, :, None].float()
        states[part] = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    return states


def draw_answers(rows: Population, drawn: np.ndarray, limit: int, random: np.random.Generator) -> Answers:
    """At most `limit` answers to each drawn prompt; half of that many weigh full, more no more together."""
    picked, at, weights = [], [], []
    for row, prompt in enumerate(drawn):
        own = np.arange(rows.starts[prompt], rows.starts[prompt + 1])
        if len(own) > limit:
            own = random.choice(own, limit, replace=False)
        picked.append(own)
        at.append(np.full(len(own), row))
        weights.append(np.full(len(own), min(len(own), limit / 2) / max(1, len(own))))
    index = np.concatenate(picked)
    return Answers(
        rows=torch.from_numpy(np.concatenate(at)),
        candidates=torch.from_numpy(rows.candidates[index]),
        sources=torch.from_numpy(rows.sources[index]),
        scores=torch.tensor(rows.scores[index], dtype=torch.float32),
        log_tokens=torch.tensor(rows.log_tokens[index], dtype=torch.float32),
        weights=torch.tensor(np.concatenate(weights), dtype=torch.float32),
    )
