"""The embedded predictor's static backend: word vectors that say what its network would."""

import json
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from lookahead_router import Router
from lookahead_router.saved.find import OPEN_EMBEDDED
from lookahead_router.saved.folder import PredictorFolder

EVERYDAY = [
    json.loads(line)["prompt"]
    for line in (Path(__file__).parent / "data" / "everyday.jsonl").read_text(encoding="utf-8").splitlines()
]
NAMES = ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4", "llama-3.1-70b-instruct", "llama-3.1-8b-instruct"]
PROMPT = "Design a distributed rate limiter for an API of a hundred nodes, and say how it fails. " * 5

pytestmark = pytest.mark.skipif(
    not PredictorFolder(OPEN_EMBEDDED).static.is_file(), reason="the embedded predictor has no static graph"
)


@pytest.fixture(scope="module")
def network() -> Router:
    return Router.from_pretrained(candidates=NAMES, n_threads=1)


@pytest.fixture(scope="module")
def static() -> Router:
    return Router.from_pretrained(candidates=NAMES, n_threads=1, backend="static")


def test_its_rows_do_not_depend_on_each_other(static):
    together = static.predict(EVERYDAY[:40]).scores
    alone = np.concatenate([static.predict([prompt]).scores for prompt in EVERYDAY[:40]])
    np.testing.assert_array_equal(together, alone)


def test_a_decision_takes_a_fifth_of_the_networks_at_most(network, static):
    times = {network: [], static: []}
    for _ in range(30):
        for router, taken in times.items():
            start = time.thread_time()
            router.route(PROMPT)
            taken.append(time.thread_time() - start)
    assert statistics.median(times[static]) < 0.2 * statistics.median(times[network])


def test_it_says_much_what_the_network_says_of_everyday_prompts(network, static):
    theirs, ours = network.predict(EVERYDAY), static.predict(EVERYDAY)
    assert np.abs(ours.scores - theirs.scores).mean() < 0.1


def test_a_greeting_is_answered_well_by_anybody(static):
    assert static.predict(["hi", "hello", "hallo"]).scores.min() > 0.85
