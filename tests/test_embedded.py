"""The embedded predictor of the paper's five candidates."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from lookahead_router import Dispatcher, LookaheadPredictor, Router
from lookahead_router.errors import ConfigurationError
from lookahead_router.predictors.plain_prompts import PLAIN_PROMPTS
from lookahead_router.saved.find import EMBEDDED
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.saved.push import checked_files

PROMPTS = ["Prove that the square root of 2 is irrational.", "Write a Python function that reverses a list.", "Hello!"]


@pytest.fixture(scope="module")
def router():
    return Router.from_pretrained(EMBEDDED)


def test_it_routes_among_the_papers_five(router):
    assert router.pool.names == (
        "Yi-1.5-34B-Chat",
        "internlm2_5-20b-chat",
        "Phi-3-medium-4k-instruct",
        "Llama-3.1-8B-Instruct",
        "Qwen2.5-Coder-7B-Instruct",
    )
    assert router.predictor.backend.name == "onnx-int8"
    assert {decision.name for decision in router.route_batch(PROMPTS)} <= set(router.pool.names)


def test_it_records_nothing_that_it_does_not_carry():
    folder = PredictorFolder(EMBEDDED)
    assert checked_files(folder).keys() == {path.relative_to(EMBEDDED).as_posix() for path in folder.files()}


def test_it_is_calibrated(router):
    for prompt in PROMPTS:
        probabilities = router.route(prompt).probabilities
        assert tuple(probabilities) == router.pool.names
        assert all(0 <= probability <= 1 for probability in probabilities.values())
    assert router.predictor.calibration.expected_calibration_error < 0.06


def test_it_tells_prompts_apart(router):
    scores = router.predictor.predict(PROMPTS).scores
    assert abs(scores[0] - scores[1]).max() > 0.01


def test_it_stays_below_forty_megabytes():
    assert sum(path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file()) < 40e6


def test_its_card_says_what_it_was_trained_on_and_what_it_is_not_for():
    card = (EMBEDDED / "README.md").read_text(encoding="utf-8").lower()
    for word in ("CC BY-NC", "Llama 3.1", "2510.19506", "alias", "Limits"):
        assert word.lower() in card


def test_it_names_no_path_of_the_machine_that_trained_it():
    for path in EMBEDDED.rglob("*.json"):
        content = path.read_text(encoding="utf-8")
        assert "/work" not in content
        assert "/home" not in content


def test_a_pickle_of_it_is_portable(router):
    content = pickle.dumps(router)
    assert str(EMBEDDED).encode() not in content
    assert pickle.loads(content).route("Hello!").scores == router.route("Hello!").scores
    assert copy.deepcopy(router).predictor is router.predictor


def test_thread_count_does_not_change_its_decisions(router):
    single = LookaheadPredictor.load(n_threads=1).predict(PROMPTS).scores
    assert abs(single - router.predictor.predict(PROMPTS).scores).max() < 1e-6


def test_a_prompt_has_the_same_scores_alone_and_among_others(router):
    together = router.predictor.predict([*PROMPTS, "x " * 150]).scores
    for row, prompt in enumerate(PROMPTS):
        np.testing.assert_array_equal(router.predictor.predict([prompt]).scores[0], together[row])


@pytest.mark.slow
def test_hundreds_of_prompts_have_the_same_scores_alone_and_among_others(router):
    prompts = [f"{prompt} {'And why? ' * n}" for prompt in PLAIN_PROMPTS for n in (0, 3, 9, 20)]
    alone = np.concatenate([router.predictor.predict([prompt]).scores for prompt in prompts])
    np.testing.assert_array_equal(router.predictor.predict(prompts).scores, alone)


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system for the processor time of a child")
def test_the_command_answers_from_a_cold_start_within_two_seconds_of_processor_time():
    import resource

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    command = [sys.executable, "-m", "lookahead_router.cli.main", "route", "Hello!", "--json"]
    subprocess.run(command, check=True, capture_output=True)
    assert spent() - before < 2  # 0.5 on an idle machine; room for a busy one


def test_windows_and_abilities_of_its_candidates_are_known():
    router = Router.from_pretrained(EMBEDDED)
    pool = router.pool
    windows = {candidate.name: candidate.context_window_tokens for candidate in pool}
    assert windows["Yi-1.5-34B-Chat"] == 4096
    assert windows["Llama-3.1-8B-Instruct"] == 131_072
    assert all(candidate.capabilities for candidate in pool)
    attempts = Dispatcher(router).plan("What is this?", n_tokens=20_000, needs=["tools"])
    assert set(attempts.record["excluded"]) == {"Yi-1.5-34B-Chat", "Phi-3-medium-4k-instruct"}
    with pytest.raises(ConfigurationError, match="has no images"):
        Dispatcher(router).plan("What is this?", needs=["images"])


def test_plain_prompts_are_not_rounded_away():
    """Weights in 4 bits sent all of these to another candidate; those in 8 bits, twelve of twenty to this."""
    prompts = [prompt for prompt in PLAIN_PROMPTS if prompt.startswith("Write a Python function")]
    chosen = [decision.name for decision in Router.from_pretrained(EMBEDDED).route_batch(prompts)]
    assert chosen.count("Qwen2.5-Coder-7B-Instruct") >= len(prompts) / 2
