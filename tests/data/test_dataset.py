import dataclasses

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import DataError, HubError, LookaheadRouterWarning, PoolMismatchError, SchemaError
from lookahead_router.types import CandidatePool

relaxed = settings(deadline=None, max_examples=80)


def make_example(prompt="hello", id="", source="", split="", **outcomes: Outcome) -> RoutingExample:
    return RoutingExample(prompt, outcomes or {"a": Outcome(score=1.0)}, id, source, split)


@pytest.fixture
def examples() -> list[RoutingExample]:
    return [
        make_example("one", "i0", "math", "train", a=Outcome("A0", 1.0, 0.01, 10), b=Outcome("B0", 0.0, 0.02, 20)),
        make_example("two", "i1", "code", "train", a=Outcome("A1", 0.5), b=Outcome("", None, 0.0, 0)),
        make_example("three", "i2", "math", "test", b=Outcome(None, 0.25), a=Outcome()),
        make_example("four", "i3", "code", "", a=Outcome("A3", 0.0)),
    ]


@pytest.fixture
def built(examples) -> RoutingDataset:
    return RoutingDataset.from_examples(examples)


# from_examples


def test_columns_follow_the_examples_and_the_pool(built):
    assert built.pool.names == ("a", "b")
    assert len(built) == 4
    assert built.ids.tolist() == ["i0", "i1", "i2", "i3"]
    assert built.sources.tolist() == ["math", "code", "math", "code"]
    assert built.splits.tolist() == ["train", "train", "test", ""]
    assert built.prompts.tolist() == ["one", "two", "three", "four"]
    assert built.responses.tolist() == [["A0", "B0"], ["A1", ""], [None, None], ["A3", None]]
    nan = np.nan
    np.testing.assert_array_equal(built.scores, [[1.0, 0.0], [0.5, nan], [nan, 0.25], [0.0, nan]])
    np.testing.assert_array_equal(built.costs_usd, [[0.01, 0.02], [nan, 0.0], [nan, nan], [nan, nan]])
    np.testing.assert_array_equal(built.output_tokens, [[10, 20], [nan, 0], [nan, nan], [nan, nan]])
    assert {column.dtype for column in (built.scores, built.costs_usd, built.output_tokens)} == {np.dtype(np.float64)}


def test_a_given_pool_decides_the_order(examples):
    pool = CandidatePool([{"name": "b", "input_usd_per_million_tokens": 3}, "a"])
    built = RoutingDataset.from_examples(examples, pool=pool)
    assert built.pool == pool
    assert built.responses[0].tolist() == ["B0", "A0"]
    assert built.scores[0].tolist() == [0.0, 1.0]


def test_an_example_without_id_is_named_after_its_row():
    built = RoutingDataset.from_examples([make_example(id="x"), make_example(), make_example()])
    assert built.ids.tolist() == ["x", "1", "2"]


def test_a_conversation_is_kept_as_the_text_to_route_on():
    messages = [{"role": "user", "content": "first"}, {"role": "user", "content": " What is the capital of France? "}]
    assert RoutingDataset.from_examples([make_example(messages)]).prompts.tolist() == ["What is the capital of France?"]


def test_examples_may_come_from_a_generator(examples, built):
    assert RoutingDataset.from_examples(iter(examples)).fingerprint() == built.fingerprint()


def test_a_score_that_is_nan_counts_as_not_judged():
    built = RoutingDataset.from_examples([make_example(a=Outcome(score=float("nan")))])
    assert np.isnan(built.scores).all()
    assert built[0].outcomes["a"].score is None


@pytest.mark.parametrize("score", [0, 1, 0.0, 1.0, np.float32(0.5), -0.0])
def test_the_ends_of_the_score_range_belong_to_it(score):
    assert RoutingDataset.from_examples([make_example(a=Outcome(score=score))]).scores[0, 0] == score


