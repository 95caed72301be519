"""Dynamic int8 quantisation of a routing graph."""

import logging
from pathlib import Path

from lookahead_router._files import replacing_file
from lookahead_router._optional import require


def quantize_onnx(source: Path, target: Path) -> None:
    """Writes the graph with int8 weights; activations are quantised as they come.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", "train")
    quantization = require("onnxruntime.quantization", "train")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantiser advises on the root logger
    try:
        graph = onnx.load(source)
        # The quantiser transposes weights of linear layers and then trips over their recorded shapes.
        del graph.graph.value_info[:]
        with replacing_file(target) as temporary:
            quantization.quantize_dynamic(
                graph,
                temporary,
                op_types_to_quantize=["MatMul", "Gather"],
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
            )
    finally:
        root.setLevel(level)
