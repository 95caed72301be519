"""The choice of a predictor and a setting, and what it is worth on prompts that it has not read."""

import numpy as np
import pytest

from lookahead_router import CandidatePool, Prediction, RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.evaluation.crossfit import Crossfitted
from lookahead_router.evaluation.fit_choice import BEST_SINGLE, Trial
from lookahead_router.types import Candidate

POOL = CandidatePool([Candidate(name="dear", usd_per_call=0.01), Candidate(name="cheap", usd_per_call=0.009)])


def trial(scores: np.ndarray, foreseen: np.ndarray) -> Trial:
    """Of `(n, 2)` scores and `(n, 2)` foreseen ones; `dear` is taken for the best single candidate."""
    prompts = [f"prompt {row}" for row in range(len(scores))]
    rows = RoutingDataset.from_examples(
        RoutingExample(prompt, {name: Outcome("x", float(score)) for name, score in zip(POOL.names, row, strict=True)})
        for prompt, row in zip(prompts, scores, strict=True)
    )
    means = np.tile([0.6, 0.4], (len(scores), 1))
    tried = {BEST_SINGLE: means, "profiles": foreseen}
    return Trial(
        {label: Crossfitted(label, Prediction(POOL, scores=each), prompts) for label, each in tried.items()},
        rows.align(POOL),
        POOL,
    )


def test_the_setting_that_looks_best_by_chance_gains_nothing_on_prompts_that_it_was_not_chosen_by():
    looks, gets = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        scores = generator.integers(0, 2, (60, 2)).astype(float)
        one = trial(scores, generator.random((60, 2)))
        setting = one.choose(None, n_resamples=50).setting
        outlook = one.outlook(None, np.arange(60) % 5, n_resamples=50)
        looks.append(0.0 if setting is None else setting.gained.value)
        gets.append(outlook.gained.value)
    assert np.mean(looks) > 2.5 * np.std(looks) / len(looks) ** 0.5
    assert abs(np.mean(gets)) < 2.5 * np.std(gets) / len(gets) ** 0.5 < 0.03


def test_what_is_there_to_gain_is_in_the_outlook():
    generator = np.random.default_rng(0)
    is_for_cheap = generator.random(100) < 0.5
    scores = np.stack([~is_for_cheap, is_for_cheap], axis=1).astype(float)
    outlook = trial(scores, 0.2 + 0.6 * scores).outlook(None, np.arange(100) % 5)
    assert (outlook.n_routed, outlook.n_folds) == (5, 5)
    assert outlook.score.value == 1.0
    assert outlook.gained.value == pytest.approx(is_for_cheap.mean())
    assert outlook.shares == {
        "dear": pytest.approx(1 - is_for_cheap.mean()),
        "cheap": pytest.approx(is_for_cheap.mean()),
    }


def test_where_no_part_recommends_routing_all_goes_to_the_best_single_candidate():
    scores = np.tile([1.0, 0.0], (50, 1))
    scores[0] = [0.0, 1.0]
    outlook = trial(scores, np.random.default_rng(0).random((50, 2))).outlook(None, np.arange(50) % 5)
    assert outlook.n_routed == 0
    assert outlook.gained.value == 0
    assert outlook.saved.value == 0
    assert outlook.shares["dear"] == 1
