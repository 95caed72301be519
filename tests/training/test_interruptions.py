"""Runs that are killed, cut off or must stop: what is kept, and how they go on."""

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import changed, toy_dataset, toy_recipe
from safetensors.torch import load_file, save_file

from lookahead_router.errors import LookaheadRouterWarning, TrainingError
from lookahead_router.saved.folder import write_json
from lookahead_router.training import fit, prepare, run, trainer
from lookahead_router.training.checkpoints import newest_checkpoint
from lookahead_router.training.recipe import LoraSettings


@pytest.fixture
def fit_cut_off(dataset, backbone_folder, monkeypatch):
    """`fit`, cut off after its last step and before its record."""

    def cut_off(path, record):
        if path.name == "trained.json":
            raise KeyboardInterrupt
        write_json(path, record)

    def fit_cut_off(recipe, output):
        with monkeypatch.context() as patched:
            patched.setattr(run, "write_json", cut_off)
            with pytest.raises(KeyboardInterrupt):
                fit(dataset, recipe, output, backbone=backbone_folder, show_progress=False)

    return fit_cut_off


@pytest.mark.parametrize(("checkpoint_steps", "resumed_from"), [(50, 14), (10, 20)])
def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path, trained_run, backbone_folder, monkeypatch, checkpoint_steps, resumed_from
):
    monkeypatch.setattr(prepare, "CHECKPOINT_STEPS", checkpoint_steps)
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(__file__.rpartition("/training/")[0])!r})
        from conftest import changed, toy_dataset, toy_recipe
        from lookahead_router.training import fit, prepare, trainer
        from lookahead_router.training.trainer import LookaheadTrainer
        prepare.CHECKPOINT_STEPS = {checkpoint_steps}
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
    assert newest_checkpoint(tmp_path / "run").name == f"checkpoint-{resumed_from}"
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-14").is_dir()  # after the first evaluation

    fit(toy_dataset(), toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    resumed = load_file(tmp_path / "run" / "predictor" / "model.safetensors")
    whole = load_file(trained_run / "predictor" / "model.safetensors")
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("is_causal", "sections"),
    [
        (True, {"network": {"variant": "clm", "mid_tokens": "<MID_{index}>"}}),
        (True, {"network": {"variant": "clm", "mid_tokens": "<MID_{index}>", "lora": LoraSettings(rank=4)}}),
        (False, {"network": {"prediction": "separate"}}),
        (False, {"curriculum": {"initial_mask_rate": 0.5}}),
        (False, {"optimizer": {"use_bf16": True, "averaging_decay": None, "gradient_accumulation_steps": 2}}),
    ],
    ids=["causal", "causal-lora", "separate", "latents", "bf16"],
)
def test_every_kind_of_run_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path, dataset, backbone_folder, causal_backbone_folder, monkeypatch, is_causal, sections
):
    monkeypatch.setattr(prepare, "CHECKPOINT_STEPS", 3)
    recipe = changed(toy_recipe(n_epochs=2, n_evaluations=1), **sections)
    backbone = causal_backbone_folder if is_causal else backbone_folder
    training_step, taken = trainer.LookaheadTrainer.training_step, []

    def watched(self, *args, **kwargs):
        taken.append(self.state.global_step)
        if len(taken) == n_calls:
            raise KeyboardInterrupt
        return training_step(self, *args, **kwargs)

    monkeypatch.setattr(trainer.LookaheadTrainer, "training_step", watched)
    n_calls = 1 + 5 * recipe.optimizer.gradient_accumulation_steps
    with pytest.raises(KeyboardInterrupt):
        fit(dataset, recipe, tmp_path / "cut", backbone=backbone, show_progress=False)
    assert taken[-1] == 5
    for name in ("cut", "whole"):
        taken.clear()
        n_calls = 0
        fit(dataset, recipe, tmp_path / name, backbone=backbone, show_progress=False)
        assert taken[0] == (3 if name == "cut" else 0)
    resumed, whole = (load_file(tmp_path / name / "predictor" / "model.safetensors") for name in ("cut", "whole"))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-4, atol=1e-5)