@pytest.mark.parametrize(
    ("outcome", "column"),
    [
        (Outcome(score=1.0001), "outcomes.score"),
        (Outcome(score=-0.0001), "outcomes.score"),
        (Outcome(score=float("inf")), "outcomes.score"),
        (Outcome(score=float("-inf")), "outcomes.score"),
        (Outcome(score=10**400), "outcomes.score"),
        (Outcome(score="high"), "outcomes.score"),
        (Outcome(score="0.5"), "outcomes.score"),
        (Outcome(cost_usd=-1e-9), "outcomes.cost_usd"),
        (Outcome(cost_usd=float("inf")), "outcomes.cost_usd"),
        (Outcome(output_tokens=-1), "outcomes.output_tokens"),
        (Outcome(output_tokens=12.5), "outcomes.output_tokens"),
        (Outcome(response=5), "outcomes.response"),
    ],
)
def test_an_outcome_outside_its_domain_is_reported_with_its_place(outcome, column):
    rows = [make_example(b=Outcome(score=0.5)), make_example(b=outcome)]
    with pytest.raises(SchemaError, match="row 1") as caught:
        RoutingDataset.from_examples(rows, path="toy.jsonl")
    assert (caught.value.path, caught.value.row, caught.value.column) == ("toy.jsonl", 1, column)


def test_a_number_outside_its_domain_is_reported_with_its_candidate():
    with pytest.raises(SchemaError, match="scale scores first") as caught:
        RoutingDataset.from_examples([make_example(a=Outcome(score=0.5), b=Outcome(score=7.5))])
    assert "7.5 of 'b'" in str(caught.value)


@pytest.mark.parametrize("prompt", ["", " \n", [], [{"role": "assistant", "content": "x"}], 5, None, b"x", ["x"]])
def test_a_prompt_that_cannot_be_routed_is_reported_with_its_place(prompt):
    with pytest.raises(SchemaError, match=r"toy\.jsonl, row 1, column 'prompt'") as caught:
        RoutingDataset.from_examples([make_example(), make_example(prompt)], path="toy.jsonl")
    assert (caught.value.row, caught.value.column) == (1, "prompt")


@pytest.mark.parametrize("rows", [[], [RoutingExample("hello", {})]])
def test_without_rows_or_outcomes_there_is_no_dataset(rows):
    with pytest.raises(DataError, match=r"^toy\.jsonl: no (rows|outcomes) to read$"):
        RoutingDataset.from_examples(rows, path="toy.jsonl")


@pytest.mark.parametrize(
    ("pool", "missing", "unexpected"),
    [(["a"], (), ("b",)), (["a", "b", "c"], ("c",), ()), (["A", "b"], ("A",), ("a",))],
)
def test_another_pool_than_the_examples_is_a_mismatch(examples, pool, missing, unexpected):
    with pytest.raises(PoolMismatchError, match=r"toy\.jsonl has other candidates") as caught:
        RoutingDataset.from_examples(examples, pool=CandidatePool(pool), path="toy.jsonl")
    assert (caught.value.missing, caught.value.unexpected) == (missing, unexpected)


@pytest.mark.parametrize("name", ["", " padded"])
def test_a_candidate_that_cannot_be_named_so_is_an_error_of_the_data(name):
    with pytest.raises(DataError):
        RoutingDataset.from_examples([RoutingExample("hello", {name: Outcome(score=1.0)})])


def test_one_long_id_does_not_widen_all_others():
    examples = [RoutingExample("x", {"a": Outcome(score=1.0)}, id="i" * (50_000 if n == 7 else 1)) for n in range(2000)]
    built = RoutingDataset.from_examples(examples)
    assert built.ids.nbytes + built.sources.nbytes + built.splits.nbytes < 100_000


