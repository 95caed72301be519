"""A training run from start to saved predictor, resumable at any point: prepare, optimise, finish."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.files import write_text
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.saved.folder import write_json
from lookahead_router.training.checkpoints import explaining_full_disks, newest_checkpoint, step_of
from lookahead_router.training.finish import finish
from lookahead_router.training.memory import keeping_freed_memory
from lookahead_router.training.prepare import choose_rows, prepare
from lookahead_router.training.recipe import Recipe
from lookahead_router.training.trainer import LookaheadTrainer, load_average, read_best


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
        rows = choose_rows(dataset, recipe)
        with keeping_freed_memory():
            prepared = prepare(rows, recipe, output, str(backbone or recipe.backbone), show_progress=show_progress)
            _optimise(prepared.trainer, output)
            finish(prepared, recipe, output, dataset.fingerprint())
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


def _optimise(trainer: LookaheadTrainer, output: Path) -> None:
    """Trains to the last step, from the newest checkpoint where there is one; the best weights are kept beside."""
    checkpoint = newest_checkpoint(output) if trainer.is_world_process_zero() else None
    (checkpoint,) = trainer.from_first_process(checkpoint)
    if checkpoint is not None:
        load_average(trainer, checkpoint)
    trained = output / "trained.json"
    if not trained.is_file():
        with explaining_full_disks(output):
            is_over = checkpoint is not None and (
                step_of(checkpoint) >= trainer.args.max_steps
                or trainer.has_lost_patience(step_of(checkpoint), read_best(trainer.best_record))
            )
            if is_over:  # cut off after the last step; the Trainer would take more
                network = trainer.accelerator.unwrap_model(trainer.model)
                network.load_state_dict(load_file(checkpoint / "model.safetensors"))
                trainer.state.global_step = step_of(checkpoint)
            else:
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if trainer.evaluated_step != trainer.state.global_step:
                trainer.evaluate()  # the last step competes too
            if trainer.is_world_process_zero():
                write_json(trained, {"step": trainer.state.global_step})
        trainer.accelerator.wait_for_everyone()
