import shutil

import onnx
import pytest

from lookahead_router.errors import CheckpointError, ConfigurationError, LookaheadRouterWarning
from lookahead_router.predictors import export
from lookahead_router.predictors.export import Parity, export_predictor
from lookahead_router.predictors.lookahead import LookaheadPredictor
from lookahead_router.predictors.plain_prompts import PLAIN_PROMPTS


def test_export_reports_both_figures(predictor_folder, dataset, tmp_path):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    parity = export_predictor(folder, dataset.prompts)
    assert parity.fp32_holds
    assert parity.int8_holds
    assert "fp32 scores within" in str(parity)
    assert f"of {len(dataset)} prompts" in str(parity)
    assert f"of {len(PLAIN_PROMPTS)} plain ones" in str(parity)
    assert f"of {len(dataset)} prompts and on {parity.same_plain_decisions:.2%}" in (folder / "README.md").read_text()


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


@pytest.mark.parametrize(
    ("parity", "fp32", "int8"),
    [
        (Parity(100, 1e-4, 0.98, 0.95), True, True),
        (Parity(100, 2e-4, 1.0, 1.0), False, True),
        (Parity(100, 0.0, 0.979, 1.0), True, False),
        (Parity(100, 0.0, 1.0, 0.949), True, False),
    ],
)
def test_the_gates_are_a_score_difference_and_shares_of_decisions_on_given_and_on_plain_prompts(parity, fp32, int8):
    assert (parity.fp32_holds, parity.int8_holds) == (fp32, int8)


def test_plain_prompts_are_many_and_all_different():
    assert len(set(PLAIN_PROMPTS)) == len(PLAIN_PROMPTS) >= 60


def test_where_int8_decides_otherwise_fp32_is_kept_and_routes(predictor_folder, dataset, tmp_path, monkeypatch):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    monkeypatch.setattr(export, "MIN_SAME_PLAIN_DECISIONS", 1.01)
    with pytest.warns(LookaheadRouterWarning, match=r"left out.*The fp32 graph is kept and routes\. Try weight"):
        parity = export_predictor(folder, dataset.prompts, weight_bits=4)
    assert not parity.int8_holds
    assert [path.name for path in (folder / "onnx").iterdir()] == ["model.onnx"]
    predictor = LookaheadPredictor.load(folder)
    assert predictor.backend.name == "onnx"
    assert len(predictor.predict(dataset.prompts[:3]).scores) == 3
    assert "too few, and was left out" in (folder / "README.md").read_text()


def test_graphs_that_disagree_are_not_kept(predictor_folder, dataset, tmp_path, monkeypatch):
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    shutil.rmtree(folder / "onnx")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(export, "_compare", lambda *args: Parity(10, 0.5, 0.5, 0.5))
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
    assert parity.fp32_holds
