"""A sample stands for its log."""

from collections import Counter

import numpy as np
import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Router
from lookahead_router.errors import ConfigurationError, DataError
from lookahead_router.live.answers import read_questions
from lookahead_router.live.sample import sample
from lookahead_router.saved.find import EMBEDDED

TOPICS = {"one": 0.6, "two": 0.3, "three": 0.1}


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    return Router.from_pretrained(write_open_folder(tmp_path_factory.mktemp("open") / "open-toy"))


@pytest.fixture(scope="module")
def log() -> list[str]:
    """300 different prompts of three topics."""
    generator = np.random.default_rng(0)
    topics = generator.choice(list(TOPICS), 300, p=list(TOPICS.values()))
    return [f"{topic} {topic} {topic} {row} {row * row}" for row, topic in enumerate(topics)]


def topic_of(prompt: str) -> str:
    return prompt.split()[0]


def test_topics_are_drawn_by_their_share(router, log):
    drawn = Counter(topic_of(each.prompt) for each in sample(log, 50, router=router).questions)
    there = Counter(map(topic_of, log))
    assert sum(drawn.values()) == 50
    for topic in TOPICS:
        assert abs(drawn[topic] - 50 * there[topic] / len(log)) < 2


def test_a_topic_that_is_asked_often_weighs_more(router, log):
    often = [each for each in log if topic_of(each) == "three"] * 40 + log
    drawn = Counter(topic_of(each.prompt) for each in sample(often, 30, router=router).questions)
    assert drawn["three"] > 15


def test_near_duplicates_are_drawn_once(router):
    words = " ".join(f"word{k}" for k in range(40))
    found = sample([f"{words} {k}" for k in range(100)] + ["one two", "three four"], 50, router=router)
    assert len(found.questions) == found.n_different == 3


def test_a_prompt_a_thousand_times_is_one_prompt(router):
    found = sample(["one two three"] * 1000, 200, router=router)
    assert [each.prompt for each in found.questions] == ["one two three"]
    assert (found.n_records, found.n_different) == (1000, 1)
    assert found.nearness == pytest.approx(1)


def test_the_same_seed_draws_the_same_and_another_one_others(router, log):
    drawn = [[each.prompt for each in sample(log, 20, router=router, seed=seed).questions] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_it_covers_more_than_chance_and_tells_what(router, log):
    found = sample(log, 40, router=router)
    assert found.nearness >= found.nearness_random
    assert sum(topic.share for topic in found.topics) == pytest.approx(1)
    assert sum(topic.n_sampled for topic in found.topics) == 40


def test_personal_data_is_taken_out_before_anything_is_kept(router, tmp_path):
    log = [{"messages": [{"role": "system", "content": "for Ann"}, {"role": "user", "content": f"Ann asks {k}"}]}
           for k in range(30)]  # fmt: skip
    found = sample(log, 5, router=router, redact=lambda text: text.replace("Ann", "[name]"))
    found.write(tmp_path / "prompts.jsonl")
    assert "Ann" not in (tmp_path / "prompts.jsonl").read_text() + str(found.topics)


def test_what_it_writes_collect_reads(router, tmp_path):
    talk = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "?"},
        {"role": "user", "content": "two"},
    ]
    found = sample([{"messages": talk}, {"input": "three", "reference": 3}], 5, router=router)
    found.write(tmp_path / "prompts.jsonl")
    assert tuple(read_questions(tmp_path / "prompts.jsonl")) == found.questions


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "10"])
def test_a_number_that_is_none_is_refused(router, log, n):
    with pytest.raises(ConfigurationError, match="at least 1"):
        sample(log, n, router=router)


def test_an_empty_log_is_refused(router):
    with pytest.raises(DataError, match="empty"):
        sample([], router=router)


def test_a_router_of_a_fixed_pool_is_refused(log):
    with pytest.raises(ConfigurationError, match="any pool"):
        sample(log, router=Router.from_pretrained(EMBEDDED))
