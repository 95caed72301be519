"""A training run of a demand network from answers to saved network, resumable at any point, over any processes."""

import copy
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm
from transformers import set_seed

from lookahead_router.backends.export import export_demands
from lookahead_router.backends.quantize import quantize_rowwise
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import CheckpointError, ConfigurationError, LookaheadRouterWarning
from lookahead_router.files import replacing_file, replacing_folder, write_text
from lookahead_router.networks.demands import DemandNetwork
from lookahead_router.networks.outputs import DemandOutput
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.saved.folder import write_json
from lookahead_router.training.augmentation import Augmenter, strip_instructions
from lookahead_router.training.backbones import build_demand_network
from lookahead_router.training.checkpoints import explaining_full_disks
from lookahead_router.training.demand_answers import (
    build_population,
    draw_answers,
    reference_bags,
    select_answers,
)
from lookahead_router.training.demand_heads import PRIOR_SHARE, fit_head, view_losses
from lookahead_router.training.demand_objectives import TYPICAL_LOG_TOKENS, Abilities, answer_losses, bag_loss
from lookahead_router.training.demand_recipe import DemandRecipe, HeadSettings
from lookahead_router.training.memory import keeping_freed_memory

CHECKPOINT_STEPS = 50
N_CHUNKS = 3
"""Parts of a batch by length, so that short prompts are not padded to long ones."""
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
    """Trains a demand network; returns the folder `network` of the run, from which `build_open_pool` makes a predictor.

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
        CheckpointError: the backbone or the run to go on from cannot be loaded.
    """
    output = recipe.run_folder if output is None else Path(output)
    final, data_fingerprint = output / "network", table.fingerprint()
    _claim(output, recipe, data_fingerprint)
    if final.is_dir():
        return final
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group(None if torch.cuda.is_available() else "gloo")
    with keeping_freed_memory():
        run = _Run(select_answers(table, recipe.data), recipe, output, str(backbone or recipe.backbone))
        run.train(show_progress)
        if run.rank == 0:
            if recipe.refit is not None:
                run.refit(recipe.refit)
            run.save(final, data_fingerprint)
    if run.n_processes > 1:
        dist.barrier()
    return final


def _claim(output: Path, recipe: DemandRecipe, data_fingerprint: str) -> None:
    import yaml

    settings = yaml.safe_dump(recipe.training_settings(), sort_keys=False)
    path, content = output / "run.yaml", f"# data fingerprint: {data_fingerprint}\n{settings}"
    # Runs of earlier versions say nothing of their data.
    if path.is_file() and path.read_text(encoding="utf-8") not in (content, settings) and (output / "last.pt").exists():
        raise ConfigurationError(
            f"{output} holds a run with another recipe or other data; choose another output folder or delete it"
        )
    write_text(path, content)


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds; `None`, with a warning, where it was damaged, and the run begins anew."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch's, pickle's and zipfile's errors share no base
        warnings.warn(
            f"{path} is damaged ({type(error).__name__}); the run begins anew", LookaheadRouterWarning, stacklevel=4
        )
        return None


