import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import DIGITS, WORDS
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lookahead_router.backends.onnx import OnnxDemandBackend
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import CheckpointError, ConfigurationError, DataError, LookaheadRouterWarning, SchemaError
from lookahead_router.networks.build import build_network
from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.predictors.tokenization import PromptTokenizer, left_pad
from lookahead_router.training import demands
from lookahead_router.training.demand_answers import build_population, reference_bags, select_answers
from lookahead_router.training.demand_objectives import TYPICAL_LOG_TOKENS
from lookahead_router.training.demand_recipe import DemandRecipe
from lookahead_router.training.demands import fit_demands


def toy_recipe(**sections) -> DemandRecipe:
    settings = {
        "kind": "demands",
        "name": "toy",
        "backbone": "org/tiny",
        "data": {"groups": ["poem*"]},
        "network": {
            "n_demands": 2,
            "references": [["digits"], ["nobody", "words"]],
            "head_size": 16,
            "max_prompt_tokens": 24,
            "n_frozen_layers": 1,
        },
        "objective": {"ability_std": 3.0},
        "optimizer": {
            "n_steps": 12,
            "batch_size": 8,
            "warmup_steps": 2,
            "use_bf16": False,
        },
        "start": {"n_epochs": 200, "learning_rate": 1e-2},
        "refit": {"n_epochs": 20, "learning_rate": 1e-3},
    }
    return DemandRecipe(**{name: _merged(settings.get(name), sections.get(name)) for name in {*settings, *sections}})


def _merged(old, new):
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else (old if new is None else new)


@pytest.fixture(scope="module")
def table(dataset) -> OutcomeTable:
    return OutcomeTable.from_dataset(dataset)


@pytest.fixture(scope="module")
def run(tmp_path_factory, table, backbone_folder):
    output = tmp_path_factory.mktemp("runs") / "toy"
    fit_demands(table, toy_recipe(), output, backbone=backbone_folder, show_progress=False)
    return output


@pytest.fixture
def without_graphs(monkeypatch):
    """Spares the export, which takes most of a small run's time."""
    monkeypatch.setattr(demands, "export_demands", lambda network, path: None)
    monkeypatch.setattr(demands, "quantize_rowwise", lambda source, target: None)


def saved(folder):
    network = build_network(DemandConfig(**json.loads((folder / "network.json").read_text())))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    tokenizer = PromptTokenizer.of(network.configuration, PromptTokenizer.read(folder / "tokenizer.json"))
    return network.eval(), tokenizer, load_file(folder / "abilities.safetensors")


def test_training_learns_who_can_answer_what(run, dataset):
    network, tokenizer, abilities = saved(run / "network")
    texts = [f"sum {' '.join(DIGITS[:4])} ?", f"rhyme {' '.join(WORDS[:4])} ?"]
    with torch.no_grad():
        output = network(*map(torch.from_numpy, left_pad(tokenizer.encode(texts)[0], 0)))
        logits = abilities["levels"] + output.demands @ abilities["abilities"].T - output.difficulty[:, None]
    names = sorted(dataset.pool.names)
    assert [names[best] for best in logits.argmax(dim=1)] == ["digits", "words"]


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(
    run, table, backbone_folder, tmp_path, monkeypatch, without_graphs
):
    monkeypatch.setattr(demands, "CHECKPOINT_STEPS", 4)
    whole = demands._Run._loss

    def cut_off(self, *arguments):
        if self.step == 6:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(demands._Run, "_loss", cut_off)
    arguments = {"backbone": backbone_folder, "show_progress": False}
    with pytest.raises(KeyboardInterrupt):
        fit_demands(table, toy_recipe(), tmp_path / "toy", **arguments)
    monkeypatch.setattr(demands._Run, "_loss", whole)
    resumed = load_file(fit_demands(table, toy_recipe(), tmp_path / "toy", **arguments) / "model.safetensors")
    for name, tensor in load_file(run / "network" / "model.safetensors").items():
        torch.testing.assert_close(resumed[name], tensor)


@pytest.mark.usefixtures("without_graphs")
def test_a_damaged_checkpoint_is_told_and_the_run_begins_anew(table, backbone_folder, tmp_path, monkeypatch):
    recipe = toy_recipe(optimizer={"n_steps": 2}, start={"n_epochs": 1}, refit={"n_epochs": 1})
    arguments = {"backbone": backbone_folder, "show_progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(demands._Run, "refit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fit_demands(table, recipe, tmp_path / "toy", **arguments)
    last = tmp_path / "toy" / "last.pt"
    content = last.read_bytes()
    for damaged in (b"", b"{}" * 900, content[:1000]):
        last.write_bytes(damaged)
        with pytest.warns(LookaheadRouterWarning):
            assert demands._read_checkpoint(last) is None
    with pytest.warns(LookaheadRouterWarning, match=r"last\.pt is damaged .*begins anew"):
        assert fit_demands(table, recipe, tmp_path / "toy", **arguments).is_dir()


def test_the_graphs_of_a_run_say_what_its_weights_say(run):
    network, tokenizer, _ = saved(run / "network")
    batch = left_pad(tokenizer.encode([f"sum {' '.join(DIGITS)} ?"])[0], 0)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, batch)).demands.numpy()
    for file, tolerance in (("model.onnx", 1e-4), ("model_int8.onnx", 0.5)):
        found = OnnxDemandBackend(run / "network" / "onnx" / file).foresee(*batch)
        np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=tolerance)


