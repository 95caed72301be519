import copy
import dataclasses
import json
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.types import Candidate, CandidatePool

relaxed = settings(deadline=None, max_examples=100)


# Candidate

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda name: name == name.strip())
prices = st.none() | st.floats(min_value=0, allow_infinity=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
candidates = st.builds(
    Candidate,
    name=names,
    input_usd_per_million_tokens=prices,
    output_usd_per_million_tokens=prices,
    usd_per_call=prices,
    context_window_tokens=st.none() | st.integers(1, 10**9),
    capabilities=st.frozensets(st.text(max_size=5), max_size=4),
    metadata=st.dictionaries(st.text(max_size=5), json_values, max_size=3),
)


@pytest.mark.parametrize("number", [2, np.float32(2.0), np.int64(2), Decimal(2), Fraction(4, 2)])
def test_amounts_of_other_kinds_of_numbers_become_floats(number):
    candidate = Candidate(name="a", usd_per_call=number, context_window_tokens=np.int64(8))
    assert (candidate.usd_per_call, candidate.context_window_tokens) == (2.0, 8)
    assert type(candidate.usd_per_call) is float
    assert type(candidate.context_window_tokens) is int


class Holding(BaseModel):
    candidate: Candidate


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": " qwen"}, "name"),
        ({"name": "qwen\n"}, "name"),
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "a", "input_usd_per_million_tokens": -1}, "input_usd_per_million_tokens"),
        ({"name": "a", "output_usd_per_million_tokens": -0.01}, "output_usd_per_million_tokens"),
        ({"name": "a", "input_usd_per_million_tokens": float("nan")}, "input_usd_per_million_tokens"),
        ({"name": "a", "output_usd_per_million_tokens": float("inf")}, "output_usd_per_million_tokens"),
        ({"name": "a", "input_usd_per_million_tokens": "cheap"}, "input_usd_per_million_tokens"),
        ({"name": "a", "usd_per_call": -1e-9}, "usd_per_call"),
        ({"name": "a", "usd_per_call": float("nan")}, "usd_per_call"),
        ({"name": "a", "context_window_tokens": 0}, "context_window_tokens"),
        ({"name": "a", "context_window_tokens": 1.5}, "context_window_tokens"),
        ({"name": "a", "context_window_tokens": True}, "context_window_tokens"),
        ({"name": "a", "usd_per_call": True}, "usd_per_call"),
        ({"name": "a", "usd_per_call": "0.5"}, "usd_per_call"),
        ({"name": "a", "usd_per_call": Decimal("NaN")}, "usd_per_call"),
        ({"name": "a", "usd_per_call": np.array([1.0, 2.0])}, "usd_per_call"),
        ({"name": "a", "capabilities": "tools"}, "capabilities"),
        ({"name": "a", "capabilities": [1]}, "capabilities"),
        ({"name": "a", "capabilities": {"tools": 1}}, "capabilities"),
        ({"name": "a", "local": "yes"}, "local"),
        ({"name": "a", "local": 1}, "local"),
        ({"name": "a", "metadata": [1]}, "metadata"),
        ({"name": "a", "price": 3}, "price"),
    ],
)
def test_a_malformed_candidate_is_a_configuration_error_that_names_the_field(fields, place):
    with pytest.raises(ConfigurationError, match=f"^Candidate: {place}"):
        Candidate(**fields)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"\xff", float("nan"), [object()]])
def test_metadata_that_is_not_plain_json_is_refused_at_once(value):
    with pytest.raises(ConfigurationError, match="metadata"):
        Candidate(name="a", metadata={"key": value})


