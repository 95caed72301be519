"""Dynamic int8 quantisation of a routing graph."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookahead_router._files import replacing_file
from lookahead_router._optional import require

BLOCK_SIZE = 32
"""Inputs that share a scale, in weights and activations alike."""


def quantize_onnx(source: Path, target: Path) -> None:
    """Writes the graph with int8 weights; activations are quantised as they come, in blocks of a row.

    One scale for all activations of a pass, the usual dynamic quantisation, changed one decision in
    ten, and made a prompt's scores depend on the prompts beside it. Blocks cost some of its speed.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", "train")
    quantization = require("onnxruntime.quantization", "train")
    nbits = require("onnxruntime.quantization.matmul_nbits_quantizer", "train")
    graph = onnx.load(source)
    # The quantisers reshape weights and then trip over their recorded shapes.
    del graph.graph.value_info[:]
    settings = nbits.DefaultWeightOnlyQuantConfig(
        block_size=BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=4,  # multiply in int8, so activations are quantised too
        bits=8,
        op_types_to_quantize=("MatMul",),
    )
    with _quiet(), replacing_file(target) as temporary:
        products = nbits.MatMulNBitsQuantizer(graph, algo_config=settings, op_types_to_quantize=("MatMul",))
        products.process()
        quantization.quantize_dynamic(
            products.model.model,
            temporary,
            op_types_to_quantize=["Gather"],
            weight_type=quantization.QuantType.QInt8,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantisers from describing every node in the application's log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