def test_a_finished_run_is_returned_at_once_and_another_recipe_refused(run, table, backbone_folder):
    before = (run / "network" / "model.safetensors").stat().st_mtime_ns
    assert fit_demands(table, toy_recipe(), run, backbone=backbone_folder) == run / "network"
    assert (run / "network" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigurationError, match="another recipe"):
        fit_demands(table, toy_recipe(seed=1), run, backbone=backbone_folder)
    other = replace(table, scores=1 - table.scores)
    with pytest.raises(ConfigurationError, match="other data"):
        fit_demands(other, toy_recipe(), run, backbone=backbone_folder)
    record = json.loads((run / "network" / "training.json").read_text())
    assert record["data_fingerprint"] == table.fingerprint() != other.fingerprint()


def test_the_embeddings_and_the_lower_layers_stay_as_they_were(run, backbone_folder):
    before, after = load_file(backbone_folder / "model.safetensors"), load_file(run / "network" / "model.safetensors")
    kept = [name for name in before if name.startswith(("embeddings.", "encoder.layer.0."))]
    assert kept
    for name in kept:
        assert torch.equal(before[name], after[f"backbone.{name}"]), name
    changed = "encoder.layer.1.output.dense.weight"
    assert not torch.equal(before[changed], after[f"backbone.{changed}"])


@pytest.mark.usefixtures("without_graphs")
def test_without_steps_the_backbone_stays_as_it_was(table, backbone_folder, tmp_path):
    recipe = toy_recipe(optimizer={"n_steps": 0}, network={"references": []}, refit={"n_epochs": 1})
    folder = fit_demands(table, recipe, tmp_path / "toy", backbone=backbone_folder, show_progress=False)
    before, after = load_file(backbone_folder / "model.safetensors"), load_file(folder / "model.safetensors")
    for name in before:
        if not name.startswith("pooler."):
            assert torch.equal(before[name], after[f"backbone.{name}"]), name


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("n_head_steps", [1, 9, 10, 11])
def test_a_few_steps_fit_a_head_of_few_prompts(table, backbone_folder, tmp_path, n_head_steps):
    n_prompts = int((table.splits == "train").sum())
    head = {"n_epochs": n_head_steps, "batch_size": n_prompts}
    recipe = toy_recipe(optimizer={"n_steps": 0}, start=head, refit=head)
    assert (fit_demands(table, recipe, tmp_path / "toy", backbone=backbone_folder) / "training.json").is_file()


