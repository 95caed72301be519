import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from conftest import changed, modernbert_config, toy_dataset, toy_recipe
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.errors import CheckpointError, ConfigurationError, DataError
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.training import fit, trainer
from lookahead_router.training.recipe import LoraSettings, RefitSettings
from lookahead_router.training.targets import source_weights
from lookahead_router.training.trainer import selection_score


def test_training_learns_the_toy_world(trained_run, dataset):
    predictor = LookaheadPredictor.load(trained_run / "predictor", backend="torch")
    test = dataset.filter(split="test")
    chosen = predictor.predict(test.prompts).scores.argmax(axis=1)
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


def test_without_an_output_a_run_is_in_the_folder_of_its_name(
    trained_run, dataset, backbone_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained_run, tmp_path / "runs" / toy_recipe().name)
    predictor = fit(dataset, toy_recipe(), backbone=backbone_folder, show_progress=False)
    assert predictor.revision == LookaheadPredictor.load(trained_run / "predictor", backend="torch").revision
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [toy_recipe().name]


def test_another_recipe_may_not_use_the_folder_of_a_run(trained_run, dataset, backbone_folder):
    with pytest.raises(ConfigurationError, match="another recipe or other data"):
        fit(dataset, toy_recipe(n_epochs=1), trained_run, backbone=backbone_folder, show_progress=False)


def test_a_missing_split_is_named(tmp_path, dataset, backbone_folder):
    recipe = toy_recipe().model_copy(update={"data": toy_recipe().data.model_copy(update={"train_split": "trian"})})
    with pytest.raises(DataError, match="'trian'; there are 'test', 'train', 'validation'"):
        fit(dataset, recipe, tmp_path / "run", backbone=backbone_folder, show_progress=False)


def test_a_candidate_that_is_nowhere_judged_is_named(tmp_path, backbone_folder):
    dataset = toy_dataset()
    dataset.scores[dataset.splits == "train", 1] = np.nan
    with pytest.raises(DataError, match=rf"'train' that ranks candidates has a score of {dataset.pool.names[1]}:"):
        fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)


def test_settings_that_cannot_work_may_be_mended_in_the_same_folder(tmp_path, dataset, backbone_folder):
    wrong = changed(toy_recipe(n_epochs=1), network={"max_prompt_tokens": 10_000})
    with pytest.raises(ConfigurationError, match="positions"):
        fit(dataset, wrong, tmp_path / "run", backbone=backbone_folder, show_progress=False)
    fit(dataset, toy_recipe(n_epochs=1), tmp_path / "run", backbone=backbone_folder, show_progress=False)


def test_other_prices_are_not_ignored_and_cost_no_training(trained_run, dataset, backbone_folder, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    priced = dataset.pool.with_call_costs([0.1, 0.2, 0.3])
    dataset = RoutingDataset.from_examples(list(dataset), pool=priced)
    with pytest.raises(ConfigurationError, match="another pool than the dataset, such as other prices"):
        fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    shutil.rmtree(tmp_path / "run" / "predictor")
    before = (tmp_path / "run" / "history.jsonl").read_text()
    predictor = fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    assert predictor.pool == priced
    assert (tmp_path / "run" / "history.jsonl").read_text() == before


def test_a_batch_without_any_score_leaves_the_history_valid_json(tmp_path, backbone_folder):
    dataset = toy_dataset()
    dataset.scores[(dataset.splits == "train") & (np.arange(len(dataset)) % 40 >= 4)] = np.nan
    fit(dataset, toy_recipe(n_epochs=1), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    assert "NaN" not in (tmp_path / "run" / "history.jsonl").read_text()


def test_the_averaged_weights_of_the_best_evaluation_are_kept(tmp_path, dataset, backbone_folder, monkeypatch):
    seen = {}
    evaluate = trainer.LookaheadTrainer.evaluate

    def watched(self, *args, **kwargs):
        seen[self.state.global_step] = {
            name: {k: v.clone() for k, v in network.state_dict().items()}
            for name, network in (("raw", self.model), ("average", self.average.module))
        }
        return evaluate(self, *args, **kwargs)

    monkeypatch.setattr(trainer.LookaheadTrainer, "evaluate", watched)
    fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    kept = load_file(tmp_path / "run" / "best.safetensors")
    best = json.loads((tmp_path / "run" / "best.json").read_text())["step"]
    assert len(seen) > 2
    name = "score_head.out.weight"
    for step, weights in seen.items():
        assert torch.equal(kept[name], weights["average"][name]) == (step == best)
        assert not torch.equal(kept[name], weights["raw"][name])


def test_an_average_does_not_remember_the_weights_that_it_began_with():
    network = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(network, multi_avg_fn=trainer._averaging_up_to(0.98))
    torch.nn.init.constant_(network.weight, 1.0)
    average.update_parameters(network)  # the first is taken as it is
    torch.nn.init.zeros_(network.weight)
    shares = []
    for _ in range(300):
        average.update_parameters(network)
        shares.append(average.module.weight.item())
    assert shares[19] < 0.001  # a plain average with this decay would keep two thirds
    assert shares == sorted(shares, reverse=True)


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


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("causal", {"network": {"variant": "clm", "mid_tokens": "<MID_{index}>"}}),
        (
            "causal-lora",
            {
                "network": {"variant": "clm", "mid_tokens": "<MID_{index}>", "lora": LoraSettings(rank=8)},
                "optimizer": {"learning_rate": 1e-2, "n_epochs": 12.0},
            },
        ),
        ("modernbert", {}),
        (
            "bert-lora",
            {"network": {"lora": LoraSettings(rank=8)}, "optimizer": {"learning_rate": 1e-2, "n_epochs": 12.0}},
        ),
        ("added-tokens", {"network": {"mid_tokens": "<MID_{index}>"}, "objective": {"routing": "expected-regret"}}),
    ],
)
def test_every_kind_of_network_learns_the_toy_world_and_loads_again(
    tmp_path, dataset, request, save_backbone, name, sections
):
    folder = request.getfixturevalue("causal_backbone_folder" if name.startswith("causal") else "backbone_folder")
    if name == "modernbert":
        folder = save_backbone(modernbert_config())
    recipe = changed(toy_recipe(), **sections)
    predictor = fit(dataset, recipe, tmp_path / "run", backbone=folder, show_progress=False)
    test = dataset.filter(split="test")
    scores = predictor.predict(test.prompts).scores
    assert (scores.argmax(axis=1) == np.where(test.sources == "numbers", 0, 1)).mean() >= 0.95
    again = type(predictor).load(tmp_path / "run" / "predictor", backend="torch")
    np.testing.assert_array_equal(again.predict(test.prompts).scores, scores)
    assert "lora" not in " ".join(load_file(tmp_path / "run" / "predictor" / "model.safetensors"))