def write_checkpoint(run: Path, step: int) -> Path:
    """The files of a whole checkpoint, with next to nothing in them."""
    folder = run / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for tensors in ("model.safetensors", "average.safetensors"):
        save_file({"x": torch.zeros(2)}, folder / tensors)
    for state in ("optimizer.pt", "scheduler.pt"):
        torch.save({"x": torch.zeros(2)}, folder / state)
    (folder / "trainer_state.json").write_text('{"step": 1}')
    return folder


def test_a_checkpoint_without_its_last_file_is_skipped(tmp_path):
    for step in (10, 20):
        write_checkpoint(tmp_path, step)
    (write_checkpoint(tmp_path, 30) / "average.safetensors").unlink()
    assert newest_checkpoint(tmp_path).name == "checkpoint-20"


@pytest.mark.parametrize("n_epochs", [1, 1.5])
def test_a_run_cut_off_after_its_last_step_finishes(tmp_path, dataset, backbone_folder, fit_cut_off, n_epochs):
    fit_cut_off(toy_recipe(n_epochs=n_epochs), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    best = (tmp_path / "run" / "best.json").read_bytes()
    for path in (tmp_path / "run").glob("best.*"):
        path.unlink()  # so that the evaluation of the last step must come out as before
    fit(dataset, toy_recipe(n_epochs=n_epochs), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    last = max(line["step"] for line in lines)
    assert json.loads((tmp_path / "run" / "trained.json").read_text()) == {"step": last}
    again = json.loads((tmp_path / "run" / "best.json").read_text())
    known = {line["step"]: line["eval_selection_score"] for line in lines if "eval_selection_score" in line}
    assert again == {"step": last, "selection_score": pytest.approx(known[last])}
    assert json.loads(best)["selection_score"] == max(known.values())


def test_two_processes_that_are_killed_resume_on_the_rows_that_were_next(tmp_path, backbone_folder):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import json, os, sys
            sys.path.insert(0, {str(__file__.rpartition("/training/")[0])!r})
            from conftest import changed, toy_dataset, toy_recipe
            from lookahead_router.training import fit, prepare
            from lookahead_router.training.trainer import LookaheadTrainer
            prepare.CHECKPOINT_STEPS = 13  # amid the second epoch of nine steps
            folder, last = sys.argv[1], int(sys.argv[2])
            step = LookaheadTrainer.training_step
            def watched(self, model, inputs, *args, **kwargs):
                if self.state.global_step == last:
                    os._exit(9)
                with open(f"{{folder}}-rows-{{self.args.process_index}}.jsonl", "a") as lines:
                    print(json.dumps([self.state.global_step, inputs["prompt_ids"].tolist()]), file=lines)
                return step(self, model, inputs, *args, **kwargs)
            LookaheadTrainer.training_step = watched
            recipe = toy_recipe(batch_size=4, n_epochs=3, n_evaluations=1)
            fit(toy_dataset(), recipe, folder, backbone={str(backbone_folder)!r}, show_progress=False)
            """
        )
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rows = {}
    for name, last, finishes in (("whole", -1, True), ("cut", 15, False), ("cut", -1, True)):
        done = subprocess.run(
            [*launcher, str(tmp_path / name), str(last)], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode == 0) == finishes, done.stderr[-3000:]
        rows[name, finishes] = [
            dict(json.loads(line) for line in (tmp_path / f"{name}-rows-{process}.jsonl").read_text().splitlines())
            for process in (0, 1)
        ]
        for path in tmp_path.glob("*.jsonl"):
            path.unlink()
    for whole, resumed in zip(rows["whole", True], rows["cut", True], strict=True):
        assert list(resumed) == list(range(13, 27))
        assert resumed == {step: whole[step] for step in resumed}


def test_a_loss_that_is_no_number_stops_the_run_with_its_checkpoint(tmp_path, dataset, backbone_folder, monkeypatch):
    routing_loss, calls = trainer.routing_loss, []

    def breaking(*args, **kwargs):
        calls.append(1)
        return routing_loss(*args, **kwargs) * (float("nan") if len(calls) == 30 else 1.0)

    monkeypatch.setattr(trainer, "routing_loss", breaking)
    with pytest.raises(TrainingError, match="the loss is nan at step 29; the last checkpoint is kept"):
        fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    assert newest_checkpoint(tmp_path / "run") is not None
    fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    assert (tmp_path / "run" / "predictor").is_dir()


@pytest.mark.parametrize("step", [29, 53])  # amid the run, and in its last step
def test_a_gradient_that_is_no_number_stops_the_run_before_it_reaches_the_weights(
    tmp_path, dataset, backbone_folder, monkeypatch, step
):
    routing_loss, calls = trainer.routing_loss, []

    def breaking(logits, *args, **kwargs):
        calls.append(1)
        nothing = torch.sqrt(0.0 * logits.sum()) if len(calls) == step + 1 else 0.0  # with an infinite slope
        return routing_loss(logits, *args, **kwargs) + nothing

    monkeypatch.setattr(trainer, "routing_loss", breaking)
    with pytest.raises(TrainingError, match=f"a gradient is not finite at step {step}; the last checkpoint is kept"):
        fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    for tensor in load_file(newest_checkpoint(tmp_path / "run") / "model.safetensors").values():
        assert tensor.isfinite().all()
    predictor = fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    assert np.isfinite(predictor.predict(["sum 1 2 ?"]).scores).all()


def test_a_full_disk_stops_the_run_and_keeps_thenewest_checkpoint(tmp_path, dataset, backbone_folder, monkeypatch):
    save_file, calls = trainer.save_file, []

    def filling(tensors, path):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(trainer, "save_file", filling)
    with pytest.raises(TrainingError, match=r"disk of .* is full; the last whole checkpoint is kept"):
        fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)
    assert newest_checkpoint(tmp_path / "run") is not None
    fit(dataset, toy_recipe(), tmp_path / "run", backbone=backbone_folder, show_progress=False)


def test_a_run_cut_off_after_it_stopped_early_does_not_go_on(tmp_path, dataset, backbone_folder, fit_cut_off):
    recipe = toy_recipe(n_epochs=40, n_evaluations=40, early_stopping_patience=2)
    finished, cut = tmp_path / "finished", tmp_path / "cut"
    fit(dataset, recipe, finished, backbone=backbone_folder, show_progress=False)

    fit_cut_off(recipe, cut)
    fit(dataset, recipe, cut, backbone=backbone_folder, show_progress=False)
    for name in ("trained.json", "best.json"):
        assert (cut / name).read_text() == (finished / name).read_text()


def test_a_checkpoint_that_was_damaged_later_is_left_for_an_older_one(tmp_path, dataset, backbone_folder, monkeypatch):
    run_folder = tmp_path / "run"
    routing_loss, calls = trainer.routing_loss, []

    def breaking(*args, **kwargs):
        calls.append(1)
        return routing_loss(*args, **kwargs) * (float("nan") if len(calls) == 30 else 1.0)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "routing_loss", breaking)
        with pytest.raises(TrainingError):
            fit(dataset, toy_recipe(), run_folder, backbone=backbone_folder, show_progress=False)
    newest = newest_checkpoint(run_folder)
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.warns(LookaheadRouterWarning, match=r"checkpoint-28 is damaged \(model.safetensors: .*older one"):
        predictor = fit(dataset, toy_recipe(), run_folder, backbone=backbone_folder, show_progress=False)
    assert np.isfinite(predictor.predict(["sum 1 2 ?"]).scores).all()


@pytest.mark.parametrize("name", ["optimizer.pt", "trainer_state.json"])
def test_any_file_of_a_checkpoint_may_be_the_damaged_one(tmp_path, name):
    for step in (1, 2):
        write_checkpoint(tmp_path, step)
    assert newest_checkpoint(tmp_path).name == "checkpoint-2"
    damaged = tmp_path / "checkpoints" / "checkpoint-2" / name
    damaged.write_bytes(damaged.read_bytes()[:-4])
    with pytest.warns(LookaheadRouterWarning, match=f"checkpoint-2 is damaged .{name}"):
        assert newest_checkpoint(tmp_path).name == "checkpoint-1"