@pytest.mark.usefixtures("without_graphs")
@pytest.mark.parametrize("augmentation", [True, False])
def test_prompts_are_seen_in_other_clothes_unless_the_recipe_says_otherwise(
    table, backbone_folder, tmp_path, monkeypatch, augmentation
):
    read, forward = [], demands._Run._forward
    monkeypatch.setattr(demands._Run, "_forward", lambda run, texts: read.append(texts) or forward(run, texts))
    head = {"n_epochs": 1}
    recipe = toy_recipe(data={"augmentation": augmentation}, optimizer={"n_steps": 2}, start=head, refit=head)
    fit_demands(table, recipe, tmp_path / "toy", backbone=backbone_folder, show_progress=False)
    for texts in read[:2]:
        plain, other = texts[: len(texts) // 2], texts[len(texts) // 2 :]
        assert (plain != other) is augmentation
    assert all(text in set(table.prompts) for text in read[0]) is not augmentation


@pytest.mark.usefixtures("without_graphs")
def test_the_last_fit_reads_every_prompt_in_as_many_clothes_as_the_recipe_says(
    table, backbone_folder, tmp_path, monkeypatch
):
    read, states_of = [], demands.states_of
    monkeypatch.setattr(demands, "states_of", lambda *args: read.append(args[2]) or states_of(*args))
    head = {"n_epochs": 1}
    recipe = toy_recipe(optimizer={"n_steps": 0}, start=head, refit=head | {"n_variants": 3})
    fit_demands(table, recipe, tmp_path / "toy", backbone=backbone_folder, show_progress=False)
    plain, *others = read
    assert len(others) == 3
    assert len({tuple(texts) for texts in (plain, *others)}) == 4
    assert {len(texts) for texts in read} == {len(plain)}


@pytest.mark.usefixtures("without_graphs")
def test_a_run_goes_on_from_an_earlier_one(table, backbone_folder, tmp_path):
    head = {"n_epochs": 2}
    first = toy_recipe(optimizer={"n_steps": 3}, start=head)
    folder = fit_demands(table, first, tmp_path / "first", backbone=backbone_folder, show_progress=False)
    same = toy_recipe(initial=folder)
    assert same.training_settings()["initial"] == "first/network"  # and not where this machine keeps it
    run = demands._Run(select_answers(table, same.data), same, tmp_path, str(backbone_folder))
    run.start()
    weights = load_file(folder / "model.safetensors")
    weights["head.out.bias"][3] -= TYPICAL_LOG_TOKENS
    torch.testing.assert_close(run.network.state_dict(), weights)
    known = load_file(folder / "abilities.safetensors")
    for name, learnt in run.abilities.state_dict().items():
        if name != "offsets":
            torch.testing.assert_close(learnt, known[name])

    others = table.rename({"lazy": "idle"})
    run = demands._Run(select_answers(others, same.data), same, tmp_path, str(backbone_folder))
    run.start()
    with safe_open(folder / "abilities.safetensors", "pt") as saved:
        levels = dict(zip(json.loads(saved.metadata()["names"]), known["levels"].tolist(), strict=True))
    assert "idle" in run.train_rows.names
    assert run.abilities.levels.tolist() == [levels.get(name, 0.0) for name in run.train_rows.names]


@pytest.mark.parametrize("damage", ["missing", "shape", "nameless"])
def test_a_run_that_cannot_be_gone_on_from_is_named(table, backbone_folder, tmp_path, damage):
    folder = tmp_path / "earlier" / "network"
    if damage != "missing":
        folder.mkdir(parents=True)
        save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
        named = {"names": "[]"} if damage == "shape" else None
        save_file({"levels": torch.zeros(1)}, folder / "abilities.safetensors", metadata=named)
    recipe = toy_recipe(optimizer={"n_steps": 0}, initial=folder)
    with pytest.raises(CheckpointError, match="earlier/network is no network that this run can go on from"):
        fit_demands(table, recipe, tmp_path / "toy", backbone=backbone_folder, show_progress=False)


def test_selection_takes_names_kinds_and_sources_by_pattern(table):
    settings = toy_recipe(
        data={
            "sources": ["*"],
            "exclude_sources": ["numb*"],
            "exclude_candidates": ["la*"],
            "kinds": {"poems": "judge"},
            "aliases": {"words": "bard"},
        }
    ).data
    chosen = select_answers(table, settings)
    assert set(chosen.sources) == {"poems"}
    assert set(chosen.kinds) == {"judge"}
    assert {chosen.candidates[k] for k in chosen.candidate_index} == {"bard", "digits"}


@pytest.mark.parametrize("data", [{"sources": ["none*"]}, {"exclude_candidates": ["none"]}, {"exclude_sources": ["*"]}])
def test_patterns_that_fit_nothing_or_leave_nothing_are_refused(table, data):
    with pytest.raises(DataError):
        select_answers(table, toy_recipe(data=data).data)


def test_answers_stand_by_their_prompts_and_everyday_prompts_have_none(table, tmp_path):
    everyday = tmp_path / "everyday.jsonl"
    everyday.write_text('{"prompt": "hello", "kind": "easy"}\n{"prompt": "a b", "kind": "plain"}\n')
    data = toy_recipe(data={"everyday": everyday}).data
    rows = build_population(table, "train", data, [["digits"]])
    assert rows.texts[-2:] == ("hello", "a b")
    assert rows.labels[-2] == 0.98
    assert np.isnan(rows.labels[:-2]).all()
    assert np.isnan(rows.labels[-1])
    assert np.diff(rows.starts)[-2:].tolist() == [0, 0]
    for prompt in (0, len(rows.texts) - 3):
        own = slice(rows.starts[prompt], rows.starts[prompt + 1])
        place = table.prompts.tolist().index(rows.texts[prompt])
        expected = {
            table.candidates[table.candidate_index[i]]: table.scores[i]
            for i in np.flatnonzero(table.prompt_index == place)
        }
        assert {rows.names[k]: s for k, s in zip(rows.candidates[own], rows.scores[own], strict=True)} == expected


@pytest.mark.parametrize("line", ["[]", "{}", '{"prompt": "x", "kind": "hard"}', '{"prompt": 1, "kind": "easy"}', "{"])
def test_malformed_everyday_prompts_are_named_by_line(table, tmp_path, line):
    everyday = tmp_path / "everyday.jsonl"
    everyday.write_text('{"prompt": "hello", "kind": "easy"}\n' + line)
    with pytest.raises(SchemaError) as caught:
        build_population(table, "train", toy_recipe(data={"everyday": everyday}).data, [])
    assert caught.value.row == 1


def test_slots_stand_for_the_first_named_reference_that_answered(table, run):
    _, tokenizer, _ = saved(run / "network")
    rows = build_population(table, "train", toy_recipe().data, [["digits"], ["nobody", "words"]])
    bags = reference_bags(rows, [["digits"], ["nobody", "words"]], 2, tokenizer, seed=0)
    place = {name: k for k, name in enumerate(rows.names)}
    for row in range(3):
        for reference, name in enumerate(["digits", "words"]):
            [ids] = tokenizer.encode_responses([rows.responses[row][place[name]]], 32)
            assert bags[row, 2 * reference][: len(ids)].tolist() == ids
            assert (bags[row, 2 * reference][len(ids) :] == -1).all()
