"""Prompts that tell most about candidates: of every kind of prompt its share, and less doubt than by chance."""

from collections import Counter

import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Router
from lookahead_router.errors import ConfigurationError
from lookahead_router.live.choosing import covering, telling
from lookahead_router.live.sample import sample
from lookahead_router.predictors.catalogue import facts_of
from lookahead_router.predictors.profiles import Foreseen

TOPICS = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    return Router.from_pretrained(write_open_folder(tmp_path_factory.mktemp("open") / "open-toy"))


@pytest.fixture(scope="module")
def log() -> list[str]:
    """200 different prompts: half of them of the first topic, the others of three."""
    topics = ["one"] * 100 + [TOPICS[1 + row % 3] for row in range(100)]
    return [f"{topic} {topic} {row} {row * row}" for row, topic in enumerate(topics)]


@pytest.fixture(scope="module")
def foreseen(router, log) -> Foreseen:
    """Of the log; demands are made to differ, since the toy network's hardly do."""
    found = router.predictor.foresee(log)[0]
    generator = np.random.default_rng(0)
    demands = generator.normal(size=found.demands.shape) * generator.choice([0.1, 2.0], (len(log), 1))
    return Foreseen(**vars(found) | {"demands": demands.astype(found.demands.dtype)})


def doubt(population, foreseen: Foreseen, rows: np.ndarray) -> float:
    """Mean variance of logits over the log, once a stranger has answered these prompts."""
    stranger = population.start(facts_of())
    asked = foreseen.select(rows)
    chances = population.predict(asked, [stranger])[0]
    learnt = population.onboard(asked, [stranger], chances)[0]
    x = population.design(foreseen)[:, : len(learnt.mean)]
    return float(((x @ learnt.covariance) * x).sum(axis=1).mean())


def test_the_answers_leave_less_doubt_than_those_to_prompts_drawn_by_chance(router, foreseen):
    population, weights = router.predictor.population, np.ones(len(foreseen))
    chosen = telling(population, foreseen, weights, 40, seed=0)
    embedding = foreseen.embedding.astype(np.float32)
    by_chance = [doubt(population, foreseen, covering(embedding, weights, 40, seed)) for seed in range(5)]
    assert len(set(chosen.tolist())) == 40
    assert doubt(population, foreseen, chosen) < 0.95 * min(by_chance)


def test_topics_keep_their_share(router, log):
    drawn = Counter(each.prompt.split()[0] for each in sample(log, 40, prefer="informative", router=router).questions)
    assert sum(drawn.values()) == 40
    for topic, share in {"one": 20, "two": 7, "three": 7, "four": 7}.items():
        assert abs(drawn[topic] - share) <= 2


def test_a_log_that_is_no_larger_is_taken_whole(router, log):
    assert len(sample(log[:30], 30, prefer="informative", router=router).questions) == 30
    assert len(sample(log[:30], 50, prefer="informative", router=router).questions) == 30


def test_what_cannot_be_preferred_is_refused(router, log):
    with pytest.raises(ConfigurationError, match="prefer is one of coverage, informative, got 'hard'"):
        sample(log, 10, prefer="hard", router=router)
