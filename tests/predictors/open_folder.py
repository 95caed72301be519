"""A saved predictor for any pool: a graph made by hand, with the population and the catalogue of `open_world`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from predictors.open_world import N_DEMANDS, WIDTH, make_catalogue, make_population, make_words

from lookahead_router import Candidate, CandidatePool
from lookahead_router.networks.demand_configuration import DemandConfig
from lookahead_router.predictors.catalogue import Catalogue
from lookahead_router.predictors.code_reading import CodeReading
from lookahead_router.predictors.open_pool import OUTPUTS, Member
from lookahead_router.predictors.open_pool_folder import write_profiles
from lookahead_router.saved.folder import PredictorConfig, PredictorFolder
from lookahead_router.training.population import with_code_ability

POOL = ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct", "claude-sonnet-4")
PRICES_AS_OF = "2026-01-15"
_BACKBONE = {
    "model_type": "bert",
    "vocab_size": 12,
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


def make_graph(n_demands: int = N_DEMANDS, width: int = WIDTH, *, flat: bool = True, seed: int = 0) -> onnx.ModelProto:
    """The mean of what every token says of demands, difficulty, length, verbosity and place.

    With `flat=False` the difficulty is a column, `(B, 1)`, as no network gives it.
    """
    sizes = dict(zip(OUTPUTS, (n_demands, 1, 1, 1, width), strict=True))
    table = np.random.default_rng(seed).normal(size=(12, sum(sizes.values()))).astype(np.float32)
    constants = {
        "table": table,
        "last": np.array([-1], dtype=np.int64),
        "middle": np.array([1], dtype=np.int64),
        "sizes": np.array(list(sizes.values()), dtype=np.int64),
        "usual": np.array(5.0, dtype=np.float32),
    }
    parts = [f"part.{name}" for name in OUTPUTS]
    nodes = [
        helper.make_node("Gather", ["table", "prompt_ids"], ["said"]),
        helper.make_node("Cast", ["prompt_mask"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["weights"]),
        helper.make_node("Mul", ["said", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "middle"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "middle"], ["counts"], keepdims=0),
        helper.make_node("Div", ["sums", "counts"], ["means"]),
        helper.make_node("Split", ["means", "sizes"], parts, axis=1),
        helper.make_node("Identity", ["part.demands"], ["demands"]),
        helper.make_node("Squeeze" if flat else "Identity", ["part.difficulty", "last"][: 1 + flat], ["difficulty"]),
        helper.make_node("Squeeze", ["part.log_tokens", "last"], ["around"]),
        helper.make_node("Add", ["around", "usual"], ["log_tokens"]),
        helper.make_node("Squeeze", ["part.verbosity", "last"], ["verbosity"]),
        helper.make_node("LpNormalization", ["part.embedding"], ["embedding"], axis=1, p=2),
    ]
    shapes = {name: ["n", size] if name in ("demands", "embedding") else ["n"] for name, size in sizes.items()}
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "m"]) for n in ("prompt_ids", "prompt_mask")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name] if flat else None) for name in shapes],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def write_open_folder(
    path: Path,
    graph: onnx.ModelProto | None = None,
    static: onnx.ModelProto | None = None,
    windows: Mapping[str, int] | None = None,
    code: CodeReading | None = None,
    n_ordinary: int = 0,
) -> Path:
    """Writes the folder; its name is the predictor's, `windows` are tokens by entry, `code` is one more demand."""
    folder = PredictorFolder(path)
    folder.onnx_int8.parent.mkdir(parents=True)
    onnx.save(make_graph() if graph is None else graph, folder.onnx_int8)
    if static is not None:
        onnx.save(static, folder.static)
    make_words().save(str(folder.tokenizer))
    population = make_population()
    made = make_catalogue(population)
    profiles = made.profiles
    if code is not None:
        population, profiles = with_code_ability(population, profiles, np.arange(len(made)) == 0)
    if n_ordinary:
        ordinary = np.random.default_rng(0).normal(size=(n_ordinary, population.n_abilities + 3))
        population = replace(population, ordinary=np.abs(ordinary))
    entries = [replace(each, context_window_tokens=(windows or {}).get(each.name)) for each in made.entries]
    catalogue = Catalogue(entries, profiles, prices_as_of=PRICES_AS_OF)
    members = []
    for name in POOL:
        match = catalogue.match(name)
        prices = {k: v for k, v in vars(match.entry).items() if k.endswith("usd_per_million_tokens")}
        members.append(Member(Candidate(name=name, **prices), catalogue.profile(match.entry), match))
    write_profiles(path, population, catalogue, members, PRICES_AS_OF, code)
    network = DemandConfig(
        backbone_config=_BACKBONE,
        n_demands=N_DEMANDS,
        n_references=0,
        n_slots=0,
        head_size=16,
        max_prompt_tokens=16,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
    )
    config = PredictorConfig(
        format_version=1,
        predictor="open-pool",
        name=path.name,
        library_version="0",
        network=network.to_dict(),
    )
    folder.write(config, CandidatePool(member.candidate for member in members))
    folder.card.write_text("---\nlicense: apache-2.0\n---\n# toy\n", encoding="utf-8")
    return path
