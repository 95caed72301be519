"""The graph of a saved predictor, exported anew from the weights that it came from.

    python research/any_pool/regraph.py NETWORK PREDICTOR

For a change of the export, which moves no number by more than rounding: population and profiles stay. NETWORK holds
`network.json` and `model.safetensors`, as `lookahead-router train` writes them; PREDICTOR is the folder that `build.py`
made of it, such as the embedded one.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from static import put_into

from lookahead_router.backends.export import export_demands
from lookahead_router.backends.onnx import OnnxDemandBackend
from lookahead_router.backends.quantize import quantize_rowwise
from lookahead_router.networks.build import build_network
from lookahead_router.networks.demand_configuration import parse_network_config
from lookahead_router.saved.folder import WEIGHTS, PredictorFolder

MOST = 1e-5
"""How far an output may move, as a share of its spread."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("predictor", type=Path)
    options = parser.parse_args()
    folder = PredictorFolder(options.predictor)
    network = build_network(parse_network_config(json.loads((options.network / "network.json").read_bytes())))
    network.load_state_dict(load_file(options.network / "model.safetensors"))
    with tempfile.TemporaryDirectory() as name:
        graph = Path(name) / "model_int8.onnx"
        export_demands(network.eval(), graph)
        quantize_rowwise(graph, graph)
        moved = differences(folder.path / WEIGHTS["onnx-int8"], graph, network.configuration.backbone_config)
        print(f"outputs move by {moved:.1g} of their spread at most")
        if moved > MOST:
            raise SystemExit("these are other weights, or another network: build the predictor anew")
        put_into(folder, graph, "onnx-int8")


def differences(before: Path, after: Path, backbone: dict, n: int = 200) -> float:
    """How far outputs of two graphs lie apart on rows of random tokens, at most, as a share of their spread."""
    generator = np.random.default_rng(0)
    rows = [generator.integers(0, backbone["vocab_size"], (1, length)) for length in generator.integers(3, 190, n)]
    backends = [OnnxDemandBackend(graph, n_threads=1) for graph in (before, after)]
    one, other = (np.concatenate([each.foresee(row, np.ones_like(row)) for row in rows]) for each in backends)
    return float((np.abs(one - other).max(axis=0) / one.std(axis=0)).max())


if __name__ == "__main__":
    main()