def _own_device() -> torch.device:
    """The accelerator of this process, by its rank on the host; the CPU where there is none."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


class _Run:
    """What the steps of a run share."""

    def __init__(self, table: OutcomeTable, recipe: DemandRecipe, output: Path, backbone: str) -> None:
        self.recipe, self.output = recipe, output
        self.rank, self.n_processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.device = _own_device()
        set_seed(recipe.seed)
        self.network, fast = build_demand_network(recipe, backbone)
        self.network.to(self.device)
        self.tokenizer_file = fast.to_str()
        self.tokenizer = PromptTokenizer.of(self.network.configuration, fast)
        references = recipe.network.references
        self.train_rows = build_population(table, recipe.data.train_split, recipe.data, references)
        self.validation_rows = build_population(table, recipe.data.validation_split, recipe.data, references)
        shape = len(self.train_rows.names), recipe.network.n_demands, self.train_rows.n_offsets
        self.abilities = Abilities(*shape).to(self.device)
        self.step = 0

    def start(self) -> torch.Tensor:
        """Fits head and abilities to the frozen backbone, or takes an earlier run's weights; returns the frozen states
        of the plain prompts, `(m, H)`."""
        targets = frozen_states(self.network, self.tokenizer, [strip_instructions(t) for t in self.train_rows.texts])
        if self.recipe.initial is not None:
            load_run(self.recipe.initial, self.network, self.abilities, self.train_rows.names)
            return targets
        config, nothing = self.network.configuration, torch.zeros_like(targets)
        latents = nothing[:, None, None].expand(-1, config.n_references, config.n_slots, -1)
        view = (torch.stack([targets, nothing], dim=1), latents)
        fit_head(self.network, self.abilities, [view], self.train_rows, self.recipe, self.recipe.start)
        return targets

    # Fine-tuning

    def train(self, show_progress: bool) -> None:
        """Runs all steps that are left."""
        settings = self.recipe.optimizer
        last = self.output / "last.pt"
        saved = _read_checkpoint(last) if last.is_file() else None
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
        passages, examples = self._clothes()
        chances = rows.draw_weights(self.recipe.data)
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

    def _clothes(self) -> tuple[list[str], list[tuple[str, str]]]:
        """Passages and few-shot examples, of the references' answers."""
        rows = self.train_rows
        answers = [(rows.texts[row], text) for row, found in enumerate(rows.responses) for text in found.values()]
        passages = [text for _, text in answers if len(text) > 250]
        return passages, [(prompt, text) for prompt, text in answers if len(prompt) < 300 and len(text) < 200]

    def _loss(
        self, drawn: np.ndarray, random: np.random.Generator, augmenter: Augmenter, targets: torch.Tensor, bags
    ) -> tuple[torch.Tensor, dict[str, float]]:
        rows, aims, n = self.train_rows, self.recipe.objective, len(drawn)
        texts = [rows.texts[i] for i in drawn]
        if self.recipe.data.augmentation:
            views = [strip_instructions(t) if random.random() < 0.6 else t for t in texts], map(augmenter.vary, texts)
        else:
            views = texts, texts
        output = self._forward([text for view in views for text in view])
        parts = view_losses(output, self.abilities, rows, drawn, aims, self.recipe.data.max_answers, random)
        wanted = targets[drawn].to(self.device).repeat(2, 1)
        nearness = torch.nn.functional.cosine_similarity(output.embedding, wanted)
        parts["distillation"] = aims.distillation_weight * (1 - nearness).mean()
        held = np.argwhere((bags[drawn] >= 0).any(axis=2))
        if len(held) and aims.reconstruction_weight:
            held = held[random.permutation(len(held))[:MAX_BAGS]]
            view = torch.from_numpy(random.integers(0, 2, len(held)) * n)
            states = output.latents.flatten(1, 2)[torch.from_numpy(held[:, 0]) + view, torch.from_numpy(held[:, 1])]
            with self._autocast():
                words = self.network.reconstruct(states)
            wanted = torch.from_numpy(bags[drawn][held[:, 0], held[:, 1]]).long().to(self.device)
            parts["reconstruction"] = aims.reconstruction_weight * bag_loss(words, wanted)
        loss = sum(parts.values()) + self.abilities.prior(aims) / (PRIOR_SHARE * len(rows.scores))
        return loss, {name: float(part.detach()) for name, part in parts.items()}

    def _forward(self, texts: list[str]) -> DemandOutput:
        encoded, _ = self.tokenizer.encode(texts)
        order = np.array(sorted(range(len(encoded)), key=lambda row: len(encoded[row])))
        with self._autocast():
            outputs = [
                self.network(*_padded([encoded[i] for i in part], self.tokenizer, self.device))
                for part in np.array_split(order, min(N_CHUNKS, len(order)))
            ]
        back = torch.from_numpy(np.argsort(order))
        return DemandOutput(
            *(torch.cat([value.float() for value in values])[back] for values in zip(*outputs, strict=True))
        )

    def _autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.optimizer.use_bf16)

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

    def refit(self, settings: HeadSettings) -> None:
        """Fits the head of the averaged network anew, on its states of the plain prompts and of variants of each."""
        network, abilities = self.average
        augmenter = Augmenter(*self._clothes(), seed=self.recipe.seed)
        texts = self.train_rows.texts
        views = [states_of(network, self.tokenizer, texts)]
        if self.recipe.data.augmentation:
            for _ in range(settings.n_variants):
                views.append(states_of(network, self.tokenizer, [augmenter.vary(text) for text in texts]))
        fit_head(network, abilities, views, self.train_rows, self.recipe, settings)

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
        with explaining_full_disks(self.output), replacing_file(path) as temporary:
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
            answers = draw_answers(rows, part, self.recipe.data.max_answers, random).to(self.device)
            entropy, _ = answer_losses(output, abilities, answers)
            total += float(entropy * answers.weights.sum())
            weight += float(answers.weights.sum())
        return total / weight

    def save(self, folder: Path, data_fingerprint: str) -> None:
        """Writes the averaged network with its tokenizer, configuration and int8 graph, whole or not at all."""
        network, abilities = self.average
        network.head.out.bias.data[self.recipe.network.n_demands + 1] += TYPICAL_LOG_TOKENS
        rows = self.train_rows
        record = {
            "recipe": self.recipe.training_settings(),
            "data_fingerprint": data_fingerprint,
            "n_prompts": rows.n_prompts,
            "n_answers": len(rows.scores),
            "n_candidates": len(rows.names),
            "step": self.step,
            "validation_loss": self.validation_loss(),
        }
        with replacing_folder(folder) as temporary:
            write_text(temporary / "tokenizer.json", self.tokenizer_file)
            write_json(temporary / "network.json", network.configuration.to_dict())
            write_json(temporary / "training.json", record)
            tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
            save_file(tensors, temporary / "model.safetensors")
            kept = {name: tensor.cpu().contiguous() for name, tensor in abilities.state_dict().items()}
            save_file(kept, temporary / "abilities.safetensors", metadata={"names": json.dumps(rows.names)})
            export_demands(network.cpu(), temporary / "onnx" / "model.onnx")
            quantize_rowwise(temporary / "onnx" / "model.onnx", temporary / "onnx" / "model_int8.onnx")


