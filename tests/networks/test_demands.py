import numpy as np
import onnx
import pytest
import torch
from conftest import bert_config, modernbert_config

from lookahead_router.backends.base import side_by_side
from lookahead_router.backends.export import export_demands
from lookahead_router.backends.onnx import DEMAND_OUTPUTS, FORESEEN, OnnxDemandBackend
from lookahead_router.backends.quantize import quantize_rowwise
from lookahead_router.backends.runtime import Session
from lookahead_router.backends.torch import TorchDemandBackend
from lookahead_router.errors import ConfigurationError
from lookahead_router.networks.build import build_network
from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.predictors.tokenization import left_pad


def demand_config(**changes) -> DemandConfig:
    settings = {
        "backbone_config": bert_config().to_dict(),
        "n_demands": 3,
        "n_references": 2,
        "n_slots": 2,
        "head_size": 16,
        "max_prompt_tokens": 24,
        "pad_token_id": 0,
        "cls_token_id": 2,
        "sep_token_id": 3,
    }
    return DemandConfig(**{**settings, **changes})


def make_network(**changes):
    torch.manual_seed(0)
    network = build_network(demand_config(**changes)).eval()
    with torch.no_grad():
        for part in network.head.others:  # they start at zero
            part.weight.normal_(std=0.1)
    return network


def foresee(backend, rows) -> dict[str, np.ndarray]:
    found, R = backend.foresee(*left_pad(rows, 0)), backend.n_demands
    parts = found[:, :R], *found[:, R : R + 3].T, found[:, R + 3 :]
    return dict(zip(DEMAND_OUTPUTS, parts, strict=True))


ROWS = [np.array([2, 13, 14, 3]), np.array([2, 15, 16, 17, 18, 19, 20, 3]), np.array([2, 3])]


@pytest.mark.parametrize("references", [0, 2])
def test_a_row_does_not_depend_on_the_padding_beside_it(references):
    backend = TorchDemandBackend(make_network(n_references=references, n_slots=min(2, references)))
    together = foresee(backend, ROWS)
    for row, ids in enumerate(ROWS):
        alone = foresee(backend, [ids])
        for name, values in together.items():
            np.testing.assert_allclose(values[row], alone[name][0], atol=1e-5)


def test_every_part_of_the_states_reaches_the_demands():
    network = make_network()
    ends, latents = torch.randn(1, 2, 32, requires_grad=True), torch.randn(1, 2, 2, 32, requires_grad=True)
    network.head(ends, latents).sum().backward()
    for part in (ends, latents):
        assert (part.grad.abs() > 0).all()


def test_the_head_starts_from_the_pooled_prompt_alone():
    network = build_network(demand_config()).eval()
    ends, latents = torch.randn(2, 2, 32), torch.randn(2, 2, 2, 32)
    other = torch.stack([ends[:, 0], -ends[:, 1]], dim=1)
    assert torch.equal(network.head(ends, latents), network.head(other, 2 * latents))


def test_the_embedding_is_a_unit_vector():
    values = foresee(TorchDemandBackend(make_network()), ROWS)
    np.testing.assert_allclose(np.linalg.norm(values["embedding"], axis=1), 1, atol=1e-5)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    export_demands(make_network(), folder / "model.onnx")
    quantize_rowwise(folder / "model.onnx", folder / "model_int8.onnx")
    return folder


def test_the_graph_says_what_torch_says(graphs):
    ours = foresee(TorchDemandBackend(make_network()), ROWS)
    theirs = foresee(OnnxDemandBackend(graphs / "model.onnx"), ROWS)
    for name, values in ours.items():
        assert values.shape == theirs[name].shape
        np.testing.assert_allclose(values, theirs[name], atol=1e-4)


def test_layers_that_look_through_windows_keep_them_in_the_graph(tmp_path):
    network = make_network(backbone_config=modernbert_config().to_dict())
    export_demands(network, tmp_path / "model.onnx")
    rows = [*ROWS, np.arange(20) % 30]  # longer than a window
    ours, theirs = foresee(TorchDemandBackend(network), rows), foresee(OnnxDemandBackend(tmp_path / "model.onnx"), rows)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], atol=1e-4)


@pytest.mark.parametrize("file", ["model.onnx", "model_int8.onnx"])
def test_the_graph_gives_what_it_foresees_in_one_row_and_in_parts_for_who_knows_these_alone(graphs, file):
    session = Session(graphs / file, n_threads=1)
    assert set(session.outputs) == {*DEMAND_OUTPUTS, FORESEEN}
    for ids in ROWS:
        row, *parts = session.run(
            [FORESEEN, *DEMAND_OUTPUTS], dict(zip(session.inputs, left_pad([ids], 0), strict=True))
        )
        np.testing.assert_array_equal(row, side_by_side(parts, "the graph"))


def test_the_head_is_there_once_in_the_graph(graphs):
    names = [node.op_type for node in onnx.load(graphs / "model_int8.onnx").graph.node]
    assert names.count("Gemm") == 2


def test_the_int8_graph_is_near_and_takes_one_prompt_at_a_time(graphs):
    int8, in_torch = OnnxDemandBackend(graphs / "model_int8.onnx"), TorchDemandBackend(make_network())
    assert int8.max_batch_size == 1
    for ids in ROWS:
        ours, theirs = foresee(in_torch, [ids]), foresee(int8, [ids])
        assert (ours["embedding"] * theirs["embedding"]).sum() > 0.99
        np.testing.assert_allclose(ours["demands"], theirs["demands"], atol=0.3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"n_references": 0}, "both 0"),
        ({"max_prompt_tokens": 60}, "positions"),
        ({"n_demands": 0}, "n_demands"),
        ({"window": "middle"}, "window"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, match):
    with pytest.raises(ConfigurationError, match=match):
        demand_config(**changes)
