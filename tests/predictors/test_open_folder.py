"""A predictor for any pool on disk: what is saved is what is loaded, and what is damaged is told."""

import json
import pickle
import shutil

import numpy as np
import pytest
from predictors.open_folder import POOL, make_graph, write_open_folder
from predictors.open_world import WIDTH

from lookahead_router import Candidate, OpenPoolPredictor, Router, RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import CheckpointError, ConfigurationError, DataError, PromptError, UnknownCandidateError
from lookahead_router.predictors.code_reading import CodeReading
from lookahead_router.predictors.open_pool_folder import read_profiles
from lookahead_router.saved.folder import PredictorFolder, record_file, write_json

PROMPTS = ["one two", "three", "four five six", "one"]
NAMES = ["openai/gpt-4o", "mine", "claude-sonnet-4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_open_folder(tmp_path_factory.mktemp("open") / "open-toy")


@pytest.fixture(scope="module")
def router(folder):
    return Router.from_pretrained(folder)


def answers(names=("mine", "openai/gpt-4o"), scores=(0.0, 1.0), n=20):
    words = ("one", "two", "three", "four")
    return RoutingDataset.from_examples(
        RoutingExample(f"{words[i % 4]} {words[i // 4 % 4]}", {name: Outcome(score=scores[i % 2]) for name in names})
        for i in range(n)
    )


@pytest.fixture(scope="module")
def learnt(router):
    mine = router.with_candidates(NAMES, profiles={"mine": "llama-3.1-8b-instruct"})
    return mine.onboard(answers()).observe("five", "claude-sonnet-4", 0.5)


def assert_same(one: Router, other: Router) -> None:
    first, second = one.predict(PROMPTS), other.predict(PROMPTS)
    assert first.pool.names == second.pool.names
    for name in ("probabilities", "standard_errors", "expected_tokens"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert one.taken_for == other.taken_for


def test_what_was_learnt_is_saved_and_loaded_to_the_same_numbers(learnt, tmp_path):
    learnt.save(tmp_path / "mine")
    again = Router.from_pretrained(tmp_path / "mine")
    assert_same(again, learnt)
    again.save(tmp_path / "again")
    assert_same(Router.from_pretrained(tmp_path / "again"), learnt)
    assert again.predictor.catalogue.prices_as_of == "2026-01-15"
    assert_same(again.observe("one", "mine", 1.0), learnt.observe("one", "mine", 1.0))


def test_a_saved_router_takes_further_names(learnt, router, tmp_path):
    learnt.save(tmp_path / "mine")
    more = Router.from_pretrained(tmp_path / "mine", candidates=[*NAMES, "gpt-5"])
    assert_same(more.restrict_to(NAMES), learnt)
    assert_same(more.restrict_to(["gpt-5"]), router.with_candidates(["gpt-5"]))


def test_what_was_learnt_is_pickled(learnt):
    again = pickle.loads(pickle.dumps(learnt))
    assert_same(again, learnt)
    assert again.predictor.revision == learnt.predictor.revision != learnt.predictor.base_revision
    assert_same(again.with_candidates(NAMES, profiles={"mine": "llama-3.1-8b-instruct"}), learnt)


def test_a_pickle_whose_folder_has_changed_is_told(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    dumped = pickle.dumps(Router.from_pretrained(copy))
    record = json.loads((copy / "config.json").read_text())
    write_json(copy / "config.json", {**record, "name": "other"})
    with pytest.raises(CheckpointError, match="changed since it was pickled"):
        pickle.loads(dumped)


def test_orders_parts_and_other_names_have_the_same_numbers(learnt):
    turned = learnt.with_candidates(NAMES[::-1])
    np.testing.assert_array_equal(turned.predict(PROMPTS).scores[:, ::-1], learnt.predict(PROMPTS).scores)
    assert_same(learnt.restrict_to(["mine"]), learnt.with_candidates(["mine"]))
    named = learnt.with_aliases({"mine": "tuned"})
    np.testing.assert_array_equal(named.predict(PROMPTS).scores, learnt.predict(PROMPTS).scores)
    assert named.observe("one", "tuned", 0.0).pool.names == named.pool.names


def test_two_names_of_one_profile_are_said_to_be(router):
    both = router.with_candidates(["gpt-4o", "azure/gpt-4o-2024-11-20"])
    assert all("gpt-4o-2024-11-20" in words for words in both.taken_for.values())


@pytest.mark.parametrize("scores", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_scores_that_are_all_alike_teach_the_level(router, scores):
    start = router.with_candidates(["gpt-5"])
    taught = start.onboard(answers(["gpt-5"], scores)).predict(PROMPTS).probabilities
    assert np.isfinite(taught).all()
    assert ((taught > 0) & (taught < 1)).all()
    before = start.predict(PROMPTS).probabilities
    assert (np.abs(taught - scores[0]).mean()) < np.abs(before - scores[0]).mean()


def test_one_answer_is_enough_and_answers_of_others_join(router):
    taught = router.onboard(answers(["someone"], n=1))
    assert taught.pool.names == (*POOL, "someone")
    assert_same(taught.restrict_to(POOL), router)
    assert taught.taken_for["someone"] == "not known; starts from the population, 1 answer of yours"


def test_answers_that_teach_nothing_are_told(router):
    unscored = RoutingDataset.from_examples([RoutingExample("one", {"gpt-5": Outcome(response="x")})])
    with pytest.raises(DataError, match="gpt-5"):
        router.onboard(unscored)
    for scores in ((0.0, 1.5), (-1.0, 0.0)):
        with pytest.raises(DataError, match=r"\[0, 1\]"):
            router.onboard(answers(["gpt-5"], scores))
    with pytest.raises(DataError):
        router.onboard(RoutingDataset.from_examples([]))
    with pytest.raises(PromptError):
        router.observe("  ", POOL[0], 1.0)
    with pytest.raises(UnknownCandidateError):
        router.observe("one", "nobody", 1.0)


@pytest.mark.parametrize("candidates", [[], {}])
def test_an_empty_pool_is_told(folder, candidates):
    with pytest.raises(ConfigurationError, match="candidate"):
        Router.from_pretrained(folder, candidates=candidates)


def test_ones_own_prices_win_and_are_saved(router, tmp_path):
    priced = router.with_candidates([Candidate(name="gpt-5", usd_per_call=0.25), "claude-sonnet-4"])
    priced.save(tmp_path / "mine")
    pool = Router.from_pretrained(tmp_path / "mine").pool
    assert (pool[0].usd_per_call, pool[0].input_usd_per_million_tokens) == (0.25, None)
    assert pool[1].input_usd_per_million_tokens == 3.0


# Damages


def rewrite_arrays(path, **changes):
    with np.load(path / "profiles.npz") as arrays:
        found = {**arrays, **changes}
    np.savez_compressed(path / "profiles.npz", **{name: a for name, a in found.items() if a is not None})


def rewrite_catalogue(path, **changes):
    record = json.loads((path / "catalogue.json").read_text())
    (path / "catalogue.json").write_text(json.dumps({**record, **changes}))


DAMAGES = {
    "truncated arrays": lambda path: (path / "profiles.npz").write_bytes((path / "profiles.npz").read_bytes()[:-200]),
    "no arrays": lambda path: (path / "profiles.npz").unlink(),
    "other bytes": lambda path: (path / "profiles.npz").write_bytes(b"not a zip"),
    "an object": lambda path: rewrite_arrays(path, means=np.array([{"a": 1}])),
    "NaN": lambda path: rewrite_arrays(path, means=np.full((8, 4), np.nan)),
    "NaN of the population": lambda path: rewrite_arrays(path, **{"population.center": np.full(8, np.nan)}),
    "fewer means": lambda path: rewrite_arrays(path, means=np.zeros((2, 4))),
    "an array less": lambda path: rewrite_arrays(path, lengths=None),
    "narrow covariances": lambda path: rewrite_arrays(path, covariances=np.zeros((8, 3))),
    "wide means": lambda path: rewrite_arrays(path, means=np.zeros((8, 9))),
    "narrow components": lambda path: rewrite_arrays(path, **{"population.components": np.zeros((3, 2))}),
    "no catalogue": lambda path: (path / "catalogue.json").unlink(),
    "truncated catalogue": lambda path: (path / "catalogue.json").write_text('{"entries": ['),
    "a list": lambda path: (path / "catalogue.json").write_text("[]"),
    "no entries": lambda path: rewrite_catalogue(path, entries=None),
    "entries that are none": lambda path: rewrite_catalogue(path, entries=[{"nam": "x"}]),
    "entries that are text": lambda path: rewrite_catalogue(path, entries="gpt"),
    "a pool less": lambda path: rewrite_catalogue(path, pool=[]),
    "a member of nobody": lambda path: rewrite_catalogue(path, pool=[{"entry": "qqq", "how": "exact"}] * 3),
    "another network": lambda path: rewrite_catalogue(path, weights=["0" * 64]),
    "no network": lambda path: rewrite_catalogue(path, weights=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("is_recorded", [False, True], ids=["as found", "recorded anew"])
def test_damaged_profiles_are_told_and_nothing_is_read_of_them(folder, tmp_path, damage, is_recorded):
    """Also where the hashes fit, as in a folder that was made wrong."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    DAMAGES[damage](copy)
    if is_recorded:
        record = json.loads((copy / "config.json").read_text())
        for name in ("profiles.npz", "catalogue.json"):
            if (copy / name).is_file():
                record["files"][name] = vars(record_file(copy / name))
        write_json(copy / "config.json", record)
    with pytest.raises(CheckpointError) as caught:
        Router.from_pretrained(copy).route("one")
    assert str(copy) in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"code.tokens": np.zeros(11)},
        {"code.tokens": np.zeros((12, 1))},
        {"code.embedding": np.zeros(9)},
        {"code.bias": np.zeros(2)},
        {"code.bias": np.array(np.nan)},
        {"code.embedding": None},
        {"code.bias": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_damaged_reading_of_code_is_told_when_it_is_loaded(tmp_path, changes):
    code = CodeReading(np.linspace(-1, 1, WIDTH), np.linspace(1, -1, 12), 0.25)
    path = write_open_folder(tmp_path / "open-code", code=code)
    assert Router.from_pretrained(path).route("one").name
    rewrite_arrays(path, **changes)
    record = json.loads((path / "config.json").read_text())
    record["files"]["profiles.npz"] = vars(record_file(path / "profiles.npz"))
    write_json(path / "config.json", record)
    with pytest.raises(CheckpointError, match=r"profiles\.npz|open-code"):
        Router.from_pretrained(path)


def test_a_save_that_fails_leaves_what_was_there(learnt, folder, tmp_path, monkeypatch):
    target = shutil.copytree(folder, tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}

    def break_off(*_, **__):
        raise OSError("no space")

    monkeypatch.setattr("lookahead_router.predictors.open_pool_folder.np.savez", break_off)
    with pytest.raises(OSError, match="no space"):
        learnt.save(target)
    assert {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_of_something_else_is_left_alone(learnt, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds more"):
        learnt.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_profiles_are_read_without_a_network(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "onnx" / "model_int8.onnx").unlink()
    _, catalogue, members = read_profiles(PredictorFolder(copy))
    assert [member.candidate.name for member in members] == list(POOL)
    assert len(catalogue) == 8


def test_a_predictor_that_came_from_nowhere_is_neither_saved_nor_pickled(router):
    predictor = router.predictor
    loose = OpenPoolPredictor(
        foresee=predictor.foresee,
        population=predictor.population,
        catalogue=predictor.catalogue,
        members=predictor.members,
        name="loose",
        base_revision="0",
    )
    with pytest.raises(ConfigurationError, match="folder"):
        pickle.dumps(loose)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (make_graph(n_demands=1), "gives 1 demands"),
        (make_graph(n_demands=7), "gives 7 demands"),
        (make_graph(width=1), "embeddings of 1 numbers"),
        (make_graph(flat=False), "belong to another predictor"),
    ],
)
def test_a_network_of_other_outputs_is_told_when_it_is_loaded(tmp_path, graph, words):
    folder = write_open_folder(tmp_path / "odd", graph)
    with pytest.raises(CheckpointError, match=words):
        Router.from_pretrained(folder)
