"""A training run from start to saved predictor, resumable at any point."""

import dataclasses
import errno
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import TrainingArguments

import lookahead_router
from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError, TrainingError
from lookahead_router.files import replacing_folder, write_text
from lookahead_router.metrics import sigmoid
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.predictors.calibration import MIN_CALIBRATION_PROMPTS, Calibration, fit_calibration
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.saved.card import CardSettings, write_card, write_card_settings
from lookahead_router.saved.folder import FORMAT_VERSION, PredictorConfig, PredictorFolder, write_json
from lookahead_router.training.backbones import add_lora, build_network
from lookahead_router.training.batches import TokenizedDataset, dataset_targets, ranks_candidates
from lookahead_router.training.calibration import score_scale
from lookahead_router.training.compatibility import check_backbone
from lookahead_router.training.memory import keeping_freed_memory
from lookahead_router.training.recipe import RELATIVE_OBJECTIVES, Recipe
from lookahead_router.training.refit import fit_head, readout_states
from lookahead_router.training.trainer import (
    AVERAGE_FILE,
    LookaheadTrainer,
    load_average,
    predict_logits,
    read_best,
    selection_score,
)
from lookahead_router.types import CandidatePool

CHECKPOINT_STEPS = 50
"""Steps after which a run is saved at the latest; after every evaluation it is anyway."""


def fit(
    dataset: RoutingDataset,
    recipe: Recipe,
    output: str | Path | None = None,
    *,
    backbone: str | Path | None = None,
    show_progress: bool = True,
) -> LookaheadPredictor:
    """Trains a predictor and returns it, loaded from the folder `predictor` of the run with the torch backend.

    Called again with the same arguments, it resumes at the last whole checkpoint, and returns the
    finished predictor at once where there is one.

    Args:
        dataset: must hold the recipe's training and validation splits.
        recipe: every setting.
        output: folder of the run: checkpoints, the best weights, `history.jsonl`, the predictor; the
            recipe's `run_folder` when absent.
        backbone: folder to load the recipe's backbone from, where it is not to come from the Hub.
        show_progress: a progress bar with the losses.

    Raises:
        DataError: a split is missing or ranks nothing, or a candidate is nowhere judged.
        ConfigurationError: settings that the backbone cannot take, another run's output folder, or a finished run
            whose pool has other prices.
        CheckpointError: the backbone cannot be loaded.
    """
    output = recipe.run_folder if output is None else Path(output)
    dataset = _without(dataset, recipe.data.exclude_sources)
    _claim(output, recipe, dataset.fingerprint())
    predictor = output / "predictor"
    if not predictor.is_dir():
        with keeping_freed_memory():
            _train(dataset, recipe, output, str(backbone or recipe.backbone), show_progress)
    trained = LookaheadPredictor.load(predictor, backend="torch")
    if trained.pool != dataset.pool:
        raise ConfigurationError(
            f"{predictor} has another pool than the dataset, such as other prices. Delete that folder and run again: "
            "the trained weights are beside it"
        )
    return trained


def _without(dataset: RoutingDataset, sources: tuple[str, ...]) -> RoutingDataset:
    unknown = set(sources) - set(dataset.sources)
    if unknown:
        raise DataError(f"exclude_sources names {sorted(unknown)}; there are {sorted(set(dataset.sources.tolist()))}")
    return dataset.select(~np.isin(dataset.sources, sources)) if sources else dataset


def _claim(output: Path, recipe: Recipe, fingerprint: str) -> None:
    """Writes what the run is, or checks that the folder holds this very run."""
    path = output / "run.yaml"
    content = f"# data fingerprint: {fingerprint}\n{recipe.to_yaml()}"
    if path.is_file() and path.read_text(encoding="utf-8") == content:
        return
    # A run that never took a step, for a mistake in its settings, is no run to protect.
    if path.is_file() and any((output / name).exists() for name in ("history.jsonl", "checkpoints", "predictor")):
        raise ConfigurationError(
            f"{output} holds a run with another recipe or other data; choose another output folder or delete it"
        )
    write_text(path, content)


