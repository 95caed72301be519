"""What is foreseen, and what is decided by it."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lookahead_router.errors import PredictionError, UnknownCandidateError
from lookahead_router.types import Candidate, CandidatePool, Decision, Prediction

relaxed = settings(deadline=None, max_examples=100)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda name: name == name.strip())


# Decision


def decision(utilities: dict[str, float], chosen: str, **changes) -> Decision:
    fields = {
        "candidate": Candidate(name=chosen, capabilities={"tools"}, input_usd_per_million_tokens=1.5),
        "scores": dict.fromkeys(utilities, 0.5),
        "utilities": utilities,
        "policy": "BestQuality()",
        "predictor": "lookahead",
        "revision": "abc",
        "latency_seconds": 0.01,
    }
    return Decision(**{**fields, **changes})


def test_a_decision_names_its_runner_up_and_margin():
    made = decision({"a": 0.25, "b": 1.0, "c": 0.5}, "b")
    assert made.name == "b"
    assert made.runner_up == "c"
    assert made.margin == 0.5


def test_of_equal_runners_up_the_earlier_counts_and_a_tie_has_no_margin():
    assert decision({"a": 1.0, "b": 0.5, "c": 0.5}, "a").ranking == ("a", "b", "c")
    assert decision({"a": 0.5, "b": 0.5}, "a").margin == 0.0


def test_a_pool_of_one_has_no_runner_up():
    made = decision({"a": 0.5}, "a")
    assert made.runner_up is None
    assert made.margin is None
    assert made.to_dict()["runner_up"] is None
    assert made.to_dict()["margin"] is None


@relaxed
@given(st.dictionaries(names, st.floats(-1e6, 1e6), min_size=2, max_size=5))
@example({"a": 0.0, "b": 0.0})
def test_the_runner_up_is_the_best_of_the_rest(utilities):
    chosen = max(utilities, key=utilities.__getitem__)
    made = decision(utilities, chosen)
    assert made.ranking[0] == chosen
    assert sorted(made.ranking) == sorted(utilities)
    assert utilities[made.runner_up] == max(value for name, value in utilities.items() if name != chosen)
    assert made.margin >= 0


def test_a_decision_is_plain_json():
    made = decision({"a": 0.25, "b": 1.0}, "b", revision=None)
    record = made.to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["candidate"] == {"name": "b", "capabilities": ["tools"], "input_usd_per_million_tokens": 1.5}
    assert record["scores"] == {"a": 0.5, "b": 0.5}
    assert record["utilities"] == {"a": 0.25, "b": 1.0}
    assert record["runner_up"] == "a"
    assert record["margin"] == 0.75
    assert set(record) >= {field.name for field in dataclasses.fields(Decision)}


def test_changing_the_dict_of_a_decision_leaves_the_decision_alone():
    made = decision({"a": 0.25, "b": 1.0}, "b")
    made.to_dict()["utilities"]["a"] = 9.0
    assert made.utilities["a"] == 0.25


def test_a_decision_cannot_be_changed_and_can_be_pickled():
    made = decision({"a": 0.25, "b": 1.0}, "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.policy = "other"
    assert pickle.loads(pickle.dumps(made)) == made


def routed() -> Decision:
    """As routers make it."""
    rows = [0.5, 0.25, 0.125], [0.5, 0.25, float("-inf")], None, [0.1, 0.1, 0.1], [1.0, float("nan"), 2.0]
    return Decision._of(
        ["a", "b", "c"],
        rows,
        candidate=Candidate(name="a"),
        policy="BestQuality()",
        predictor="lookahead",
        revision="abc",
        latency_seconds=0.01,
    )


def test_a_routers_decision_is_any_other():
    plain = Decision(
        Candidate(name="a"),
        scores={"a": 0.5, "b": 0.25, "c": 0.125},
        utilities={"a": 0.5, "b": 0.25},
        policy="BestQuality()",
        predictor="lookahead",
        revision="abc",
        latency_seconds=0.01,
        standard_errors={"a": 0.1, "b": 0.1, "c": 0.1},
        expected_usd={"a": 1.0, "c": 2.0},
    )
    assert routed() == plain
    assert repr(routed()) == repr(plain)
    assert routed().to_dict() == plain.to_dict()
    assert dataclasses.asdict(routed()) == dataclasses.asdict(plain)
    assert dataclasses.replace(routed(), route="code") == dataclasses.replace(plain, route="code")
    assert pickle.loads(pickle.dumps(routed())) == copy.deepcopy(routed()) == plain
    assert routed().ranking == plain.ranking


def test_a_routers_decision_keeps_its_dicts():
    made = routed()
    assert made.scores is made.scores
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.scores = {}
    unpriced = Decision._of(["a"], [[0.5], [0.5], None, None, [float("nan")]], candidate=Candidate(name="a"))
    assert unpriced.expected_usd is None
    assert unpriced.probabilities is None
    assert (unpriced.route, unpriced.similarity, unpriced.private) == (None, None, ())


# Predictions


def prediction(**changes):
    given = {"scores": [[0.1, 0.9], [0.6, 0.2]], "probabilities": [[0.2, 0.8], [0.5, 0.3]], "prompt_tokens": [3, 4]}
    return Prediction(CandidatePool(["a", "b"]), **{**given, **changes})


def test_a_prediction_selects_columns_by_name_in_the_order_given():
    turned = prediction(expected_tokens=[[1, 2], [3, 4]]).select(["b", "a"])
    assert turned.pool.names == ("b", "a")
    assert turned.scores.tolist() == [[0.9, 0.1], [0.2, 0.6]]
    assert turned.expected_tokens.tolist() == [[2, 1], [4, 3]]
    assert turned.prompt_tokens.tolist() == [3, 4]
    assert turned.standard_errors is None
    with pytest.raises(UnknownCandidateError):
        prediction().select(["c"])


def test_a_prediction_under_another_pool_keeps_its_columns():
    other = prediction().with_pool(CandidatePool(["x", "y"]))
    assert (other.pool.names, other.scores.tolist()) == (("x", "y"), prediction().scores.tolist())
    with pytest.raises(PredictionError, match="shape"):
        prediction().with_pool(CandidatePool(["x"]))


@pytest.mark.parametrize(
    "bad",
    [
        {"scores": [[0.1, float("nan")], [0.6, 0.2]]},
        {"scores": [[0.1, float("inf")], [0.6, 0.2]]},
        {"scores": [[0.1, 1.1], [0.6, 0.2]]},
        {"scores": [0.1, 0.2]},
        {"scores": 0.5},
        {"probabilities": [[0.2, 0.8]]},
        {"probabilities": [[0.2, -0.8], [0.5, 0.3]]},
        {"expected_tokens": [[1, 2]]},
        {"expected_tokens": [[1, -2], [1, 1]]},
        {"standard_errors": [[1, float("nan")], [1, 1]]},
        {"prompt_tokens": [1, 2, 3]},
    ],
    ids=str,
)
def test_what_is_no_prediction_is_refused(bad):
    with pytest.raises(PredictionError, match=f"^{next(iter(bad))}"):
        prediction(**bad)


def test_rounding_beyond_the_range_is_cut():
    assert prediction(scores=[[-1e-9, 1 + 1e-9], [0.6, 0.2]]).scores.tolist() == [[0.0, 1.0], [0.6, 0.2]]


def test_what_is_done_to_one_array_of_a_prediction_is_not_done_to_another():
    values = np.array([[0.25, 0.5]])
    prediction = Prediction(CandidatePool(["a", "b"]), scores=values, probabilities=values)
    prediction.probabilities[0, 0] = 1.0
    assert prediction.scores[0, 0] == values[0, 0] == 0.25


def test_a_prediction_of_no_prompt_has_its_shape():
    empty = Prediction(CandidatePool(["a", "b"]), np.zeros((0, 2)))
    assert (len(empty), empty.select(["b"]).scores.shape) == (0, (0, 1))