@pytest.mark.filterwarnings("error")
def test_a_candidate_on_few_rows_with_almost_the_name_of_another_is_pointed_out():
    def examples(other):
        names = ["gpt-5-mini"] * 59 + [other]
        return [RoutingExample("x", {name: Outcome(score=1.0), "claude": Outcome(score=0.0)}) for name in names]

    with pytest.warns(LookaheadRouterWarning, match=r"'gpt-5-mnii' on 1, where 'gpt-5-mini' stands on 59\. Mend"):
        RoutingDataset.from_examples(examples("gpt-5-mnii"))
    RoutingDataset.from_examples(examples("llama"))
    RoutingDataset.from_examples(examples("gpt-5-mnii"), pool=CandidatePool(["gpt-5-mnii", "gpt-5-mini", "claude"]))


def test_without_any_split_the_error_says_so():
    built = RoutingDataset.from_examples([RoutingExample("x", {"a": Outcome(score=1.0)})])
    with pytest.raises(DataError, match=r"no row has split 'train'; no row names a split$"):
        built.filter(split="train")


def test_text_that_no_tokenizer_takes_is_cleaned_in_prompts_and_responses_alike():
    built = RoutingDataset.from_examples([make_example("p\ud800q", a=Outcome("r\udfffs \ud83d\ude00"))])
    assert built.prompts.tolist() == ["p\ufffdq"]
    assert built.responses.tolist() == [["r\ufffds 😀"]]


# Rows


def test_a_row_gives_its_example_back(examples, built):
    assert built[0] == examples[0]
    assert built[1] == examples[1]
    assert built[2] == examples[2]
    assert built[3] == dataclasses.replace(examples[3], outcomes={"a": Outcome("A3", 0.0), "b": Outcome()})
    assert built[-1] == built[3]


def test_iterating_gives_every_row_in_order(built):
    assert list(built) == [built[row] for row in range(4)]
    with pytest.raises(IndexError):
        built[4]


def test_rows_hold_plain_python_values(built):
    outcome = built[0].outcomes["a"]
    assert [type(value) for value in (outcome.score, outcome.cost_usd, outcome.output_tokens)] == [float, float, int]
    assert [type(value) for value in (built[0].id, built[0].source, built[0].split)] == [str, str, str]


@relaxed
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), st.data())
def test_examples_survive_the_columns(names, data):
    outcomes = st.builds(
        Outcome,
        response=st.none() | st.text(max_size=4),
        score=st.none() | st.floats(0, 1),
        cost_usd=st.none() | st.floats(0, 1e6),
        output_tokens=st.none() | st.integers(0, 2**53),
    )
    rows = [
        RoutingExample(f"p{row}", {name: data.draw(outcomes) for name in sorted(set(names))}, f"i{row}")
        for row in range(len(names))
    ]
    assert list(RoutingDataset.from_examples(rows)) == rows


def test_the_repr_counts_prompts_candidates_and_splits(built):
    assert repr(built) == "RoutingDataset(4 prompts, 2 candidates; -: 1, test: 1, train: 2)"


# select, filter, align


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ([2, 0], ["i2", "i0"]),
        (np.array([1, 1, -1]), ["i1", "i1", "i3"]),
        (np.array([True, False, False, True]), ["i0", "i3"]),
        ([False, True, False, False], ["i1"]),
        ([], []),
        (np.zeros(4, dtype=bool), []),
    ],
)
def test_select_takes_an_index_or_a_mask(built, rows, ids):
    selected = built.select(rows)
    assert selected.ids.tolist() == ids
    assert selected.pool == built.pool
    assert len(selected) == len(list(selected)) == len(ids)
    assert selected.scores.shape == selected.responses.shape == (len(ids), 2)


def test_select_moves_all_columns_together(built):
    selected = built.select([3, 1])
    assert selected[0] == built[3]
    assert selected[1] == built[1]


@pytest.mark.parametrize("rows", [[4], [-5], [True, False]])
def test_select_refuses_rows_that_are_not_there(built, rows):
    with pytest.raises(IndexError):
        built.select(rows)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, ["i0", "i1", "i2", "i3"]),
        ({"split": "train"}, ["i0", "i1"]),
        ({"split": ""}, ["i3"]),
        ({"source": "math"}, ["i0", "i2"]),
        ({"split": "train", "source": "math"}, ["i0"]),
    ],
)
def test_filter_keeps_split_and_source(built, wanted, ids):
    assert built.filter(**wanted).ids.tolist() == ids


