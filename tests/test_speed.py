"""Ratios of processor times, which a loaded machine moves less than times: in turn, by medians, with room.

The aims are in docs/results/speed.md: a decision within 1.15 of a plain pass of the same encoder, a batch at 0.9 of its
throughput, 50 candidates within 1.05 of 5. Here a change for the worse shows from a fifth on,
since other work on the machine moves such ratios by a tenth.
"""

import json
import statistics
import time

import numpy as np
import pytest

from lookahead_router import OpenPoolPredictor, Router
from lookahead_router.backends.runtime import Session
from lookahead_router.saved.find import OPEN_EMBEDDED

ROUNDS = 30
PROMPT = "Design a distributed rate limiter for an API of a hundred nodes, and say how it fails. " * 5


@pytest.fixture(scope="module")
def names() -> list[str]:
    entries = OpenPoolPredictor.load(n_threads=1).catalogue.search()
    return [entry.name for entry in entries if entry.output_usd_per_million_tokens is not None][:50]


@pytest.fixture(scope="module")
def router(names) -> Router:
    return Router.from_pretrained(candidates=names[:5], quality=0.95, n_threads=1)


@pytest.fixture(scope="module")
def plain_pass(tmp_path_factory, router):
    """The encoder alone, exported and quantised as the embedded network is; fresh weights take the same time."""
    pytest.importorskip("onnx")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    from lookahead_router.backends.export import export_encoder
    from lookahead_router.backends.quantize import quantize_rowwise

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    shape = json.loads((OPEN_EMBEDDED / "config.json").read_text())["network"]["backbone_config"]
    config = transformers.AutoConfig.for_model(**shape)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    export_encoder(folder, folder / "model.onnx")
    quantize_rowwise(folder / "model.onnx", folder / "int8.onnx")
    session, tokenizer = Session(folder / "int8.onnx", n_threads=1), router.predictor.foresee.tokenizer

    def run(prompts: list[str]) -> None:
        for ids in tokenizer.encode(prompts)[0]:
            session.run(["last_hidden_state"], {"input_ids": ids[None], "attention_mask": np.ones((1, len(ids)), int)})

    return run


def ratio(call, other, rounds: int = ROUNDS) -> float:
    """How much longer the first takes: the median over rounds of one call each, in changing order."""
    for each in (call, other, call, other):
        each()
    ratios = []
    for number in range(rounds):
        times = {}
        for each in (call, other)[:: 1 if number % 2 else -1]:
            start = time.thread_time()
            each()
            times[each] = time.thread_time() - start
        ratios.append(times[call] / times[other])
    return statistics.median(ratios)


def test_a_decision_takes_little_more_than_a_plain_pass_of_the_same_encoder(router, plain_pass):
    assert ratio(lambda: router.route(PROMPT), lambda: plain_pass([PROMPT])) < 1.35


def test_a_batch_has_nearly_the_throughput_of_the_encoder(router, plain_pass):
    prompts = [PROMPT[: 40 * n] for n in range(2, 10)]
    assert ratio(lambda: router.route_batch(prompts), lambda: plain_pass(prompts), rounds=10) < 1.35


def test_fifty_candidates_take_hardly_longer_than_five(router, names):
    many = router.with_candidates(names)
    assert len(many.pool) == 50
    assert ratio(lambda: many.route(PROMPT), lambda: router.route(PROMPT)) < 1.2


def test_the_network_has_few_operators_beside_its_layers():
    onnx = pytest.importorskip("onnx")
    nodes = onnx.load(OPEN_EMBEDDED / "onnx" / "model_int8.onnx").graph.node
    assert len(nodes) <= 6 * 12 + 63
