"""Dynamic int8 quantisation of a routing graph."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lookahead_router._files import replacing_file
from lookahead_router._optional import require

BLOCK_SIZE = 32
"""Inputs that share a scale, in weights and activations alike."""
LARGE_TABLE = 1_000_000
"""Embedding tables from this many numbers on are quantised; small ones are cheap and touch every token."""


def quantize_onnx(source: Path, target: Path) -> None:
    """Writes the graph with int8 weights; activations are quantised as they come, in blocks of a row.

    One scale for all activations of a pass, the usual dynamic quantisation, changed one decision in
    ten, and made a prompt's scores depend on the prompts beside it. Blocks cost some of its speed.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", "train")
    nbits = require("onnxruntime.quantization.matmul_nbits_quantizer", "train")
    model = onnx.load(source)
    # The quantiser reshapes weights and would trip over their recorded shapes.
    del model.graph.value_info[:]
    _quantize_embeddings(model.graph)
    settings = nbits.DefaultWeightOnlyQuantConfig(
        block_size=BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=4,  # multiply in int8, so activations are quantised too
        bits=8,
        op_types_to_quantize=("MatMul",),
    )
    with _quiet(), replacing_file(target) as temporary:
        quantizer = nbits.MatMulNBitsQuantizer(model, algo_config=settings, op_types_to_quantize=("MatMul",))
        quantizer.process()
        onnx.save(quantizer.model.model, temporary)


def _quantize_embeddings(graph) -> None:
    """Replaces look-ups in large tables by look-ups in int8 rows, each with a scale of its own."""
    from onnx import TensorProto, helper, numpy_helper

    tables = {tensor.name: tensor for tensor in graph.initializer if np.prod(tensor.dims) >= LARGE_TABLE}
    nodes = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2:
            nodes.append(node)
            continue
        weights = numpy_helper.to_array(table)
        scales = np.abs(weights).max(axis=1, keepdims=True).clip(min=1e-12) / 127
        int8, scale = f"{table.name}.int8", f"{table.name}.scale"
        graph.initializer.remove(table)
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(weights / scales).astype(np.int8), int8),
                numpy_helper.from_array(scales.astype(np.float32), scale),
            ]
        )
        rows, row_scales, floats = (f"{node.output[0]}.{part}" for part in ("rows", "scales", "floats"))
        nodes += [
            helper.make_node("Gather", [int8, node.input[1]], [rows], axis=0),
            helper.make_node("Gather", [scale, node.input[1]], [row_scales], axis=0),
            helper.make_node("Cast", [rows], [floats], to=TensorProto.FLOAT),
            helper.make_node("Mul", [floats, row_scales], [node.output[0]]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantiser from describing every node in the application's log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
