"""The last part of a run: from the best weights to a saved predictor."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

import lookahead_router
from lookahead_router.files import replacing_folder, write_text
from lookahead_router.metrics import sigmoid
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.predictors.calibration import MIN_CALIBRATION_PROMPTS, Calibration, fit_calibration
from lookahead_router.saved.card import CardSettings, write_card, write_card_settings
from lookahead_router.saved.folder import FORMAT_VERSION, PredictorConfig, PredictorFolder, write_json
from lookahead_router.training.calibration import score_scale
from lookahead_router.training.checkpoints import explaining_full_disks
from lookahead_router.training.objectives import OBJECTIVES
from lookahead_router.training.prepare import Prepared
from lookahead_router.training.recipe import Recipe
from lookahead_router.training.refit import fit_head, readout_states
from lookahead_router.training.targets import dataset_targets
from lookahead_router.training.trainer import predict_logits, read_best, selection_score
from lookahead_router.types import CandidatePool


def finish(prepared: Prepared, recipe: Recipe, output: Path, data_fingerprint: str) -> None:
    """Takes the best weights, refits and calibrates them, and saves the predictor.

    Args:
        prepared: what was trained.
        recipe: its settings.
        output: folder of the run.
        data_fingerprint: of the dataset, for the record.
    """
    trainer, rows = prepared.trainer, prepared.rows
    network = trainer.accelerator.unwrap_model(trainer.model)
    network.load_state_dict(load_file(output / "best.safetensors"))
    prepared.merge()
    refitted = None if recipe.refit is None else _refit(network, prepared, recipe)
    # In float32, as it will be served: what follows reads the scores themselves, not their order alone.
    network = trainer.accelerator.unwrap_model(network, keep_fp32_wrapper=False)
    calibration = _scale_and_calibrate(network, prepared, recipe)
    record = {
        "recipe": recipe.training_settings(),
        "data_fingerprint": data_fingerprint,
        "n_train": len(rows.train),
        "n_scores": int((~np.isnan(rows.train.scores)).sum()),
        "n_answers": sum(bool(text) for row in rows.train.responses for text in row),
        "train_sources": dict(Counter(str(source) for source in rows.train.sources)),
        "n_validation": len(rows.validation),
        "best": read_best(output / "best.json"),
        "refit": refitted,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    if trainer.is_world_process_zero():
        with explaining_full_disks(output):
            save_predictor(
                output / "predictor",
                network=network,
                tokenizer_file=prepared.tokenizer_file,
                pool=rows.train.pool,
                name=recipe.name,
                training=record,
                calibration=calibration,
                card=recipe.card,
            )
        for checkpoint in (output / "checkpoints").glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    trainer.accelerator.wait_for_everyone()


def _scale_and_calibrate(network: LookaheadNetwork, prepared: Prepared, recipe: Recipe) -> Calibration | None:
    """Gives relative logits their scale, and fits the curves to probabilities where validation is large enough."""
    validation = prepared.validation
    logits = predict_logits(network, validation, batch_size=2 * recipe.optimizer.batch_size)
    if OBJECTIVES[recipe.objective.routing].is_relative:
        scale = score_scale(logits, validation.scores)
        network.configuration = network.configuration.model_copy(update={"score_scale": scale})
        logits = scale * (logits - logits.mean(axis=1, keepdims=True))
    if (~np.isnan(validation.scores)).sum(axis=0).min() < MIN_CALIBRATION_PROMPTS:
        return None
    return fit_calibration(sigmoid(logits), validation.scores, prepared.rows.train.pool.names)


def _refit(network: LookaheadNetwork, prepared: Prepared, recipe: Recipe) -> dict[str, float]:
    """Gives the network a new score head where it selects better; the selection scores of both."""
    objective, validation = recipe.objective, prepared.validation
    if recipe.refit.source_shrinkage is not None:
        objective = objective.model_copy(update={"source_shrinkage": recipe.refit.source_shrinkage})
    train = dataclasses.replace(prepared.train, targets=dataset_targets(prepared.rows.train, objective))
    batch_size = 2 * recipe.optimizer.batch_size
    with prepared.trainer.accelerator.autocast():
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
