"""Graphs fused when they are exported."""

from collections import Counter

import numpy as np
import pytest

from lookahead_router.backends import quantize
from lookahead_router.backends.fuse import fuse_onnx
from lookahead_router.backends.onnx import DEMAND_OUTPUTS
from lookahead_router.backends.runtime import Session

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """A tiny network's int8 graph as the quantiser leaves it, and fused."""
    from networks.test_demands import make_network

    from lookahead_router.backends.export import export_demands

    folder = tmp_path_factory.mktemp("graphs")
    export_demands(make_network(), folder / "fp32.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "fuse_onnx", lambda path: None)
        quantize.quantize_rowwise(folder / "fp32.onnx", folder / "plain.onnx")
    quantize.quantize_rowwise(folder / "fp32.onnx", folder / "fused.onnx")
    return folder


def operators(path) -> Counter:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def outputs(path, ids: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    return Session(path, n_threads=1).run(DEMAND_OUTPUTS, {"prompt_ids": ids, "prompt_mask": mask})


def test_a_layer_has_one_product_for_its_heads_and_one_operator_for_its_attention(graphs):
    before, after = operators(graphs / "plain.onnx"), operators(graphs / "fused.onnx")
    assert before["MatMulInteger"] == 2 * 6
    assert (after["MultiHeadAttention"], after["MatMulIntegerToFloat"], after["DynamicQuantizeMatMul"]) == (2, 2, 2 * 3)
    assert after["Softmax"] == after["SkipLayerNormalization"] == 0
    assert after.total() < 0.6 * before.total()


def test_it_says_the_same(graphs):
    ids = np.array([[2, 20, 21, 14, 15, 3]])
    for one, other in zip(
        *(outputs(graphs / name, ids, ids // ids) for name in ("plain.onnx", "fused.onnx")), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=0.02)  # where the last bit of a float rounds an integer otherwise


def test_padding_is_still_not_attended_to(graphs):
    ids, mask = np.array([[0, 0, 2, 20, 21, 3], [2, 14, 15, 16, 17, 3]]), np.ones((2, 6), dtype=np.int64)
    mask[0, :2] = 0
    others = ids.copy()
    others[0, :2] = 19
    for one, other in zip(*(outputs(graphs / "fused.onnx", each, mask) for each in (ids, others)), strict=True):
        np.testing.assert_allclose(one[0], other[0], atol=0.05)
    unmasked = outputs(graphs / "fused.onnx", others, np.ones_like(mask))
    assert abs(unmasked[0][0] - outputs(graphs / "fused.onnx", ids, mask)[0][0]).max() > 0.05


def test_what_is_no_attention_of_an_encoder_stays_as_it_is(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 4])],
        [helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["B", 4])],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "g.onnx")
    fuse_onnx(tmp_path / "g.onnx")
    assert operators(tmp_path / "g.onnx") == Counter(["MatMul", "Softmax"])
    x = np.arange(4, dtype=np.float32)[None]
    (found,) = Session(tmp_path / "g.onnx", n_threads=1).run(["shares"], {"x": x})
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(), rtol=1e-5)
