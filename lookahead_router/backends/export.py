"""From a torch network to the routing graph of the ONNX backend."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from lookahead_router.backends.onnx import DEMAND_OUTPUTS, FORESEEN
from lookahead_router.errors import CheckpointError
from lookahead_router.extras import require
from lookahead_router.files import replacing_file
from lookahead_router.networks.base import LookaheadNetwork
from lookahead_router.networks.demands import DemandNetwork

_WINDOWS = ("sliding_window", "local_attention", "attention_window", "layer_types")
"""What a backbone's configuration calls the windows of layers that do not look everywhere."""


def export_onnx(network: LookaheadNetwork, path: Path) -> None:
    """Writes the graph `prompt_ids, prompt_mask -> score_logits`, for any batch size and length.

    The blocks are part of the graph, so a backend sees prompt tokens only.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    _export_network(network, _RoutingGraph(network), ["score_logits"], path)


def export_demands(network: DemandNetwork, path: Path) -> None:
    """Writes the graph of a demand network: `prompt_ids, prompt_mask` in, `DEMAND_OUTPUTS` and `FORESEEN` out.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    config = network.backbone.config
    network.is_mask_whole = not any(getattr(config, name, None) for name in _WINDOWS)
    try:
        _export_network(network, _DemandGraph(network), [*DEMAND_OUTPUTS, FORESEEN], path)
    finally:
        network.is_mask_whole = False


def _export_network(
    network: LookaheadNetwork | DemandNetwork, graph: nn.Module, outputs: Sequence[str], path: Path
) -> None:
    # Plain attention exports to fewer nodes than the fused kernel's decomposition, and runs faster.
    network.backbone.set_attn_implementation("eager")
    ids = torch.full((2, 12), network.configuration.pad_token_id)
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    _export(graph, {"prompt_ids": ids, "prompt_mask": mask}, outputs, path)


def export_encoder(folder: Path, path: Path) -> None:
    """Writes the graph `input_ids, attention_mask -> last_hidden_state` of a sentence encoder, padded on the right.

    Args:
        folder: a BERT-like encoder of transformers.
        path: the graph, written whole or not at all.

    Raises:
        CheckpointError: the encoder cannot be loaded, or its weights are incomplete.
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel

    options = {"attn_implementation": "eager", "dtype": torch.float32, "trust_remote_code": False}
    try:
        with _quiet():  # says what is missing, and so does the error below
            encoder, found = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"cannot load the encoder: {error}", location=str(folder)) from error
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:  # transformers would go on with random ones
        raise CheckpointError(f"model.safetensors lacks {missing[0]} and {len(missing) - 1} more", location=str(folder))
    mask = torch.ones((2, 12), dtype=torch.long)
    mask[0, 5:] = 0
    inputs = {"input_ids": mask.clone(), "attention_mask": mask}
    _export(_EncoderGraph(encoder), inputs, ["last_hidden_state"], path)


def _export(module: nn.Module, inputs: dict[str, torch.Tensor], outputs: Sequence[str], path: Path) -> None:
    onnx = require("onnx", "train")
    require("onnxscript", "train")
    axes = {0: torch.export.Dim("n_prompts"), 1: torch.export.Dim("n_tokens")}
    with _quiet():
        program = torch.onnx.export(
            module.float().eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=[f"out.{name}" for name in outputs],  # bare words may be taken inside
            dynamic_shapes=[axes] * len(inputs),
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    graph = program.model_proto
    _name_outputs(graph.graph, outputs)
    _strip_traces(graph)
    with replacing_file(path) as temporary:
        onnx.save(graph, temporary)


def _name_outputs(graph, outputs: Sequence[str]) -> None:
    """Gives the outputs their names, and inner values that bear them others."""
    renamed = {name: f"inner.{name}" for name in outputs} | {f"out.{name}": name for name in outputs}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    for value in (*graph.output, *graph.value_info, *graph.initializer):
        value.name = renamed.get(value.name, value.name)


def _strip_traces(model) -> None:
    """Drops the exporter's notes: stack traces with paths of this machine, and half the file's lines."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]


class _RoutingGraph(nn.Module):
    """The network without what only training needs."""

    def __init__(self, network: LookaheadNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> torch.Tensor:
        return self.network(prompt_ids, prompt_mask).score_logits


class _DemandGraph(nn.Module):
    """The network without the slots' states."""

    def __init__(self, network: DemandNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, prompt_ids: torch.Tensor, prompt_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states = self.network.states(prompt_ids, prompt_mask)
        output = self.network.read(*states)
        row = torch.cat([self.network.head(*states), output.embedding], dim=1)  # the head is there once in the graph
        return *(getattr(output, name) for name in DEMAND_OUTPUTS), row


class _EncoderGraph(nn.Module):
    """The states of an encoder alone."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter's deprecation warnings and its notes on every node, which are not the user's."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