def _train(dataset: RoutingDataset, recipe: Recipe, output: Path, backbone: str, show_progress: bool) -> None:
    transformers.set_seed(recipe.seed)
    network, fast_tokenizer = build_network(recipe, backbone, n_candidates=len(dataset.pool))
    tokenizer_file = fast_tokenizer.to_str()
    tokenizer = PromptTokenizer.of(network.configuration, fast_tokenizer)
    merge = add_lora(network, recipe.network.lora) if recipe.network.lora else lambda: None
    split = {name: dataset.filter(split=name) for name in (recipe.data.train_split, recipe.data.validation_split)}
    train_rows, validation_rows = split[recipe.data.train_split], split[recipe.data.validation_split]
    if recipe.data.train_fraction < 1:
        order = np.random.default_rng(recipe.seed).permutation(len(train_rows))
        train_rows = train_rows.select(np.sort(order[: max(1, round(len(order) * recipe.data.train_fraction))]))
    for rows in (train_rows, validation_rows):
        if not ranks_candidates(rows.scores).any():
            raise DataError(f"split {rows.splits[0]!r} ranks nothing: on every prompt all candidates score alike")
    _check_judged(train_rows, recipe.data.train_split)
    train = TokenizedDataset.build(train_rows, tokenizer, recipe.n_response_tokens, recipe.objective)
    # Selection is on the plain mean over sources, which is what an evaluation reports.
    alike = recipe.objective.model_copy(update={"source_weight_exponent": 1.0})
    validation = TokenizedDataset.build(validation_rows, tokenizer, 0, alike)
    arguments = _arguments(recipe, output, len(train))
    check_backbone(network.to(arguments.device), recipe.n_response_tokens)
    trainer = LookaheadTrainer(network, recipe, arguments, train, validation, output, show_progress=show_progress)
    checkpoint = _last_whole_checkpoint(output)
    if checkpoint is not None:
        load_average(trainer, checkpoint)
    trained = output / "trained.json"
    if not trained.is_file():
        with _explaining_full_disks(output):
            is_over = checkpoint is not None and (
                _step(checkpoint) >= arguments.max_steps
                or trainer.has_lost_patience(_step(checkpoint), read_best(trainer.best_record))
            )
            if is_over:  # cut off after the last step; the Trainer would take more
                trainer._load_from_checkpoint(str(checkpoint))
                trainer.state.global_step = _step(checkpoint)
            else:
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if trainer.evaluated_step != trainer.state.global_step:
                trainer.evaluate()  # the last step competes too
            if trainer.is_world_process_zero():
                write_json(trained, {"step": trainer.state.global_step})
        trainer.accelerator.wait_for_everyone()
    network = trainer.accelerator.unwrap_model(trainer.model)
    network.load_state_dict(load_file(output / "best.safetensors"))
    merge()
    refitted = None
    if recipe.refit is not None:
        objective = recipe.objective
        if recipe.refit.source_shrinkage is not None:
            objective = objective.model_copy(update={"source_shrinkage": recipe.refit.source_shrinkage})
        aimed = dataclasses.replace(train, targets=dataset_targets(train_rows, objective))
        refitted = _refit(network, aimed, validation, recipe, trainer)
    # In float32, as it will be served: what follows reads the scores themselves, not their order alone.
    network = trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    logits = predict_logits(network, validation, batch_size=2 * recipe.optimizer.batch_size)
    if recipe.objective.routing in RELATIVE_OBJECTIVES:
        scale = score_scale(logits, validation.scores)
        network.configuration = network.configuration.model_copy(update={"score_scale": scale})
        logits = scale * (logits - logits.mean(axis=1, keepdims=True))
    calibration = None
    if (~np.isnan(validation.scores)).sum(axis=0).min() >= MIN_CALIBRATION_PROMPTS:
        calibration = fit_calibration(sigmoid(logits), validation.scores, dataset.pool.names)
    record = {
        "recipe": recipe.training_settings(),
        "data_fingerprint": dataset.fingerprint(),
        "n_train": len(train),
        "train_sources": dict(Counter(str(source) for source in train_rows.sources)),
        "n_validation": len(validation),
        "best": read_best(output / "best.json"),
        "refit": refitted,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    if trainer.is_world_process_zero():
        with _explaining_full_disks(output):
            save_predictor(
                output / "predictor",
                network=network,
                tokenizer_file=tokenizer_file,
                pool=dataset.pool,
                name=recipe.name,
                training=record,
                calibration=calibration,
                card=recipe.card,
            )
        for checkpoint in (output / "checkpoints").glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    trainer.accelerator.wait_for_everyone()


def _check_judged(rows: RoutingDataset, split: str) -> None:
    """A candidate that nothing is learnt of would keep the score of fresh weights, and may win with it."""
    is_judged = ~np.isnan(rows.scores[ranks_candidates(rows.scores)])
    unjudged = [name for k, name in enumerate(rows.pool.names) if not is_judged[:, k].any()]
    if unjudged:
        raise DataError(
            f"no prompt of split {split!r} that ranks candidates has a score of {', '.join(unjudged)}: "
            "judge some of its answers, or leave the candidate out of the dataset"
        )


def _refit(
    network: LookaheadNetwork,
    train: TokenizedDataset,
    validation: TokenizedDataset,
    recipe: Recipe,
    trainer: LookaheadTrainer,
) -> dict[str, float]:
    """Gives the network a new score head where it selects better; the selection scores of both."""
    batch_size = 2 * recipe.optimizer.batch_size
    with trainer.accelerator.autocast():
        states, held_out = (readout_states(network, rows, batch_size) for rows in (train, validation))
    device = network.mid_token_ids.device
    old = network.score_head.cpu().eval()
    new = fit_head(old, states, train, recipe.objective, recipe.refit, seed=recipe.seed)
    with torch.inference_mode():
        scores = {
            name: selection_score(head(held_out).flatten(1).numpy(), validation.scores, validation.weights)
            for name, head in (("before", old), ("after", new))
        }
    network.score_head = (new if scores["after"] > scores["before"] else old).to(device)
    return scores


def save_predictor(
    folder: Path,
    *,
    network: LookaheadNetwork,
    tokenizer_file: str,
    pool: CandidatePool,
    name: str,
    training: dict[str, Any],
    calibration: Calibration | None = None,
    card: CardSettings | None = None,
) -> None:
    """Writes a saved predictor with torch weights, whole or not at all."""
    with replacing_folder(folder) as temporary:
        layout = PredictorFolder(temporary)
        write_text(layout.tokenizer, tokenizer_file)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, layout.weights)
        write_json(layout.training, training)
        if calibration is not None:
            write_json(layout.calibration, calibration.model_dump(mode="json"))
        config = PredictorConfig(
            format_version=FORMAT_VERSION,
            name=name,
            library_version=lookahead_router.__version__,
            network=network.configuration.model_dump(mode="json"),
        )
        layout.write(config, pool)
        write_card_settings(layout, card or CardSettings())
        write_card(layout)


def _arguments(recipe: Recipe, output: Path, n_train: int) -> TrainingArguments:
    settings = recipe.optimizer
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate launch say
    per_step = settings.batch_size * settings.gradient_accumulation_steps * n_processes
    n_steps = max(1, int(-(-n_train // per_step) * settings.n_epochs))
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


@contextmanager
def _explaining_full_disks(output: Path) -> Iterator[None]:
    """Turns the many ways in which a full disk shows into one error."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(
            text in str(error) for text in ("No space left", "PytorchStreamWriter", "unexpected pos")
        )
        if not is_full:
            raise
        raise TrainingError(
            f"the disk of {output} is full; the last whole checkpoint is kept. Free some space and run again to resume"
        ) from error


def _last_whole_checkpoint(output: Path) -> Path | None:
    """The newest checkpoint whose last file was written; what a kill left half done is skipped."""
    whole = [path for path in (output / "checkpoints").glob("checkpoint-*") if (path / AVERAGE_FILE).is_file()]
    return max(whole, key=_step, default=None)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
