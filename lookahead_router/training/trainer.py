"""The Hugging Face Trainer, taught the joint loss, weight averaging and selection on validation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lookahead_router.errors import TrainingError
from lookahead_router.files import replacing_file
from lookahead_router.metrics import chosen_scores
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.configuration import LookaheadCLMConfig
from lookahead_router.saved.folder import write_json
from lookahead_router.training.batches import Collator, LengthBucketSampler, TokenizedDataset
from lookahead_router.training.curriculum import MaskingCurriculum, mask_responses, next_token_targets
from lookahead_router.training.memory import return_freed_memory
from lookahead_router.training.objectives import IGNORE_INDEX, reconstruction_loss, routing_loss
from lookahead_router.training.recipe import Recipe
from lookahead_router.training.targets import ranks_candidates


class LookaheadTrainer(Trainer):
    """Trains a Lookahead network; keeps the best weights of the run in `best.safetensors`."""

    def __init__(
        self,
        network: LookaheadNetwork,
        recipe: Recipe,
        arguments: TrainingArguments,
        train: TokenizedDataset,
        validation: TokenizedDataset,
        output: Path,
        *,
        show_progress: bool = True,
    ) -> None:
        self.recipe = recipe
        self.curriculum = MaskingCurriculum(recipe.curriculum.initial_mask_rate, recipe.curriculum.warmup_share)
        self.validation = validation
        self.best_weights = output / "best.safetensors"
        self.best_record = output / "best.json"
        self.history = output / "history.jsonl"
        is_causal = isinstance(network.configuration, LookaheadCLMConfig)
        self.masks_responses = train.response_ids.shape[2] > 0 and not is_causal
        self.since_logged: dict[str, list[float]] = {"routing_loss": [], "reconstruction_loss": [], "chosen_score": []}
        super().__init__(
            model=network,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            data_collator=Collator(network.configuration.pad_token_id),
            callbacks=[
                _Epochs(self),
                _Averaging(self),
                _FiniteGradients(),
                _Memory(),
                *([_Progress(recipe.name)] if show_progress else []),
            ],
        )
        self.remove_callback(PrinterCallback)
        decay = recipe.optimizer.averaging_decay
        # After the trainer has moved the network to its device: the average is evaluated where it lies.
        self.average = None if decay is None else AveragedModel(network, multi_avg_fn=_averaging_up_to(decay))
        self.evaluated_step: int | None = None
        """Step of the last evaluation; `None` before the first of this process."""

    def _get_train_sampler(self, train_dataset=None) -> LengthBucketSampler:
        lengths = [len(ids) for ids in self.train_dataset.prompt_ids]
        per_step = self.args.gradient_accumulation_steps * self.args.world_size
        self.sampler = LengthBucketSampler(lengths, self.args.train_batch_size, per_step, self.args.seed)
        return self.sampler

    def create_optimizer(self, model=None):
        """AdamW with a learning rate of their own for the heads, and no decay of biases and norms."""
        settings = self.recipe.optimizer
        network = self.accelerator.unwrap_model(self.model)
        decayed = set(self.get_decay_parameter_names(network))
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                is_pretrained = name.startswith(("backbone.", "output_embedding"))
                groups.setdefault((is_pretrained, name in decayed), []).append(parameter)
        optimizer, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        head_rate = settings.head_learning_rate or settings.learning_rate
        self.optimizer = optimizer(
            [
                {
                    "params": parameters,
                    "lr": settings.learning_rate if is_pretrained else head_rate,
                    "weight_decay": settings.weight_decay if is_decayed else 0.0,
                }
                for (is_pretrained, is_decayed), parameters in groups.items()
            ],
            **options,
        )
        return self.optimizer

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The joint loss of a batch (paper §4); the mask rate follows the optimiser step."""
        # The whole computation, not the forward pass alone: the vocabulary projection is the largest product.
        with self.accelerator.autocast():
            loss, output = self._joint_loss(model, inputs)
        return (loss, output) if return_outputs else loss

    def _joint_loss(self, model, inputs):
        network: LookaheadNetwork = self.accelerator.unwrap_model(model)
        objective = self.recipe.objective
        slot_ids, targets = self._slots(network, inputs)
        output = model(inputs["prompt_ids"], inputs["prompt_mask"], slot_ids)
        loss = routing = routing_loss(
            output.score_logits,
            inputs["targets"],
            objective,
            weights=inputs["weights"],
        )
        self.since_logged["routing_loss"].append(routing.item())
        self.since_logged["chosen_score"].append(mean_chosen_score(output.score_logits, inputs["scores"]))
        if targets is not None:
            flat = targets.flatten()
            positions = (flat != IGNORE_INDEX).nonzero().squeeze(1)
            limit = objective.max_reconstruction_targets
            if limit is not None and len(positions) > limit:
                positions = positions[torch.randperm(len(positions), device=positions.device)[:limit]]
            states = output.latents.flatten(0, 2)[positions]
            reconstruction = reconstruction_loss(network.reconstruct(states), flat[positions])
            self.since_logged["reconstruction_loss"].append(reconstruction.item())
            loss = loss + objective.reconstruction_weight * reconstruction
        if not loss.isfinite():
            raise not_finite(f"the loss is {loss.item()}", self.state.global_step)
        return loss, output

    def _slots(self, network, inputs) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """What the slots show in this batch, and what is to be rebuilt; nothing without reconstruction."""
        ids, lengths = inputs["response_ids"], inputs["response_lengths"]
        if ids.shape[2] == 0:
            return None, None
        if not self.masks_responses:
            return ids, next_token_targets(ids, lengths, network.configuration.eos_token_id)
        rate = self.curriculum.mask_rate(self.state.global_step, self.state.max_steps)
        return mask_responses(ids, lengths, network.mid_token_ids, rate)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the losses, the chosen score and the mask rate, as far as there are, and keeps every line."""
        for name, values in self.since_logged.items():
            known = [value for value in values if np.isfinite(value)]  # a batch may have no judged score
            if known and "loss" in logs:
                logs[name] = float(np.mean(known))
                values.clear()
        if "loss" in logs and self.masks_responses:
            logs["mask_rate"] = self.curriculum.mask_rate(self.state.global_step, self.state.max_steps)
        if self.is_world_process_zero():
            with self.history.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"step": self.state.global_step, **logs}) + "\n")
        super().log(logs, start_time)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Selection score on validation, with the averaged weights where there are any."""
        self.evaluated_step = self.state.global_step
        network = self.accelerator.unwrap_model(self.model) if self.average is None else self.average.module
        with self.accelerator.autocast():
            logits = predict_logits(network, self.validation, batch_size=2 * self.args.train_batch_size)
        score = selection_score(logits, self.validation.scores, self.validation.weights)
        step = self.state.global_step
        # The first process decides for all: differences in the last digit must not part them.
        score, best = self.from_first_process(score, read_best(self.best_record))
        if best is None or score > best["selection_score"]:
            best = {"step": step, "selection_score": score}
            if self.is_world_process_zero():
                with replacing_file(self.best_weights) as temporary:
                    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
                write_json(self.best_record, best)
        self.accelerator.wait_for_everyone()
        metrics = {f"{metric_key_prefix}_selection_score": score}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.has_lost_patience(step, best):
            self.control.should_training_stop = True
        return metrics

    def from_first_process(self, *values: Any) -> list[Any]:
        """What the first process holds of these, on all of them."""
        return broadcast_object_list(list(values))

    def has_lost_patience(self, step: int, best: dict | None) -> bool:
        """Whether early stopping ends a run that is at this step."""
        patience = self.recipe.optimizer.early_stopping_patience
        return patience is not None and best is not None and step - best["step"] >= patience * self.args.eval_steps


