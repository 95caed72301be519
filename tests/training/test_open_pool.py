"""From public outcomes to a saved predictor for any pool, with the demand for code."""

import json

import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Router
from lookahead_router.data.outcomes import OutcomeTable
from lookahead_router.errors import ConfigurationError
from lookahead_router.training.open_pool import build_open_pool

WORDS = ("one", "two", "three", "four", "five", "six")
NAMES = ("gpt-4o-2024-08-06", "llama-3.1-8b-instruct", "my-coder-7b", "other-7b")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The toy's graph and tokenizer, as a run of training leaves them."""
    path = write_open_folder(tmp_path_factory.mktemp("network") / "network")
    config = json.loads((path / "config.json").read_text())["network"]
    (path / "network.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    prompts = [f"{a} {b}" for a in WORDS for b in WORDS]
    rows = [(prompt, name) for prompt in prompts for name in NAMES]
    return OutcomeTable.from_columns({
        "prompt": [prompt for prompt, _ in rows],
        "candidate": [name for _, name in rows],
        "score": random.integers(0, 2, len(rows)).astype(float).tolist(),
        "source": ["exam"] * len(rows),
        "split": ["train"] * len(rows),
    })  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Everyday prompts, which are easy, and requests: `seven` and `eight` ask for code."""
    folder = tmp_path_factory.mktemp("everyday")
    everyday = [{"kind": "easy", "prompt": f"{word} one"} for word in WORDS]
    code = [{"kind": "plain", "about": "code", "prompt": f"{word} {a}"} for word in ("seven", "eight") for a in WORDS]
    rest = [{"kind": "plain", "prompt": f"{a} {b}"} for a in WORDS for b in WORDS[:3]]
    for name, rows in (("everyday.jsonl", everyday), ("requests.jsonl", code + rest)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "everyday.jsonl", folder / "requests.jsonl"


def test_a_predictor_is_built_whose_coders_lean_to_what_asks_for_code(network, table, files, tmp_path):
    everyday, requests = files
    for name, more in (("plain", {}), ("code", {"requests": requests})):
        options = {"name": name, "about": {}, "pool": NAMES[:2], "everyday": everyday, **more}
        build_open_pool(network, table, tmp_path / name, **options)
    plain, code = (Router.from_pretrained(tmp_path / name, candidates=NAMES) for name in ("plain", "code"))
    assert code.pool.names == NAMES
    gains = []
    for prompt in ("seven two", "two three"):
        before, after = (np.array(router.predict([prompt]).probabilities)[0] for router in (plain, code))
        gains.append(after - before)
    coder = NAMES.index("my-coder-7b")
    assert gains[0][coder] > 0.01 > -0.01 > gains[1][coder]
    others = [k for k in range(len(NAMES)) if k != coder]
    np.testing.assert_allclose(np.array(gains)[:, others], 0, atol=0.01)
    assert plain.predictor.foresee.code is None


def test_a_default_pool_of_strangers_leaves_nothing(network, table, files, tmp_path):
    with pytest.raises(ConfigurationError, match="the default pool names 'nobody'"):
        build_open_pool(network, table, tmp_path / "built", name="toy", about={}, pool=["nobody"], everyday=files[0])
    assert not (tmp_path / "built").exists()
