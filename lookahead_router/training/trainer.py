"""The Hugging Face Trainer, taught the joint loss, weight averaging and selection on validation."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import Trainer, TrainerCallback, TrainingArguments

from lookahead_router._files import replacing_file
from lookahead_router.hub.layout import write_json
from lookahead_router.metrics import chosen_scores
from lookahead_router.networks.mlm import LookaheadMLM
from lookahead_router.training.batches import Collator, LengthBucketSampler, TokenizedDataset, ranks_candidates
from lookahead_router.training.curriculum import MaskingCurriculum, end_masked_blocks
from lookahead_router.training.objectives import IGNORE_INDEX, reconstruction_loss, routing_loss
from lookahead_router.training.recipe import Recipe


class LookaheadTrainer(Trainer):
    """Trains a `LookaheadMLM`; keeps the best weights of the run in `best.safetensors`."""

    def __init__(
        self,
        network: LookaheadMLM,
        recipe: Recipe,
        arguments: TrainingArguments,
        train: TokenizedDataset,
        validation: TokenizedDataset,
        output: Path,
    ) -> None:
        self.recipe = recipe
        self.curriculum = MaskingCurriculum(recipe.curriculum.initial_mask_rate, recipe.curriculum.warmup_share)
        self.validation = validation
        self.best_weights = output / "best.safetensors"
        self.best_record = output / "best.json"
        self.history = output / "history.jsonl"
        self.losses: dict[str, list[float]] = {"routing_loss": [], "reconstruction_loss": []}
        decay = recipe.optimizer.averaging_decay
        self.average = None if decay is None else AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
        super().__init__(
            model=network,
            args=arguments,
            train_dataset=train,
            eval_dataset=validation,
            data_collator=Collator(network.configuration.pad_token_id),
            callbacks=[_Averaging(self)],
        )

    def _get_train_sampler(self, train_dataset=None) -> LengthBucketSampler:
        lengths = [len(ids) for ids in self.train_dataset.prompt_ids]
        return LengthBucketSampler(lengths, self.args.train_batch_size, self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The joint loss of a batch (paper §4); the mask rate follows the optimiser step."""
        # The whole computation, not the forward pass alone: the vocabulary projection is the largest product.
        with self.accelerator.autocast():
            loss, output = self._joint_loss(model, inputs)
        return (loss, output) if return_outputs else loss

    def _joint_loss(self, model, inputs):
        network: LookaheadMLM = self.accelerator.unwrap_model(model)
        block_ids = targets = None
        if network.configuration.n_slots:
            block_ids, targets = end_masked_blocks(
                inputs["response_ids"],
                inputs["response_lengths"],
                network.masked_block_ids[:, 0],
                network.configuration.sep_token_id,
                self.curriculum.mask_rate(self.state.global_step, self.state.max_steps),
            )
        output = model(inputs["prompt_ids"], inputs["prompt_mask"], block_ids)
        objective = self.recipe.objective
        loss = routing = routing_loss(
            output.score_logits, inputs["scores"], threshold=objective.threshold, weights=inputs["weights"]
        )
        self.losses["routing_loss"].append(routing.item())
        if targets is not None and objective.reconstruction_weight:
            flat = targets.flatten()
            positions = (flat != IGNORE_INDEX).nonzero().squeeze(1)
            limit = objective.max_reconstruction_targets
            if limit is not None and len(positions) > limit:
                positions = positions[torch.randperm(len(positions), device=positions.device)[:limit]]
            states = output.latents.flatten(0, 2)[positions]
            reconstruction = reconstruction_loss(network.reconstruct(states), flat[positions])
            self.losses["reconstruction_loss"].append(reconstruction.item())
            loss = loss + objective.reconstruction_weight * reconstruction
        return loss, output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds both losses and the mask rate to what is shown, and keeps every line."""
        for name, values in self.losses.items():
            if values and "loss" in logs:
                logs[name] = float(np.mean(values))
                values.clear()
        if "loss" in logs:
            logs["mask_rate"] = self.curriculum.mask_rate(self.state.global_step, self.state.max_steps)
        with self.history.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": self.state.global_step, **logs}) + "\n")
        super().log(logs, start_time)

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Selection score on validation, with the averaged weights where there are any."""
        network = self.accelerator.unwrap_model(self.model) if self.average is None else self.average.module
        with self.accelerator.autocast():
            logits = predict_logits(network, self.validation, batch_size=2 * self.args.train_batch_size)
        score = selection_score(logits, self.validation.scores, self.validation.weights)
        metrics = {f"{metric_key_prefix}_selection_score": score}
        best = read_best(self.best_record)
        if best is None or score > best["selection_score"]:
            with replacing_file(self.best_weights) as temporary:
                save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)
            write_json(self.best_record, {"step": self.state.global_step, "selection_score": score})
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _Averaging(TrainerCallback):
    """Updates the averaged weights, and saves them last in every checkpoint: a whole one has them."""

    def __init__(self, trainer: LookaheadTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        average = self.trainer.average
        if average is not None:
            average.update_parameters(self.trainer.accelerator.unwrap_model(self.trainer.model))

    def on_save(self, args, state, control, **kwargs):
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        average = self.trainer.average
        tensors = {"n_averaged": torch.tensor(0)} if average is None else dict(average.state_dict())
        with replacing_file(folder / AVERAGE_FILE) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


AVERAGE_FILE = "average.safetensors"


def load_average(trainer: LookaheadTrainer, checkpoint: Path) -> None:
    """Takes the averaged weights up again where a checkpoint left them."""
    if trainer.average is not None:
        trainer.average.load_state_dict(load_file(checkpoint / AVERAGE_FILE))


def read_best(path: Path) -> dict | None:
    """The record of the best evaluation so far; `None` before the first."""
    return json.loads(path.read_bytes()) if path.is_file() else None


def predict_logits(network: LookaheadMLM, dataset: TokenizedDataset, batch_size: int) -> np.ndarray:
    """Score logits `(n, K)` of every prompt, fully masked as in routing."""
    was_training = network.training
    network.eval()
    device = network.masked_block_ids.device
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

    Scores are scaled per prompt, prompts that rank nothing are left out, and prompts weigh as they
    do in the routing loss.

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
