import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import toy_dataset, toy_recipe
from safetensors.torch import load_file

from lookahead_router.errors import CheckpointError, ConfigurationError, DataError
from lookahead_router.training import fit
from lookahead_router.training.run import _last_whole_checkpoint, mid_token_ids


def test_training_learns_the_toy_world(trained_run, dataset):
    from lookahead_router.predictors.lookahead import LookaheadPredictor

    predictor = LookaheadPredictor.load(trained_run / "predictor", backend="torch")
    test = dataset.filter(split="test")
    chosen = predictor.predict_scores(test.prompts).argmax(axis=1)
    expected = np.where(test.sources == "numbers", 0, 1)
    assert (chosen == expected).mean() >= 0.95


def test_the_reconstruction_loss_falls(trained_run):
    lines = [json.loads(line) for line in (trained_run / "history.jsonl").read_text().splitlines()]
    losses = [line["reconstruction_loss"] for line in lines if "reconstruction_loss" in line]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_writes_its_recipe_data_fingerprint_and_seed_beside_the_weights(trained_run, dataset):
    record = json.loads((trained_run / "predictor" / "training.json").read_text())
    assert record["data_fingerprint"] == dataset.fingerprint()
    assert record["recipe"]["seed"] == 0
    assert record["recipe"]["optimizer"]["learning_rate"] == 3e-3
    assert record["recipe"]["backbone"] == "org/tiny"


def test_the_kept_weights_are_those_of_the_best_evaluation(trained_run):
    lines = [json.loads(line) for line in (trained_run / "history.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["eval_selection_score"] for line in lines if "eval_selection_score" in line}
    best = json.loads((trained_run / "best.json").read_text())
    assert best["selection_score"] == max(scores.values())
    assert best["step"] == min(step for step, score in scores.items() if score == max(scores.values()))


def test_no_path_of_the_machine_reaches_the_saved_predictor(trained_run, backbone_folder):
    for path in (trained_run / "predictor").rglob("*.json"):
        assert str(backbone_folder.parent) not in path.read_text()


def test_fit_returns_a_finished_run_at_once(trained_run, dataset, backbone_folder):
    before = (trained_run / "history.jsonl").read_text()
    fit(dataset, toy_recipe(), trained_run, backbone=backbone_folder, show_progress=False)
    assert (trained_run / "history.jsonl").read_text() == before


def test_another_recipe_may_not_use_the_folder_of_a_run(trained_run, dataset, backbone_folder):
    with pytest.raises(ConfigurationError, match="another recipe or other data"):
        fit(dataset, toy_recipe(n_epochs=1), trained_run, backbone=backbone_folder, show_progress=False)


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(tmp_path, trained_run, backbone_folder):
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(__file__.rpartition("/training/")[0])!r})
        from conftest import toy_dataset, toy_recipe
        from lookahead_router.training import fit
        from lookahead_router.training.trainer import LookaheadTrainer
        evaluate = LookaheadTrainer.evaluate
        def dying(self, *args, **kwargs):
            metrics = evaluate(self, *args, **kwargs)
            if self.state.global_step >= 26:
                os.kill(os.getpid(), signal.SIGKILL)
            return metrics
        LookaheadTrainer.evaluate = dying
        fit(toy_dataset(), toy_recipe(), {str(tmp_path / "run")!r}, backbone={str(backbone_folder)!r},
            show_progress=False)
        """
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "run" / "predictor").exists()
    assert _last_whole_checkpoint(tmp_path / "run") is not None

    fit(toy_dataset(), toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    resumed = load_file(tmp_path / "run" / "predictor" / "model.safetensors")
    whole = load_file(trained_run / "predictor" / "model.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_without_its_last_file_is_skipped(tmp_path):
    for step, is_whole in ((10, True), (20, True), (30, False)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if is_whole:
            (folder / "average.safetensors").touch()
    assert _last_whole_checkpoint(tmp_path).name == "checkpoint-20"


def test_a_missing_split_is_named(tmp_path, dataset, backbone_folder):
    recipe = toy_recipe().model_copy(update={"data": toy_recipe().data.model_copy(update={"train_split": "trian"})})
    with pytest.raises(DataError, match="'trian'; there are 'test', 'train', 'validation'"):
        fit(dataset, recipe, tmp_path / "run", backbone=backbone_folder, show_progress=False)


def test_an_excluded_source_that_is_not_there_is_an_error(tmp_path, backbone_folder):
    recipe = toy_recipe().model_copy(
        update={"data": toy_recipe().data.model_copy(update={"exclude_sources": ("verse",)})}
    )
    with pytest.raises(DataError, match="verse"):
        fit(toy_dataset(), recipe, tmp_path / "run", backbone=backbone_folder, show_progress=False)


def test_a_backbone_that_is_not_there_is_a_checkpoint_error(tmp_path, dataset):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="cannot load the backbone"):
        fit(dataset, toy_recipe(), tmp_path / "run", backbone=tmp_path / "empty", show_progress=False)


def test_mid_tokens_must_be_known_and_distinct():
    from conftest import make_tokenizer

    assert mid_token_ids(make_tokenizer(), "[unused{index}]", 3) == (5, 6, 7)
    with pytest.raises(ConfigurationError, match="lacks"):
        mid_token_ids(make_tokenizer(), "<model_{index}>", 3)
    with pytest.raises(ConfigurationError, match="distinct"):
        mid_token_ids(make_tokenizer(), "[MASK]", 3)
