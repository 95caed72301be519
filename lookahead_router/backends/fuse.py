"""A quantised graph as it is run: what a start would fuse, and attention as one operator, written down once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lookahead_router.backends.runtime import SLOW_FUSIONS, onnxruntime
from lookahead_router.extras import require
from lookahead_router.files import replacing_file

_DOMAIN = "com.microsoft"
_SPLIT_HEADS, _SPLIT_HEADS_OF_KEYS = [0, 2, 1, 3], [0, 2, 3, 1]


def fuse_onnx(path: Path) -> None:
    """Replaces a graph of int8 products by one that says the same with fewer operators.

    Fusions that ONNX Runtime makes at every start are made here. Beyond them, query, key and value of a layer are one
    product, the same integers in the same order, and the products between them one `MultiHeadAttention`, whose floats
    are added in another order. What does not look like the attention of an encoder stays as it is.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    onnx = require("onnx", "train")
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # All fusions that hold on every processor.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with replacing_file(path) as temporary:
        options.optimized_model_filepath = str(temporary)
        providers = ["CPUExecutionProvider"]
        runtime.InferenceSession(str(path), options, providers=providers, disabled_optimizers=SLOW_FUSIONS)
        model = onnx.load(temporary)
        for index, attention in enumerate(list(_attentions(model.graph))):
            _fuse(model.graph, attention, f"attention_{index}")
        _drop_unused(model.graph)
        onnx.save(model, temporary)


class _Attention(NamedTuple):
    """The operators of one layer's attention."""

    products: list[Any]
    """Products of query, key and value: `MatMulIntegerToFloat` of one input, each with a bias."""
    mask: str
    """What is added to the scores."""
    scale: float
    n_heads: int
    last: Any
    """What joins the heads again."""


def _attentions(graph) -> Iterator[_Attention]:
    """Every `softmax(scale * query @ key + mask) @ value` of int8 projections, as an encoder exports."""
    made_by = {name: node for node in graph.node for name in node.output}
    used_by: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            used_by.setdefault(name, []).append(node)

    def projection(name: str, order: list[int]):
        transposed = _of(made_by.get(name), "Transpose", perm=order)
        reshaped = transposed and _of(made_by.get(transposed.input[0]), "Reshape")
        product = reshaped and _of(made_by.get(reshaped.input[0]), "MatMulIntegerToFloat")
        return product if product and len(product.input) == 7 and all(product.input) else None

    def only_user(name: str, operator: str, **attributes):
        users = used_by.get(name, [])
        return _of(users[0], operator, **attributes) if len(users) == 1 else None

    sizes = {tensor.name: tensor for tensor in graph.initializer}
    for softmax in graph.node:
        masked = softmax.op_type == "Softmax" and _of(made_by.get(softmax.input[0]), "Add")
        scores = masked and _of(made_by.get(masked.input[0]), "FusedMatMul", transA=0, transB=0)
        weighted = scores and only_user(softmax.output[0], "MatMul")
        joined = weighted and only_user(weighted.output[0], "Transpose", perm=_SPLIT_HEADS)
        last = joined and only_user(joined.output[0], "Reshape")
        if not last or weighted.input[0] != softmax.output[0]:
            continue
        query, key = projection(scores.input[0], _SPLIT_HEADS), projection(scores.input[1], _SPLIT_HEADS_OF_KEYS)
        products = [query, key, projection(weighted.input[1], _SPLIT_HEADS)]
        if not all(products) or len({(p.input[0], p.input[2], p.input[4]) for p in products}) > 1:
            continue
        head_size = _head_size(made_by[made_by[scores.input[0]].input[0]], made_by, sizes)
        widths = {sizes[product.input[1]].dims[1] for product in products}
        if head_size and len(widths) == 1 and (width := widths.pop()) % head_size == 0:
            scale = next(each.f for each in scores.attribute if each.name == "alpha")
            yield _Attention(products, masked.input[1], scale, width // head_size, last)


def _of(node, operator: str, **attributes):
    """The node, if it is such an operator with such attributes."""
    from onnx import helper

    if node is None or node.op_type != operator:
        return None
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return node if all(given.get(name) == value for name, value in attributes.items()) else None


def _head_size(reshape, made_by, sizes) -> int | None:
    """The last number of the shape that splits the heads, where it is known."""
    from onnx import numpy_helper

    shape = made_by.get(reshape.input[1])
    last = sizes.get(shape.input[-1] if shape is not None and shape.op_type == "Concat" else reshape.input[1])
    return None if last is None else int(numpy_helper.to_array(last)[-1])


def _fuse(graph, attention: _Attention, name: str) -> None:
    """Puts three operators in the place of an attention's; what fed the others is unused from then on."""
    from onnx import helper, numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    query = attention.products[0]
    joined = {}
    for place, part in ((1, "weights"), (3, "scales"), (5, "zero_points"), (6, "biases")):
        arrays = [numpy_helper.to_array(tensors[product.input[place]]) for product in attention.products]
        joined[part] = f"{name}.{part}"
        graph.initializer.append(numpy_helper.from_array(np.concatenate(arrays, axis=-1), joined[part]))
    parts = [f"{name}.{part}" for part in ("query", "key", "value")]
    inputs = [query.input[0], joined["weights"], query.input[2], joined["scales"], query.input[4]]
    nodes = [
        helper.make_node(
            "MatMulIntegerToFloat", [*inputs, joined["zero_points"], joined["biases"]], [f"{name}.all"], domain=_DOMAIN
        ),
        helper.make_node("Split", [f"{name}.all"], parts, axis=-1, num_outputs=3),
        helper.make_node(
            "MultiHeadAttention",
            [*parts, "", "", attention.mask],
            [attention.last.output[0]],
            domain=_DOMAIN,
            num_heads=attention.n_heads,
            scale=attention.scale,
        ),
    ]
    at = list(graph.node).index(attention.last)
    del graph.node[at]
    for node in reversed(nodes):
        graph.node.insert(at, node)


def _drop_unused(graph) -> None:
    """Leaves out operators and tensors that no output rests on."""
    needed, nodes = {output.name for output in graph.output}, []
    for node in reversed(graph.node):
        if needed & {*node.output}:
            needed |= {*node.input}
            nodes.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(tensors)
