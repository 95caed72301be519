import shutil

import onnx
import pytest

from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.predictors import export
from lookahead_router.predictors.export import Parity, export_predictor


def test_export_reports_both_figures(predictor_folder, dataset, tmp_path):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    parity = export_predictor(folder, dataset.prompts)
    assert parity.holds
    assert "fp32 scores within" in str(parity)
    assert f"of {len(dataset)} prompts" in str(parity)


def test_weights_of_four_bits_make_a_smaller_graph_that_is_gated_alike(predictor_folder, dataset, tmp_path):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    before = (folder / "onnx" / "model_int8.onnx").stat().st_size
    parity = export_predictor(folder, dataset.prompts, weight_bits=4)
    assert parity.same_decisions >= 0.98
    assert "4-bit weights" in str(parity)
    assert "4-bit weights" in (folder / "README.md").read_text()
    assert (folder / "onnx" / "model_int8.onnx").stat().st_size < before
    nodes = onnx.load(folder / "onnx" / "model_int8.onnx").graph.node
    bits = {a.i for node in nodes if node.op_type == "MatMulNBits" for a in node.attribute if a.name == "bits"}
    assert bits == {4}


def test_other_weight_bits_are_refused(predictor_folder, dataset):
    with pytest.raises(ConfigurationError, match="weight_bits must be 4 or 8, got 2"):
        export_predictor(predictor_folder, dataset.prompts, weight_bits=2)


@pytest.mark.parametrize(("difference", "same", "holds"), [(1e-4, 0.98, True), (2e-4, 1.0, False), (0.0, 0.979, False)])
def test_the_gates_are_a_score_difference_and_a_share_of_decisions(difference, same, holds):
    assert Parity(100, difference, same).holds is holds


def test_graphs_that_disagree_are_not_kept(predictor_folder, dataset, tmp_path, monkeypatch):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    shutil.rmtree(folder / "onnx")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(export, "_compare", lambda *args: Parity(10, 0.5, 0.5))
    with pytest.raises(CheckpointError, match=r"5\.0e-01 of torch"):
        export_predictor(folder, dataset.prompts)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_without_torch_weights_cannot_be_exported(predictor_folder, dataset, tmp_path):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        export_predictor(folder, dataset.prompts)


def test_a_causal_network_exports_its_packed_pass(tmp_path, dataset, causal_backbone_folder):
    from conftest import toy_recipe

    from lookahead_router.training import fit

    base = toy_recipe()
    network = base.network.model_copy(update={"variant": "clm", "mid_tokens": "<MID_{index}>"})
    recipe = base.model_copy(update={"network": network})
    fit(dataset, recipe, tmp_path / "run", backbone=causal_backbone_folder, show_progress=False)
    parity = export_predictor(tmp_path / "run" / "predictor", dataset.prompts)
    assert parity.holds