def losses_of(run):
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_two_processes_train_as_one_that_accumulates(tmp_path, backbone_folder):
    backbone = shutil.copytree(backbone_folder, tmp_path / "backbone")
    config = json.loads((backbone / "config.json").read_text())
    (backbone / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.0}))
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(__file__.rpartition("/training/")[0])!r})
            import torch
            from conftest import toy_dataset, toy_recipe
            from lookahead_router.training import fit
            run, accumulation = sys.argv[1], int(sys.argv[2])
            recipe = toy_recipe(batch_size=4, gradient_accumulation_steps=accumulation, n_epochs=2)
            recipe = recipe.model_copy(update={{"network": recipe.network.model_copy(
                update={{"head_dropout": 0.0, "attention_dropout": 0.0}})}})
            recipe = recipe.model_copy(update={{"objective": recipe.objective.model_copy(
                update={{"max_reconstruction_targets": None, "reconstruction_weight": 0.01}})}})
            fit(toy_dataset(110), recipe, run, backbone={str(backbone)!r}, show_progress=False)  # 66 rows: 8.25 steps
            """
        )
    )
    one = [sys.executable, str(script), str(tmp_path / "one"), "2"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    two = [*launcher, str(script), str(tmp_path / "two"), "1"]
    for command in (one, two):
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(losses_of(tmp_path / "two"), losses_of(tmp_path / "one"), rtol=1e-4)
    assert (tmp_path / "two" / "predictor" / "model.safetensors").is_file()


def test_a_run_stops_early_once_validation_no_longer_improves(tmp_path, dataset, backbone_folder):
    recipe = toy_recipe(n_epochs=40, n_evaluations=40, early_stopping_patience=2)
    fit(dataset, recipe, tmp_path / "run", backbone=backbone_folder, show_progress=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    evaluations = [line for line in lines if "eval_selection_score" in line]
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert len(evaluations) < 40
    assert [line["step"] for line in evaluations].index(best["step"]) == len(evaluations) - 3


def test_progress_is_one_bar_with_loss_score_mask_rate_and_validation(tmp_path, dataset, backbone_folder, capsys):
    fit(dataset, toy_recipe(n_epochs=1), tmp_path / "run", backbone=backbone_folder)
    shown = capsys.readouterr().err
    for part in ("toy: ", "loss=", "chosen=", "mask=", "validation="):
        assert part in shown


def test_a_refitted_head_is_kept_where_it_selects_better(tmp_path, dataset, backbone_folder):
    recipe = toy_recipe(n_epochs=1).model_copy(update={"refit": RefitSettings(n_epochs=40, learning_rate=1e-2)})
    predictor = fit(dataset, recipe, tmp_path / "run", backbone=backbone_folder, show_progress=False)
    scores = json.loads((tmp_path / "run" / "predictor" / "training.json").read_text())["refit"]
    kept = max(scores.values())
    validation = dataset.filter(split="validation")
    alike = source_weights(validation, 1.0)
    found = selection_score(predictor.predict(validation.prompts).scores, validation.scores, alike)
    assert found == pytest.approx(kept)