def _averaging_up_to(decay: float) -> Callable:
    """An exponential average whose decay rises to its value, so that it does not remember the untrained weights."""

    def update(averages, weights, n_averaged):
        n = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, n_averaged)

    return update


class _Epochs(TrainerCallback):
    """Tells the sampler its epoch: with several processes, a resumed run's wrappers hide it from the Trainer."""

    def __init__(self, trainer: LookaheadTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer.sampler.set_epoch(int(state.epoch + 1e-6))  # a fraction, amid an epoch


class _Averaging(TrainerCallback):
    """Updates the averaged weights, and saves them last in every checkpoint: a whole one has them."""

    def __init__(self, trainer: LookaheadTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        average = self.trainer.average
        if average is not None:
            average.update_parameters(self.trainer.accelerator.unwrap_model(self.trainer.model))

    def on_evaluate(self, args, state, control, **kwargs):
        control.should_save = True  # so that nothing is evaluated twice after a resume

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        average = self.trainer.average
        tensors = {"n_averaged": torch.tensor(0)} if average is None else dict(average.state_dict())
        with replacing_file(folder / AVERAGE_FILE) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


class _FiniteGradients(TrainerCallback):
    """Stops before a step that would leave no number of the weights; a finite loss may still have such gradients."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if not all(gradient.isfinite().all() for gradient in gradients):
            raise not_finite("a gradient is not finite", state.global_step)


class _Memory(TrainerCallback):
    """Keeps a run from growing: batches of ever other lengths leave gaps that no later one fits."""

    def on_log(self, args, state, control, **kwargs):
        return_freed_memory()


class _Progress(TrainerCallback):
    """One bar for the run: steps, time left, and what the last log line said."""

    SHOWN = (
        ("loss", "loss"),
        ("chosen_score", "chosen"),
        ("mask_rate", "mask"),
        ("eval_selection_score", "validation"),
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: tqdm | None = None
        self.values: dict[str, str] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.name, unit="step")

    def on_step_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.values.update({shown: f"{logs[key]:.3f}" for key, shown in self.SHOWN if key in (logs or {})})
        if self.bar is not None:
            self.bar.set_postfix(self.values)

    def on_train_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.close()


AVERAGE_FILE = "average.safetensors"


def load_average(trainer: LookaheadTrainer, checkpoint: Path) -> None:
    """Takes the averaged weights up again where a checkpoint left them."""
    if trainer.average is not None:
        trainer.average.load_state_dict(load_file(checkpoint / AVERAGE_FILE))


def not_finite(what: str, step: int) -> TrainingError:
    """The error of a run whose numbers left their range."""
    return TrainingError(
        f"{what} at step {step}; the last checkpoint is kept. Train into another output folder with a lower "
        "optimizer.learning_rate or optimizer.use_bf16=false"
    )


def read_best(path: Path) -> dict | None:
    """The record of the best evaluation so far; `None` before the first."""
    return json.loads(path.read_bytes()) if path.is_file() else None


def mean_chosen_score(logits: torch.Tensor, scores: torch.Tensor) -> float:
    """Mean observed score in [0, 1] of the candidates with the highest logit among the judged ones.

    Args:
        logits: `(B, K)`.
        scores: `(B, K)`, NaN where not judged; rows without any do not count.
    """
    chosen = logits.detach().float().masked_fill(scores.isnan(), float("-inf")).argmax(dim=1, keepdim=True)
    return scores.gather(1, chosen).nanmean().item()


def predict_logits(network: LookaheadNetwork, dataset: TokenizedDataset, batch_size: int) -> np.ndarray:
    """Score logits `(n, K)` of every prompt, fully masked as in routing."""
    was_training = network.training
    network.eval()
    device = network.mid_token_ids.device
    collate = Collator(network.configuration.pad_token_id)
    logits = np.empty(dataset.scores.shape, dtype=np.float32)
    order = np.argsort([len(ids) for ids in dataset.prompt_ids], kind="stable")
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = collate([dataset[int(row)] for row in rows])
            output = network(batch["prompt_ids"].to(device), batch["prompt_mask"].to(device))
            logits[rows] = output.score_logits.float().cpu().numpy()
    network.train(was_training)
    return logits


def selection_score(logits: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """What a run is selected on: mean score of the chosen candidate, in [0, 1] (paper §C).

    Scores are scaled per prompt, and prompts that rank nothing are left out. A run gives every source the
    same weight, as an evaluation does.

    Args:
        logits: `(n, K)`.
        scores: `(n, K)` observed, NaN where not judged.
        weights: `(n,)`.
    """
    keep = ranks_candidates(scores)
    scores, weights = scores[keep], weights[keep]
    low, high = np.nanmin(scores, axis=1), np.nanmax(scores, axis=1)
    judged = np.where(np.isnan(scores), -np.inf, logits[keep])
    chosen = chosen_scores(scores, judged.argmax(axis=1))
    scaled = (chosen - low) / (high - low)
    return float(np.average(scaled, weights=weights))