def test_filter_of_a_value_that_is_not_there_lists_those_that_are(built):
    with pytest.raises(DataError, match="no row has split 'valid'; there are 'test', 'train'"):
        built.filter(split="valid")
    with pytest.raises(DataError, match="no row has source 'poems'; there are 'code', 'math'"):
        built.filter(source="poems")


def test_filter_of_a_pair_that_never_meets_says_so(built):
    with pytest.raises(DataError, match="no row has both split 'test' and source 'code'"):
        built.filter(split="test", source="code")


def test_the_cost_of_a_call_is_the_mean_of_what_was_observed(built):
    costs = built.select([0, 1]).call_costs()
    np.testing.assert_allclose(costs, [0.01, 0.01])
    assert np.isnan(built.select([2, 3]).call_costs()).all()
    assert np.isnan(built.select([]).call_costs()).all()


def test_align_reorders_all_columns_of_candidates(built):
    pool = CandidatePool([{"name": "b", "context_window_tokens": 8}, "a"])
    aligned = built.align(pool)
    assert aligned.pool == pool
    assert [aligned[row].outcomes for row in range(4)] == [built[row].outcomes for row in range(4)]
    assert aligned.responses[0].tolist() == ["B0", "A0"]
    assert aligned.costs_usd[0].tolist() == [0.02, 0.01]
    assert aligned.align(built.pool).fingerprint() == built.fingerprint()


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["a", "c"]])
def test_align_to_another_pool_is_a_mismatch(built, names):
    with pytest.raises(PoolMismatchError) as caught:
        built.align(CandidatePool(names))
    assert set(caught.value.missing) == set(names) - {"a", "b"}
    assert set(caught.value.unexpected) == {"a", "b"} - set(names)


def test_selecting_filtering_and_aligning_change_nothing_in_place(built):
    before = built.fingerprint()
    built.select([0]).scores[:] = 0.125
    built.filter(split="train").responses[:] = "x"
    built.align(CandidatePool(["b", "a"])).costs_usd[:] = 9
    assert built.fingerprint() == before


def test_a_dataset_cannot_be_changed(built):
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.scores = np.zeros((4, 2))


# fingerprint


def test_the_same_data_has_the_same_fingerprint(examples, built):
    assert RoutingDataset.from_examples(list(examples)).fingerprint() == built.fingerprint()
    assert built.select(range(4)).fingerprint() == built.fingerprint()
    assert len(built.fingerprint()) == 16
    assert int(built.fingerprint(), 16) >= 0


BASE = {
    "prompt": "hello",
    "id": "i",
    "source": "s",
    "split": "t",
    "a": Outcome("A", 0.5, 0.1, 3),
    "b": Outcome("", 0.0),
}


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "hallo"},
        {"id": "j"},
        {"source": "S"},
        {"split": ""},
        {"id": "s", "source": "i"},
        {"a": Outcome("B", 0.5, 0.1, 3)},
        {"a": Outcome(None, 0.5, 0.1, 3)},
        {"a": Outcome("A", None, 0.1, 3)},
        {"a": Outcome("A", 0.5 + 1e-12, 0.1, 3)},
        {"a": Outcome("A", 0.5, 0.2, 3)},
        {"a": Outcome("A", 0.5, None, 3)},
        {"a": Outcome("A", 0.5, 0.1, 4)},
        {"a": Outcome("A", 0.5, 0.1, None)},
        {"a": Outcome("A", 0.5, 3, 0)},
        {"b": Outcome(None, 0.0)},
        {"b": Outcome("", None)},
        {"a": BASE["b"], "b": BASE["a"]},
    ],
    ids=str,
)
def test_the_fingerprint_sees_a_change_of(change):
    base, changed = (RoutingDataset.from_examples([make_example(**fields)]) for fields in (BASE, {**BASE, **change}))
    assert changed.fingerprint() != base.fingerprint()


