from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.data.splits import SPLITS, split_of
from lookahead_router.errors import ConfigurationError

relaxed = settings(deadline=None, max_examples=60)
texts = st.text(st.characters(exclude_categories=["Cs"]))
shares = st.tuples(*[st.integers(0, 5)] * 3).filter(any).map(lambda parts: tuple(part / sum(parts) for part in parts))


def dataset(*rows: tuple[str, str]) -> RoutingDataset:
    return RoutingDataset.from_examples([RoutingExample(p, {"a": Outcome(score=1.0)}, split=s) for p, s in rows])


@relaxed
@given(texts, shares, st.integers())
def test_a_split_is_a_function_of_prompt_and_seed_and_has_a_share(prompt, fractions, seed):
    split = split_of(prompt, fractions, seed)
    assert split == split_of(prompt, fractions, seed)
    assert fractions[SPLITS.index(split)] > 0


def test_splits_stay_as_they_are_from_version_to_version():
    assert [split_of(str(n)) for n in range(12)] == [
        "train",
        "test",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "validation",
    ]


def test_the_splits_have_their_shares():
    counts = Counter(split_of(str(n), (0.6, 0.3, 0.1)) for n in range(4000))
    np.testing.assert_allclose([counts[name] / 4000 for name in SPLITS], [0.6, 0.3, 0.1], atol=0.03)


def test_a_seed_gives_another_partition():
    assert [split_of(str(n), seed=0) for n in range(99)] != [split_of(str(n), seed=1) for n in range(99)]


def test_a_larger_training_share_keeps_its_prompts():
    small = {n for n in range(500) if split_of(str(n), (0.5, 0.1, 0.4)) == "train"}
    large = {n for n in range(500) if split_of(str(n), (0.7, 0.1, 0.2)) == "train"}
    assert small < large


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.6, -0.1), (0.5, 0.2, 0.2), (float("nan"), 0.5, 0.5)])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ConfigurationError, match="three fractions, of train, validation, test"):
        split_of("hello", fractions)


def test_only_rows_without_a_split_get_one():
    filled = dataset(("a", "test"), ("b", ""), ("c", "mine")).with_splits((1, 0, 0))
    assert filled.splits.tolist() == ["test", "train", "mine"]


def test_the_same_prompt_falls_into_the_same_split_whatever_stands_around_it():
    filled = dataset(*[(f"{space}{n}{space}", "") for n in range(50) for space in ("", "\n ")]).with_splits()
    assert (filled.splits[0::2] == filled.splits[1::2]).all()
    assert set(filled.splits) == set(SPLITS)