@torch.no_grad()
def load_run(folder: Path, network: DemandNetwork, abilities: Abilities, names: Sequence[str]) -> None:
    """Takes weights, and abilities of the candidates that both runs know, from what an earlier run saved.

    Raises:
        CheckpointError: no such folder, or a network of another shape.
    """
    try:
        weights = load_file(folder / "model.safetensors")
        with safe_open(folder / "abilities.safetensors", "pt") as saved:
            known = {name: row for row, name in enumerate(json.loads(saved.metadata()["names"]))}
            learnt = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118  it is no mapping
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{folder} is no network that this run can go on from: {said}") from error
    network.head.out.bias.data[network.configuration.n_demands + 1] -= TYPICAL_LOG_TOKENS
    both = [(row, known[name]) for row, name in enumerate(names) if name in known]
    own, theirs = (torch.tensor(rows, dtype=torch.long) for rows in zip(*both, strict=True)) if both else ((), ())
    for name, parameter in abilities.named_parameters():
        if both and name != "offsets":  # of judges, which the data of this run may number otherwise
            parameter[own.to(parameter.device)] = learnt[name][theirs].to(parameter.device)


def _padded(encoded: list[np.ndarray], tokenizer: PromptTokenizer, device: torch.device) -> Iterator[torch.Tensor]:
    """Token ids and mask of a batch, on the device."""
    return (torch.from_numpy(array).to(device) for array in left_pad(encoded, tokenizer.pad_token_id))


@torch.no_grad()
def states_of(network: DemandNetwork, tokenizer: PromptTokenizer, texts: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """What the head of a network reads of each text."""
    network.eval()
    encoded, _ = tokenizer.encode(texts)
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    parts = [
        [
            state.cpu()
            for state in network.states(*_padded([encoded[i] for i in batch], tokenizer, network.slots.device))
        ]
        for start in range(0, len(order), 32)
        if (batch := order[start : start + 32])
    ]
    back = torch.from_numpy(np.argsort(order))
    return tuple(torch.cat(states)[back] for states in zip(*parts, strict=True))


@torch.no_grad()
def frozen_states(network: DemandNetwork, tokenizer: PromptTokenizer, texts: list[str]) -> torch.Tensor:
    """`(n, H)` mean states of the backbone alone, without slots."""
    encoded, _ = tokenizer.encode(texts)
    backbone = network.backbone.eval()
    states = torch.zeros(len(texts), network.slots.shape[1])
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    for start in range(0, len(order), 32):
        part = order[start : start + 32]
        ids, mask = _padded([encoded[i] for i in part], tokenizer, network.slots.device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        hidden = backbone(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
        weights = mask[:, :, None].float()
        states[part] = ((hidden * weights).sum(dim=1) / weights.sum(dim=1)).cpu()
    return states