def test_a_candidate_cannot_be_changed():
    candidate = Candidate(name="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        candidate.name = "b"
    assert candidate.name == "a"


def test_candidates_are_equal_by_value_and_usable_as_keys():
    assert Candidate(name="a") == Candidate(name="a")
    assert Candidate(name="a") != Candidate(name="a", context_window_tokens=8)
    assert {Candidate(name="a"): 1}[Candidate(name="a")] == 1
    assert len({Candidate(name="a", metadata={"k": [1]}), Candidate(name="a", metadata={"k": [1]})}) == 1


def test_two_candidates_do_not_share_their_default_metadata():
    first, second = Candidate(name="a"), Candidate(name="b")
    first.metadata["seen"] = True
    assert second.metadata == {}


def test_to_dict_leaves_out_what_is_not_set_and_sorts_capabilities():
    assert Candidate(name="a").to_dict() == {"name": "a"}
    assert Candidate(name="a", input_usd_per_million_tokens=0).to_dict() == {
        "name": "a",
        "input_usd_per_million_tokens": 0,
    }
    assert Candidate(name="a", capabilities=set("hgfedcba")).to_dict()["capabilities"] == list("abcdefgh")


@relaxed
@given(candidates)
def test_a_candidate_survives_json(candidate):
    assert Candidate(**json.loads(json.dumps(candidate.to_dict()))) == candidate


@relaxed
@given(candidates)
def test_a_candidate_may_be_a_field_of_a_model_of_pydantics(candidate):
    held = Holding(candidate=candidate)
    assert held.candidate is candidate
    assert Holding.model_validate_json(held.model_dump_json()) == held


def test_pydantic_checks_a_candidate_as_its_own_constructor_does():
    with pytest.raises(ValueError, match="usd_per_call"):
        Holding.model_validate({"candidate": {"name": "a", "usd_per_call": -1}})


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_candidate_can_be_copied_and_pickled(duplicate):
    candidate = Candidate(name="a", capabilities={"tools"}, metadata={"k": [1]}, input_usd_per_million_tokens=2)
    assert duplicate(candidate) == candidate


# CandidatePool


def test_a_pool_is_built_from_candidates_dicts_and_names():
    pool = CandidatePool([Candidate(name="a", context_window_tokens=8), {"name": "b"}, "c"])
    assert pool.names == ("a", "b", "c")
    assert list(pool) == [Candidate(name="a", context_window_tokens=8), Candidate(name="b"), Candidate(name="c")]
    assert CandidatePool(name for name in ("a", "b")).names == ("a", "b")


def test_a_pool_is_a_sequence_that_also_knows_names():
    pool = CandidatePool(["a", "b", "c"])
    assert len(pool) == 3
    assert pool[0] == pool["a"] == Candidate(name="a")
    assert pool[-1] == pool["c"]
    assert pool[1:] == (Candidate(name="b"), Candidate(name="c"))
    assert [candidate.name for candidate in reversed(pool)] == ["c", "b", "a"]
    assert "b" in pool
    assert Candidate(name="b") in pool
    assert "d" not in pool
    assert Candidate(name="d") not in pool
    with pytest.raises(IndexError, match="out of range"):
        pool[3]


def test_index_gives_the_column_of_a_name_or_candidate():
    pool = CandidatePool(["a", "b"])
    assert pool.index("b") == 1
    assert pool.index(pool[1]) == 1
    assert pool.index("b", 1) == 1
    with pytest.raises(UnknownCandidateError):
        pool.index("b", 0, 1)


@pytest.mark.parametrize("look_up", [CandidatePool.index, CandidatePool.__getitem__])
def test_an_unknown_name_is_reported_with_the_nearest_one(look_up):
    pool = CandidatePool(["llama-8b", "qwen-7b"])
    with pytest.raises(UnknownCandidateError, match="Did you mean 'qwen-7b'") as caught:
        look_up(pool, "qwen-7")
    assert caught.value.known == pool.names


@pytest.mark.parametrize("name", [5, None, ["a"]])
def test_an_index_of_another_type_is_unknown(name):
    with pytest.raises(UnknownCandidateError):
        CandidatePool(["a"]).index(name)


@pytest.mark.parametrize("empty", [[], (), iter([])])
def test_an_empty_pool_is_refused(empty):
    with pytest.raises(ConfigurationError, match="at least one"):
        CandidatePool(empty)


def test_duplicate_names_are_refused_and_listed():
    with pytest.raises(ConfigurationError, match=r"repeated: a, b$"):
        CandidatePool(["b", "a", {"name": "a"}, "b", "c"])


def test_a_text_in_place_of_a_list_is_refused():
    with pytest.raises(ConfigurationError, match="wrap a single name in a list"):
        CandidatePool("abc")


@pytest.mark.parametrize("single", [{"name": "a"}, {"candidates": [{"name": "a"}]}, Candidate(name="a")])
def test_a_dict_or_candidate_in_place_of_a_list_is_refused(single):
    with pytest.raises(ConfigurationError):
        CandidatePool(single)


@pytest.mark.parametrize("entry", [5, None, ("a",), ["a"], b"a", {1: 2}, {}, {"name": "a", "cost": 3}])
def test_an_entry_that_is_no_candidate_is_refused(entry):
    with pytest.raises(ConfigurationError):
        CandidatePool(["z", entry])


def test_a_pool_cannot_be_changed():
    pool = CandidatePool(["a"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        pool.candidates = ()
    with pytest.raises(TypeError):
        pool[0] = Candidate(name="b")


def test_pools_are_equal_by_value_and_order():
    assert CandidatePool(["a", "b"]) == CandidatePool([Candidate(name="a"), {"name": "b"}])
    assert hash(CandidatePool(["a", "b"])) == hash(CandidatePool(["a", {"name": "b"}]))
    assert CandidatePool(["a", "b"]) != CandidatePool(["b", "a"])
    assert CandidatePool(["a"]) != CandidatePool([{"name": "a", "context_window_tokens": 8}])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda pool: pickle.loads(pickle.dumps(pool))])
def test_a_pool_can_be_copied_and_pickled(duplicate):
    pool = CandidatePool([{"name": "a", "capabilities": ["tools"], "metadata": {"k": 1}}, "b"])
    twin = duplicate(pool)
    assert twin == pool
    assert twin.index("b") == 1


@relaxed
@given(st.lists(candidates, min_size=1, max_size=4, unique_by=lambda candidate: candidate.name))
def test_a_pool_survives_json(members):
    pool = CandidatePool(members)
    assert CandidatePool(json.loads(json.dumps(pool.to_dict()))["candidates"]) == pool


def test_a_subset_keeps_the_order_of_the_pool():
    pool = CandidatePool(["a", "b", "c"])
    assert pool.subset(["c", "a"]).names == ("a", "c")
    assert pool.subset(name for name in ("b", "b")).names == ("b",)
    assert pool.subset([pool[2]]).names == ("c",)
    assert pool.names == ("a", "b", "c")


@relaxed
@given(st.lists(st.sampled_from("abcdef"), min_size=1))
def test_a_subset_holds_the_named_candidates_only(kept):
    pool = CandidatePool("abcdef"[i] for i in range(6))
    subset = pool.subset(kept)
    assert set(subset.names) == set(kept)
    assert list(subset.names) == sorted(subset.names, key=pool.names.index)


def test_a_subset_of_nothing_or_of_strangers_is_refused():
    pool = CandidatePool(["a", "b"])
    with pytest.raises(ConfigurationError, match="keep at least one of a, b"):
        pool.subset([])
    with pytest.raises(UnknownCandidateError):
        pool.subset(["a", "z"])
    with pytest.raises(ConfigurationError, match="wrap a single name in a list"):
        pool.subset("a")


def test_renaming_keeps_order_and_all_other_fields():
    pool = CandidatePool([{"name": "a", "context_window_tokens": 8, "metadata": {"k": 1}}, "b"])
    renamed = pool.rename({"a": "fast"})
    assert renamed.names == ("fast", "b")
    assert renamed[0] == Candidate(name="fast", context_window_tokens=8, metadata={"k": 1})
    assert pool.names == ("a", "b")
    assert pool.rename({}) == pool


def test_renaming_can_swap_names():
    pool = CandidatePool([{"name": "a", "context_window_tokens": 8}, "b"])
    swapped = pool.rename({"a": "b", "b": "a"})
    assert swapped.names == ("b", "a")
    assert swapped["b"].context_window_tokens == 8


def test_renaming_to_a_candidate_takes_all_of_its_fields():
    pool = CandidatePool([{"name": "a", "context_window_tokens": 8}, "b"])
    newcomer = Candidate(name="c", input_usd_per_million_tokens=2)
    assert pool.rename({"a": newcomer}) == CandidatePool([newcomer, "b"])
    with pytest.raises(ConfigurationError, match="repeated: b"):
        pool.rename({"a": Candidate(name="b")})


def test_renaming_a_stranger_or_onto_another_is_refused():
    pool = CandidatePool(["a", "b"])
    with pytest.raises(UnknownCandidateError):
        pool.rename({"z": "y"})
    with pytest.raises(ConfigurationError, match="repeated: b"):
        pool.rename({"a": "b"})


@pytest.mark.parametrize("name", ["", " padded ", 5])
def test_a_new_name_obeys_the_rules_of_names(name):
    with pytest.raises(ConfigurationError):
        CandidatePool(["a", "b"]).rename({"a": name})


def test_measured_costs_join_the_candidates_and_nan_leaves_one_as_it_is():
    pool = CandidatePool([{"name": "a", "input_usd_per_million_tokens": 2.0}, {"name": "b", "usd_per_call": 0.5}, "c"])
    priced = pool.with_call_costs([0.1, float("nan"), 0])
    assert [candidate.usd_per_call for candidate in priced] == [0.1, 0.5, 0.0]
    assert priced["a"].input_usd_per_million_tokens == 2.0
    assert pool["a"].usd_per_call is None


@pytest.mark.parametrize("costs", [[], [0.1], [0.1, 0.2, 0.3], [0.1, -0.2], [0.1, float("inf")]])
def test_measured_costs_are_one_a_candidate_and_in_range(costs):
    with pytest.raises(ConfigurationError, match=r"each of the 2 candidates|usd_per_call"):
        CandidatePool(["a", "b"]).with_call_costs(costs)