def test_the_fingerprint_sees_names_and_order(built):
    fingerprints = {
        built.fingerprint(),
        built.select([1, 0, 2, 3]).fingerprint(),
        built.select([0, 1, 2]).fingerprint(),
        built.select([0, 1, 2, 3, 3]).fingerprint(),
        built.align(CandidatePool(["b", "a"])).fingerprint(),
        dataclasses.replace(built, pool=built.pool.rename({"a": "c"})).fingerprint(),
    }
    assert len(fingerprints) == 6


texts = st.lists(st.none() | st.text("a\x00\x01", max_size=3), min_size=2, max_size=2)


@relaxed
@given(texts, texts)
@example(["a\x01", "a"], ["a", "\x01a"])
@example([None, "a\x01"], ["\x00a", ""])
def test_no_two_pairs_of_texts_share_a_fingerprint(first, second):
    assume(first != second)
    one, other = (
        RoutingDataset.from_examples([make_example(a=Outcome(pair[0]), b=Outcome(pair[1]))]) for pair in (first, second)
    )
    assert one.fingerprint() != other.fingerprint()


# from_file


def test_from_file_goes_by_the_suffix(built, tmp_path):
    built.to_jsonl(tmp_path / "a.jsonl")
    built.to_jsonl(tmp_path / "a.ndjson")
    built.to_parquet(tmp_path / "a.PARQUET")
    for name in ("a.jsonl", "a.ndjson", "a.PARQUET"):
        assert RoutingDataset.from_file(tmp_path / name).fingerprint() == built.fingerprint()
        assert RoutingDataset.from_file(str(tmp_path / name)).fingerprint() == built.fingerprint()


@pytest.mark.parametrize("name", ["a.csv", "a", "a.jsonl.gz"])
def test_from_file_refuses_other_suffixes(tmp_path, name):
    with pytest.raises(SchemaError, match=r"expected a \.parquet or \.jsonl file") as caught:
        RoutingDataset.from_file(tmp_path / name)
    assert caught.value.path == str(tmp_path / name)


def test_from_file_hands_the_pool_on(built, tmp_path):
    built.to_jsonl(tmp_path / "a.jsonl")
    built.to_parquet(tmp_path / "a.parquet")
    pool = CandidatePool(["b", "a"])
    for name in ("a.jsonl", "a.parquet"):
        assert RoutingDataset.from_file(tmp_path / name, pool=pool).pool == pool


def test_datasets_are_joined_over_the_first_ones_pool(dataset):
    swapped = dataset.align(CandidatePool(["lazy", "words", "digits"]))
    joined = RoutingDataset.concatenate([dataset, swapped])
    assert joined.pool == dataset.pool
    assert len(joined) == 2 * len(dataset)
    np.testing.assert_array_equal(joined.scores[len(dataset) :], dataset.scores)
    with pytest.raises(DataError, match="no dataset"):
        RoutingDataset.concatenate([])


def test_a_dataset_of_the_hub_is_all_its_files(dataset, tmp_path, monkeypatch):
    import huggingface_hub

    dataset.filter(split="train").to_parquet(tmp_path / "data" / "train.parquet")
    dataset.filter(split="test").to_jsonl(tmp_path / "data" / "test.jsonl")
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = RoutingDataset.from_file("org/answers")
    assert (asked["name"], asked["repo_type"], asked["revision"]) == ("org/answers", "dataset", None)
    assert sorted(found.ids) == sorted([*dataset.filter(split="train").ids, *dataset.filter(split="test").ids])
    assert set(found.splits) == {"train", "test"}


def test_a_dataset_of_the_hub_that_cannot_be_had_or_holds_nothing_is_an_error(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot_download(name, **options):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(HubError, match="org/answers: not in the cache"):
        RoutingDataset.from_hub("org/answers")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(tmp_path))
    with pytest.raises(DataError, match=r"holds no \.parquet"):
        RoutingDataset.from_hub("org/answers")
