import json
import shutil

import numpy as np
import pytest
import torch

from lookahead_router.backends.export import export_onnx
from lookahead_router.backends.onnx import OnnxBackend
from lookahead_router.errors import CheckpointError
from lookahead_router.predictors.lookahead import LookaheadPredictor


@pytest.fixture
def copy(predictor_folder, tmp_path):
    """A saved predictor to damage, without recorded hashes so that the backend sees the damage."""
    folder = shutil.copytree(predictor_folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "files": {}}))
    return folder


def load(folder, backend):
    return LookaheadPredictor.load(folder, backend=backend)


def test_onnx_and_torch_agree_on_every_prompt(predictor_folder, dataset):
    expected = load(predictor_folder, "torch").predict(dataset.prompts).scores
    found = load(predictor_folder, "onnx").predict(dataset.prompts).scores
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_a_graph_of_every_kind_scores_as_torch_does(any_network, tmp_path):
    any_network.configuration = any_network.configuration.model_copy(update={"score_scale": 2.5})
    export_onnx(any_network, tmp_path / "model.onnx")
    backend = OnnxBackend(tmp_path / "model.onnx")
    generator = torch.Generator().manual_seed(0)
    for n_prompts, n_tokens in ((1, 3), (4, 9)):
        ids = torch.randint(5, 30, (n_prompts, n_tokens), generator=generator)
        mask = torch.ones_like(ids)
        mask[-1, :2] = 0
        with torch.inference_mode():
            expected = any_network(ids, mask).score_logits.numpy()
        np.testing.assert_allclose(backend.score_logits(ids.numpy(), mask.numpy()), expected, rtol=0, atol=1e-5)


def test_int8_decides_as_torch_does(predictor_folder, dataset):
    expected = load(predictor_folder, "torch").predict(dataset.prompts).scores.argmax(axis=1)
    found = load(predictor_folder, "onnx-int8").predict(dataset.prompts).scores.argmax(axis=1)
    assert (found == expected).mean() >= 0.98


def test_the_graph_takes_any_batch_size_and_length(predictor_folder):
    backend = OnnxBackend(predictor_folder / "onnx" / "model.onnx")
    for n_prompts, n_tokens in ((1, 3), (5, 7), (33, 26)):
        ids = np.full((n_prompts, n_tokens), 14, dtype=np.int64)
        assert backend.score_logits(ids, np.ones_like(ids)).shape == (n_prompts, 3)


def test_int8_scores_do_not_depend_on_the_prompts_beside(predictor_folder):
    backend = OnnxBackend(predictor_folder / "onnx" / "model_int8.onnx")
    alone = np.array([[2, 20, 21, 3]])
    beside = np.array([[2, 20, 21, 3], [2, 14, 15, 3]])
    np.testing.assert_allclose(
        backend.score_logits(beside, np.ones_like(beside))[:1],
        backend.score_logits(alone, np.ones_like(alone)),
        rtol=0,
        atol=1e-5,
    )


def test_int8_weights_are_int8(predictor_folder):
    import onnx

    graph = onnx.load(predictor_folder / "onnx" / "model_int8.onnx").graph
    products = [node for node in graph.node if node.op_type == "MatMulNBits"]
    assert len(products) == 12  # six linear layers in each of two layers


@pytest.mark.parametrize(("weight_bits", "steps", "size"), [(8, 127, 0.3), (4, 7, 0.17)])
def test_large_embedding_tables_are_quantised(tmp_path, weight_bits, steps, size):
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    from lookahead_router.backends.quantize import quantize_onnx

    table = np.random.default_rng(0).normal(size=(10_000, 128)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0, name="lookup")],
        "lookup",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [2, 3])],
        [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, [2, 3, 128])],
        [numpy_helper.from_array(table, "table")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "fp32.onnx")
    quantize_onnx(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", weight_bits)
    ids = np.array([[0, 1, 2], [9999, 5, 5]])
    found = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx")).run(None, {"ids": ids})[0]
    np.testing.assert_allclose(found, table[ids], rtol=0, atol=np.abs(table).max() / steps)
    assert (tmp_path / "int8.onnx").stat().st_size < size * table.nbytes


@pytest.mark.parametrize("weight_bits", [8, 4])
def test_tables_that_are_no_rows_of_floats_stay_as_they_are(tmp_path, weight_bits):
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    from lookahead_router.backends.quantize import quantize_onnx

    rng = np.random.default_rng(0)
    positions, columns = rng.integers(0, 9, (512, 512)), rng.normal(size=(512, 512)).astype(np.float32)
    shared, weight = (rng.normal(size=(512, 512)).astype(np.float32) for _ in range(2))
    nodes = [  # without names, as some exporters leave them
        onnx.helper.make_node("Gather", ["positions", "ids"], ["a"], axis=0),
        onnx.helper.make_node("Gather", ["columns", "ids"], ["b"], axis=1),
        onnx.helper.make_node("Gather", ["shared", "ids"], ["c"], axis=0),
        onnx.helper.make_node("MatMul", ["c", "shared"], ["d"]),
        onnx.helper.make_node("MatMul", ["c", "weight"], ["e"]),
    ]
    types = {"a": ("INT64", [3, 512]), "b": ("FLOAT", [512, 3]), "c": ("FLOAT", [3, 512]), "e": ("FLOAT", [3, 512])}
    tables = {"positions": positions, "columns": columns, "shared": shared, "weight": weight}
    graph = onnx.helper.make_graph(
        nodes,
        "lookups",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [3])],
        [onnx.helper.make_tensor_value_info(n, getattr(onnx.TensorProto, t), shape) for n, (t, shape) in types.items()],
        [numpy_helper.from_array(array, name) for name, array in tables.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "fp32.onnx")
    quantize_onnx(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", weight_bits)
    ids = np.array([1, 7, 500])
    a, b, c, _ = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx")).run(None, {"ids": ids})
    np.testing.assert_array_equal(a, positions[ids])
    np.testing.assert_array_equal(b, columns[:, ids])
    np.testing.assert_array_equal(c, shared[ids])
    assert "MatMulNBits" in {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}


def test_exported_graphs_carry_no_path_of_the_machine(predictor_folder):
    for path in (predictor_folder / "onnx").iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content
        assert b"/home/" not in content


@pytest.mark.parametrize("backend", ["onnx", "onnx-int8", "torch"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_damaged_weights_are_a_checkpoint_error(copy, backend, damage):
    files = {"onnx": "onnx/model.onnx", "onnx-int8": "onnx/model_int8.onnx", "torch": "model.safetensors"}
    path = copy / files[backend]
    content = path.read_bytes()
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "empty": b"", "foreign": b"\x80\x04pickle?" * 99}[damage]
    )
    with pytest.raises(CheckpointError, match=path.name):
        load(copy, backend)


def test_a_missing_or_unexpected_tensor_is_an_error(copy):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    bias = tensors.pop("score_head.out.bias")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"score_head\.out\.bias"):
        load(copy, "torch")
    save_file({**tensors, "score_head.out.bias": bias, "extra": torch.zeros(1)}, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match="extra"):
        load(copy, "torch")


def test_a_graph_that_is_not_a_routing_graph_is_refused(copy):
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "identity", [value], [result])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, copy / "onnx" / "model.onnx")
    with pytest.raises(CheckpointError, match="other inputs"):
        load(copy, "onnx")
