"""Dynamic int8 quantisation of a routing graph, its weights kept in 8 or 4 bits."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lookahead_router.backends.fuse import fuse_onnx
from lookahead_router.backends.runtime import onnxruntime
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.files import replacing_file

BLOCK_SIZE = 32
"""Inputs that share a scale, in weights and activations alike."""
LARGE_TABLE = 100_000
"""Embedding tables from this many numbers on are quantised; smaller ones are not worth it."""


def quantize_onnx(source: Path, target: Path, weight_bits: int = 8) -> None:
    """Writes the graph with int8 products; activations are quantised as they come, in blocks of a row.

    One scale for all activations of a pass, the usual dynamic quantisation, changed one decision in
    ten, and made a prompt's scores depend on the prompts beside it. Blocks cost some of its speed.

    Args:
        source: an fp32 graph.
        target: path of the quantised one.
        weight_bits: 8, or 4 for a file of little more than half the size whose scores differ more.

    Raises:
        ConfigurationError: other bits.
        MissingDependencyError: onnx is not installed.
    """
    if weight_bits not in (4, 8):
        raise ConfigurationError(f"weight_bits must be 4 or 8, got {weight_bits!r}")
    onnx = require("onnx", "train")
    onnxruntime()  # before any other import of it
    nbits = require("onnxruntime.quantization.matmul_nbits_quantizer", "train")
    model = onnx.load(source)
    # The quantiser reshapes weights and would trip over their recorded shapes.
    del model.graph.value_info[:]
    for index, node in enumerate(model.graph.node):  # it tells nodes apart by their names
        node.name = node.name or f"node_{index}"
    tables = _large_tables(model.graph)
    other_lookups = [n.name for n in model.graph.node if n.op_type == "Gather" and n.input[0] not in tables]
    operators = ("MatMul", "Gather")
    if weight_bits == 8:  # the quantiser has look-ups in 4 bits only
        _quantize_embeddings(model.graph, tables)
        operators = ("MatMul",)
    settings = nbits.DefaultWeightOnlyQuantConfig(
        block_size=BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=4,  # multiply in int8, so activations are quantised too
        bits=weight_bits,
        op_types_to_quantize=operators,
    )
    with _quiet(), replacing_file(target) as temporary:
        quantizer = nbits.MatMulNBitsQuantizer(
            model, algo_config=settings, op_types_to_quantize=operators, nodes_to_exclude=other_lookups
        )
        quantizer.process()
        onnx.save(quantizer.model.model, temporary)


def quantize_rowwise(source: Path, target: Path) -> None:
    """Writes the graph with dynamic int8 products, one scale per output channel of the weights.

    The fastest products there are, at half the time of `quantize_onnx`. Their activations share a scale over the whole
    batch, so a backend has to give such a graph one prompt at a time. Weights keep to seven bits: with eight, sums
    saturate on processors without VNNI, and the same file would say something else there. Products of plain vectors,
    as heads have them (Gemm, which the quantiser splits), stay as they are.

    Args:
        source: an fp32 graph.
        target: path of the quantised one.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", "train")
    quantization = require("onnxruntime.quantization", "train")
    model = onnx.load(source)
    del model.graph.value_info[:]
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{index}"
    _quantize_embeddings(model.graph, _large_tables(model.graph))
    with _quiet(), replacing_file(target) as temporary:
        onnx.save(model, temporary)
        quantization.quantize_dynamic(
            temporary,
            temporary,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=[f"{node.name}_MatMul" for node in model.graph.node if node.op_type == "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        fuse_onnx(temporary)


def _large_tables(graph) -> dict:
    """Matrices of floats by name whose rows are looked up, and nothing else, and that are worth quantising."""
    looked_up, used_otherwise = set(), set()
    for node in graph.node:
        by_row = node.op_type == "Gather" and not any(a.name == "axis" and a.i != 0 for a in node.attribute)
        looked_up.update(node.input[:1] if by_row else ())
        used_otherwise.update(node.input[1:] if by_row else node.input)
    return {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.name in looked_up - used_otherwise
        and tensor.data_type == tensor.FLOAT
        and len(tensor.dims) == 2
        and np.prod(tensor.dims) >= LARGE_TABLE
    }


def _quantize_embeddings(graph, tables: dict) -> None:
    """Replaces look-ups in the tables by look-ups in int8 rows, each with a scale of its own."""
    from onnx import TensorProto, helper, numpy_helper

    for name, table in tables.items():
        weights = numpy_helper.to_array(table)
        scales = np.abs(weights).max(axis=1, keepdims=True).clip(min=1e-12) / 127
        graph.initializer.remove(table)
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(weights / scales).astype(np.int8), f"{name}.int8"),
                numpy_helper.from_array(scales.astype(np.float32), f"{name}.scale"),
            ]
        )
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
            nodes.append(node)
            continue
        int8, scale = f"{node.input[0]}.int8", f"{node.input[0]}.scale"
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
    """Keeps the quantiser from describing every node in the log, and from warning of rows of zeros."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with np.errstate(invalid="ignore"):
            yield
    finally:
        logging.disable(before)
