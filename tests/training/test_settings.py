"""Settings of a recipe on their way into the training."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import changed, toy_recipe
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lookahead_router.errors import DataError, LookaheadRouterWarning
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.training import finish, fit, prepare, trainer
from lookahead_router.training.curriculum import MaskingCurriculum


@pytest.fixture
def run_of(tmp_path, dataset, backbone_folder):
    """Trains by a recipe; the folder of the run."""

    def run_of(recipe, name="run"):
        fit(dataset, recipe, tmp_path / name, backbone=backbone_folder, show_progress=False)
        return tmp_path / name

    return run_of


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_the_curriculum_follows_the_recipe_by_optimiser_step(run_of, monkeypatch):
    seen = []
    mask_responses = trainer.mask_responses

    def watched(ids, lengths, fillers, rate):
        seen.append(rate)
        return mask_responses(ids, lengths, fillers, rate)

    monkeypatch.setattr(trainer, "mask_responses", watched)
    curriculum = {"initial_mask_rate": 0.5, "warmup_share": 0.75}
    recipe = changed(toy_recipe(n_epochs=2, gradient_accumulation_steps=3), curriculum=curriculum)
    folder = run_of(recipe)
    n_steps = history(folder)[-1]["step"]
    assert len(seen) == 3 * n_steps == 2 * 9
    clock = MaskingCurriculum(0.5, 0.75)
    assert seen == [clock.mask_rate(i // 3, n_steps) for i in range(len(seen))]
    assert seen[0] == 0.5
    assert seen[-1] == 1.0


@pytest.mark.parametrize(("use_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_products_are_of_the_asked_precision_and_weights_of_float32(run_of, monkeypatch, use_bf16, dtype):
    seen = set()
    build_network, reconstruction_loss = prepare.build_network, trainer.reconstruction_loss

    def watched_network(*args, **kwargs):
        network, tokenizer = build_network(*args, **kwargs)
        network.score_head.register_forward_hook(lambda head, _, scores: seen.add((head.training, scores.dtype)))
        return network, tokenizer

    def watched_loss(logits, targets):
        seen.add(("reconstruction", logits.dtype))
        return reconstruction_loss(logits, targets)

    monkeypatch.setattr(prepare, "build_network", watched_network)
    monkeypatch.setattr(trainer, "reconstruction_loss", watched_loss)
    folder = run_of(toy_recipe(n_epochs=1, use_bf16=use_bf16))
    calibration = (False, torch.float32)
    assert seen == {(True, dtype), (False, dtype), ("reconstruction", dtype), calibration}
    weights = load_file(folder / "predictor" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.parametrize("routing", ["bce", "ce"])
def test_after_training_in_bf16_probabilities_are_fitted_to_the_scores_that_are_served(
    run_of, dataset, monkeypatch, routing
):
    seen = []
    fit_calibration = finish.fit_calibration

    def watched(predicted, *args):
        seen.append(predicted)
        return fit_calibration(predicted, *args)

    monkeypatch.setattr(finish, "fit_calibration", watched)
    monkeypatch.setattr(finish, "MIN_CALIBRATION_PROMPTS", 10)
    folder = run_of(changed(toy_recipe(n_epochs=1, use_bf16=True), objective={"routing": routing}))
    served = LookaheadPredictor.load(folder / "predictor", backend="torch")
    np.testing.assert_allclose(seen[0], served.predict(dataset.filter(split="validation").prompts).scores, atol=1e-6)


@pytest.mark.parametrize(
    ("sections", "is_masking"),
    [
        ({}, True),
        ({"network": {"n_slots": 0}}, False),
        ({"objective": {"reconstruction_weight": 0.0}}, False),
        ({"network": {"variant": "clm", "mid_tokens": "<MID_{index}>"}}, False),
    ],
    ids=["mlm", "classifier", "no reconstruction", "clm"],
)
def test_a_mask_rate_is_shown_where_something_is_masked(
    tmp_path, dataset, backbone_folder, causal_backbone_folder, sections, is_masking
):
    recipe = changed(toy_recipe(n_epochs=1), **sections)
    backbone = causal_backbone_folder if recipe.network.variant == "clm" else backbone_folder
    fit(dataset, recipe, tmp_path, backbone=backbone, show_progress=False)
    assert any("mask_rate" in line for line in history(tmp_path)) == is_masking


def test_gradients_are_clipped_to_the_norm_of_the_recipe(run_of, monkeypatch):
    norms = []

    def watched(self, args, state, control, model=None, **kwargs):
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    monkeypatch.setattr(trainer._FiniteGradients, "on_pre_optimizer_step", watched)
    run_of(toy_recipe(n_epochs=1, max_gradient_norm=0.01))
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-3)


def test_the_learning_rate_warms_up_and_falls(run_of):
    folder = run_of(toy_recipe(n_epochs=4, learning_rate=1e-3, warmup_share=0.25, n_evaluations=36))  # logs every step
    rates = [line["learning_rate"] for line in history(folder) if "learning_rate" in line]
    n_warmup = len(rates) // 4
    assert len(rates) == 36
    assert rates[: n_warmup + 1] == pytest.approx(np.linspace(0, 1e-3, n_warmup + 1))
    assert rates[n_warmup:] == sorted(rates[n_warmup:], reverse=True)
    assert rates[-1] < 1e-5


def test_tensorboard_shows_what_the_history_holds(run_of):
    folder = run_of(toy_recipe(n_epochs=2))
    (events,) = {path.parent for path in (folder / "checkpoints").rglob("events.out.tfevents*")}
    board = EventAccumulator(str(events)).Reload()
    for shown, name in (
        ("train/loss", "loss"),
        ("train/mask_rate", "mask_rate"),
        ("train/reconstruction_loss", "reconstruction_loss"),
        ("eval/selection_score", "eval_selection_score"),
    ):
        expected = [(line["step"], pytest.approx(line[name])) for line in history(folder) if name in line]
        assert [(event.step, event.value) for event in board.Scalars(shown)] == expected


def test_heads_learn_at_their_own_rate_and_biases_and_norms_do_not_decay(run_of, monkeypatch):
    groups = {}
    create_optimizer = trainer.LookaheadTrainer.create_optimizer

    def watched(self, model=None):
        optimizer = create_optimizer(self, model)
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                groups[names[parameter]] = (group["lr"], group["weight_decay"])
        return optimizer

    monkeypatch.setattr(trainer.LookaheadTrainer, "create_optimizer", watched)
    recipe = toy_recipe(n_epochs=1, learning_rate=1e-3, head_learning_rate=1e-2, weight_decay=0.25)
    weights = load_file(run_of(recipe) / "best.safetensors")
    assert set(groups) <= set(weights)
    assert {name.partition(".")[0] for name in groups} >= {"backbone", "score_head", "reconstruction_head"}
    for name, (rate, decay) in groups.items():
        assert rate == (1e-3 if name.startswith("backbone.") else 1e-2), name
        assert decay == (0.25 if weights[name].ndim == 2 else 0.0), name


def test_no_more_targets_are_rebuilt_than_the_recipe_allows(run_of, monkeypatch):
    counts = []
    reconstruction_loss = trainer.reconstruction_loss

    def counting(logits, targets):
        counts.append(len(targets))
        return reconstruction_loss(logits, targets)

    monkeypatch.setattr(trainer, "reconstruction_loss", counting)
    recipe = changed(toy_recipe(n_epochs=1), objective={"max_reconstruction_targets": 5})
    run_of(recipe)
    assert max(counts) == 5


def test_a_share_of_the_training_prompts_is_drawn_by_seed(dataset):
    def drawn(seed):
        recipe = changed(toy_recipe(), data={"train_fraction": 0.25}).model_copy(update={"seed": seed})
        return prepare.choose_rows(dataset, recipe)

    first, again, other = drawn(0), drawn(0), drawn(1)
    n_train = (dataset.splits == "train").sum()
    assert len(first.train) == len(other.train) == round(n_train / 4)
    assert set(first.train.splits) == {"train"}
    assert list(first.train.prompts) == list(again.train.prompts) != list(other.train.prompts)
    assert len(first.validation) == (dataset.splits == "validation").sum()


def test_few_steps_are_warned_of_with_numbers_and_a_way_out(tmp_path):
    recipe = toy_recipe(batch_size=32, n_epochs=1)
    with pytest.warns(LookaheadRouterWarning, match=r"60 training prompts are 2 optimiser steps \(32 prompts"):
        prepare.training_arguments(recipe, tmp_path, 60)
    with pytest.warns(LookaheadRouterWarning, match=r"raise optimizer.n_epochs to 25, or fit a predictor for few"):
        prepare.training_arguments(recipe, tmp_path, 60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare.training_arguments(toy_recipe(batch_size=8, n_epochs=7), tmp_path, 60)


def test_answers_without_any_text_are_warned_of(dataset):
    empty = replace(dataset, responses=np.full(dataset.responses.shape, "", dtype=object))
    with pytest.warns(LookaheadRouterWarning, match="no answer in split 'train' has a text"):
        prepare.choose_rows(empty, toy_recipe())


def test_without_splits_the_data_are_refused_before_the_backbone_is_looked_for(dataset, tmp_path):
    bare = replace(dataset, splits=np.full(len(dataset), "", dtype=object))
    with pytest.raises(
        DataError, match=r"no row of the dataset names a split, and training needs 'train' and 'valid.*"
    ):
        fit(bare, toy_recipe(), tmp_path / "run", backbone=tmp_path / "nowhere", show_progress=False)
    assert not (tmp_path / "run" / "predictor").exists()
    prepare.choose_rows(bare.with_splits(), toy_recipe())
