"""The first part of a run: from a dataset and a recipe to a trainer. Whatever is wrong with the data shows before
the backbone is loaded."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import TrainingArguments

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import DataError, LookaheadRouterWarning
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.training.backbones import add_lora, build_network
from lookahead_router.training.batches import TokenizedDataset
from lookahead_router.training.compatibility import check_backbone
from lookahead_router.training.recipe import Recipe
from lookahead_router.training.targets import ranks_candidates
from lookahead_router.training.trainer import LookaheadTrainer

CHECKPOINT_STEPS = 50
"""Steps after which a run is saved at the latest; after every evaluation it is anyway."""
MIN_STEPS = 50
"""Optimiser steps, below which a run is warned of: its head has hardly left where it began."""


@dataclass(frozen=True)
class Rows:
    """The parts of a dataset that a run reads."""

    train: RoutingDataset
    validation: RoutingDataset


@dataclass
class Prepared:
    """All that optimisation starts from."""

    rows: Rows
    train: TokenizedDataset
    validation: TokenizedDataset
    trainer: LookaheadTrainer
    tokenizer_file: str
    merge: Callable[[], None]
    """Merges low-rank updates into the weights, if there are any."""


def choose_rows(dataset: RoutingDataset, recipe: Recipe) -> Rows:
    """The rows that train and those that select.

    Raises:
        DataError: a split is missing or ranks nothing, or a candidate is nowhere judged.
    """
    data = recipe.data
    if not any(dataset.splits):
        raise DataError(
            f"no row of the dataset names a split, and training needs {data.train_split!r} and "
            f"{data.validation_split!r}: name them in the file, or take dataset.with_splits()"
        )
    rows = Rows(dataset.filter(split=data.train_split), dataset.filter(split=data.validation_split))
    if data.train_fraction < 1:
        order = np.random.default_rng(recipe.seed).permutation(len(rows.train))
        kept = order[: max(1, round(len(order) * data.train_fraction))]
        rows = Rows(rows.train.select(np.sort(kept)), rows.validation)
    for part in (rows.train, rows.validation):
        if not ranks_candidates(part.scores).any():
            raise DataError(f"split {part.splits[0]!r} ranks nothing: on every prompt all candidates score alike")
    _check_judged(rows.train, data.train_split)
    if recipe.n_response_tokens and not any(text for row in rows.train.responses for text in row):
        warnings.warn(
            f"no answer in split {data.train_split!r} has a text, so there is nothing to foresee: the predictor learns "
            "from scores alone",
            LookaheadRouterWarning,
            stacklevel=4,
        )
    return rows


def _check_judged(rows: RoutingDataset, split: str) -> None:
    """A candidate that nothing is learnt of would keep the score of fresh weights, and may win with it."""
    is_judged = ~np.isnan(rows.scores[ranks_candidates(rows.scores)])
    unjudged = [name for k, name in enumerate(rows.pool.names) if not is_judged[:, k].any()]
    if unjudged:
        raise DataError(
            f"no prompt of split {split!r} that ranks candidates has a score of {', '.join(unjudged)}: "
            "judge some of its answers, or leave the candidate out of the dataset"
        )


def prepare(rows: Rows, recipe: Recipe, output: Path, backbone: str, *, show_progress: bool) -> Prepared:
    """A network on its backbone, the rows as tokens, and the trainer of the two.

    Raises:
        CheckpointError: the backbone cannot be loaded.
        ConfigurationError: settings that it cannot take.
    """
    arguments = training_arguments(recipe, output, len(rows.train))
    transformers.set_seed(recipe.seed)
    network, fast_tokenizer = build_network(recipe, backbone, n_candidates=len(rows.train.pool))
    tokenizer_file = fast_tokenizer.to_str()
    tokenizer = PromptTokenizer.of(network.configuration, fast_tokenizer)
    merge = add_lora(network, recipe.network.lora) if recipe.network.lora else lambda: None
    train = TokenizedDataset.build(rows.train, tokenizer, recipe.n_response_tokens, recipe.objective)
    # Selection is on the plain mean over sources, which is what an evaluation reports.
    alike = recipe.objective.model_copy(update={"source_weight_exponent": 1.0})
    validation = TokenizedDataset.build(rows.validation, tokenizer, 0, alike)
    check_backbone(network.to(arguments.device), recipe.n_response_tokens)
    trainer = LookaheadTrainer(network, recipe, arguments, train, validation, output, show_progress=show_progress)
    return Prepared(rows, train, validation, trainer, tokenizer_file, merge)


def training_arguments(recipe: Recipe, output: Path, n_train: int) -> TrainingArguments:
    """The Trainer's arguments for a recipe; warns where the prompts make few steps.

    Args:
        recipe: the settings.
        output: folder of the run.
        n_train: training prompts.
    """
    settings = recipe.optimizer
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate launch say
    per_step = settings.batch_size * settings.gradient_accumulation_steps * n_processes
    n_steps = max(1, int(-(-n_train // per_step) * settings.n_epochs))
    _warn_of_few_steps(n_train, per_step, n_steps, settings.n_epochs)
    every = -(-n_steps // settings.n_evaluations)
    arguments = TrainingArguments(
        output_dir=str(output / "checkpoints"),
        max_steps=n_steps,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=int(settings.warmup_share * n_steps),
        lr_scheduler_type="cosine",
        max_grad_norm=settings.max_gradient_norm,
        bf16=settings.use_bf16,
        optim="adamw_torch_fused",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=min(every, CHECKPOINT_STEPS),
        save_total_limit=2,
        logging_steps=min(every, 10),
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        label_names=["scores"],
        report_to="tensorboard" if find_spec("tensorboard") else "none",
        disable_tqdm=True,  # the trainer's own bar shows what a run of ours is about
        ddp_find_unused_parameters=False,  # the heads are used outside of forward, which would count as unused
        ddp_backend="gloo" if n_processes > 1 and not torch.cuda.is_available() else None,
        seed=recipe.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several take a process each; replicas in one would multiply the batch unasked
    return arguments


def _warn_of_few_steps(n_train: int, per_step: int, n_steps: int, n_epochs: float) -> None:
    if n_steps < MIN_STEPS:
        warnings.warn(
            f"{n_train} training prompts are {n_steps} optimiser steps ({per_step} prompts a step, {n_epochs:g} "
            f"epochs), and a head learns little in fewer than {MIN_STEPS}: raise optimizer.n_epochs to "
            f"{max(1, round(MIN_STEPS * n_epochs / n_steps))}, or fit a predictor for few prompts, such as "
            "lookahead_router.predictors.fitted.Classifier",
            LookaheadRouterWarning,
            stacklevel=5,
        )
