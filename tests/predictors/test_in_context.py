"""`in-context`: candidates are known by their records, which one network reads."""

import sys

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import ConfigurationError, DataError, NotFittedError, UnknownCandidateError
from lookahead_router.predictors.fitted import InContext
from lookahead_router.predictors.fitted.descending import scaled
from lookahead_router.predictors.fitted.in_context import Episodes, log_odds
from lookahead_router.router import Router

N_CLUSTERS, WIDTH = 4, 16


class Clusters:
    """Orthogonal clusters with a little noise; a prompt says which is its own."""

    fingerprint = location = "clusters"

    def embed(self, texts):
        found = []
        for text in texts:
            cluster, number = map(int, text.split())
            noise = np.random.default_rng(number).normal(size=WIDTH) * 0.05
            found.append(np.eye(WIDTH)[cluster] + noise)
        found = np.array(found).reshape(-1, WIDTH)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def answers(chances, n, seed, first=0):
    """Scored answers of candidates with a chance in each cluster, `{name: (4,) chances}`, to n prompts."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(first, first + n):
        cluster = number % N_CLUSTERS
        outcomes = {name: Outcome(score=float(generator.random() < p[cluster])) for name, p in chances.items()}
        rows.append(RoutingExample(f"{cluster} {number}", outcomes))
    return RoutingDataset.from_examples(rows)


def specialists(n=8, seed=0):
    drawn = np.random.default_rng(seed).random((n, N_CLUSTERS)).round()
    return {f"known {k}": 0.05 + 0.9 * row for k, row in enumerate(drawn)}


NEWCOMER = {"new": np.array([0.95, 0.05, 0.05, 0.05]), "flat": np.full(N_CLUSTERS, 0.5)}


@pytest.fixture(scope="module")
def reader():
    """Trained on specialists, none of whom is the newcomer."""
    settings = {"n_epochs": 20, "learning_rate": 0.01, "weight_decay": 0.0}
    return InContext(embedder=Clusters(), **settings).fit(answers(specialists(), 400, 1))


@pytest.fixture(scope="module")
def joined(reader):
    return reader.onboard(answers(NEWCOMER, 80, 2, first=1000)).with_candidates(["new", "flat"])


def test_a_candidate_that_training_never_saw_gets_the_prompts_that_its_record_is_good_at(joined):
    asked = [f"{number % N_CLUSTERS} {number}" for number in range(5000, 5400)]
    choices = joined.predict(asked).scores.argmax(axis=1)
    own = np.arange(400) % N_CLUSTERS == 0
    assert (choices[own] == 0).mean() >= 0.95
    assert (choices[~own] == 1).mean() >= 0.95


def test_joining_and_predicting_need_no_torch(reader, joined, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    again = reader.onboard(answers(NEWCOMER, 80, 2, first=1000)).with_candidates(["new", "flat"])
    assert again.revision == joined.revision
    np.testing.assert_array_equal(again.predict(["0 9"]).scores, joined.predict(["0 9"]).scores)


def test_who_is_known_is_foreseen_as_before(reader):
    wider = reader.onboard(answers(NEWCOMER, 40, 2, first=1000))
    prompts = ["0 1", "3 7000"]
    before, after = reader.predict(prompts), wider.predict(prompts)
    np.testing.assert_allclose(after.select(reader.pool.names).scores, before.scores, atol=1e-9)
    back = wider.with_candidates(reader.pool.names)
    np.testing.assert_allclose(back.predict(prompts).scores, before.scores, atol=1e-9)
    assert len(back._arrays["anchors"]) == len(reader._arrays["anchors"])


def test_the_order_of_answers_and_candidates_changes_nothing(reader):
    record = answers(NEWCOMER, 60, 2, first=1000)
    turned = record.select(np.random.default_rng(0).permutation(60)).with_candidates(["flat", "new"])
    names, prompts = ["new", "flat"], ["0 1", "2 2"]
    found = [reader.onboard(each).with_candidates(names).predict(prompts).scores for each in (record, turned)]
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.parametrize(("score", "low", "high"), [(1.0, 0.9, 1.0), (0.6, 0.59, 0.61), (0.0, 0.0, 0.1)])
def test_a_record_of_one_score_gives_that_score(reader, score, low, high):
    rows = [RoutingExample(f"{n % 4} {n}", {"even": Outcome(score=score)}) for n in range(200)]
    one = reader.onboard(RoutingDataset.from_examples(rows)).with_candidates(["even"])
    scores = one.predict(["0 1", "3 2"]).scores
    assert (scores >= low).all()
    assert (scores <= high).all()


def test_a_record_that_is_nothing_like_the_prompt_gives_its_mean(reader):
    rows = [
        RoutingExample(f"{row % 2} {row}", {("here", "elsewhere")[row % 2]: Outcome(score=float(row % 4 < 2))})
        for row in range(80)
    ]
    two = reader.onboard(RoutingDataset.from_examples(rows)).with_candidates(["here", "elsewhere"])
    two._arrays = {**two._arrays, "query": two._arrays["query"] * 1e3}  # attention that leaves nothing to others
    assert two.predict(["0 1"]).scores[0, 1] == pytest.approx(0.5, abs=0.1)


def test_further_answers_make_a_record_longer_and_change_what_is_foreseen(joined):
    further = joined.onboard(answers({"new": np.array([0.0, 1.0, 0.0, 0.0])}, 200, 3, first=2000))
    assert further.pool.names == joined.pool.names
    assert further.predict(["1 1"]).scores[0, 0] > joined.predict(["1 1"]).scores[0, 0] + 0.3
    assert further.revision != joined.revision


def test_who_joined_is_saved_and_routed_to(joined, tmp_path):
    joined.save(tmp_path / "saved")
    again = InContext.load(tmp_path / "saved", embedder=Clusters())
    assert again.revision == joined.revision
    assert Router(again).route("0 3").name == "new"
    assert Router(again).route("1 3").name == "flat"


def test_what_cannot_be_read_is_said(reader):
    with pytest.raises(NotFittedError):
        InContext(embedder=Clusters()).onboard(answers(NEWCOMER, 40, 2))
    with pytest.raises(DataError, match=r"at least 20 scored answers; too few of new \(10\), flat \(10\)"):
        reader.onboard(answers(NEWCOMER, 10, 2))
    with pytest.raises(UnknownCandidateError, match="stranger"):
        reader.with_candidates(["known 1", "stranger"])


def test_a_record_holds_so_many_answers_of_each_candidate():
    scores = np.full((300, 2), 0.5)
    scores[30:, 1] = np.nan
    kept = InContext(n_anchors=50)._kept(scores)
    assert (~np.isnan(scores[kept])).sum(axis=0).tolist()[1] == 30
    assert 50 <= len(kept) <= 80


def test_what_is_asked_in_training_is_never_on_the_record():
    sources = np.array(["a"] * 700 + ["b"] * 40 + ["c"])
    draw, generator = Episodes(sources), np.random.default_rng(0)
    for _ in range(50):
        record, asked = draw(generator)
        assert len(asked) >= 1
        assert len(record) >= 1
        assert not set(record) & set(asked)
        assert len(set(record)) == len(record)


def test_predicting_without_torch_is_what_was_trained(reader):
    import torch

    from lookahead_router.networks.episodes import read

    generator = np.random.default_rng(0)
    network = {name: reader._arrays[name] for name in reader._arrays if name not in ("anchors", "scores")}
    network = {name: value + generator.normal(0, 0.1, value.shape) for name, value in network.items()}
    x, anchors = (scaled(generator.normal(size=(n, WIDTH)) / 4) for n in (5, 30))
    scores = generator.random((30, 3))
    scores[generator.random(scores.shape) < 0.3] = np.nan
    key = np.einsum("nh,ahd->and", anchors, network["key"])
    tensors = {name: torch.tensor(value) for name, value in network.items()}
    given = (torch.tensor(each) for each in (x, anchors, np.nan_to_num(scores), (~np.isnan(scores)).astype(float)))
    np.testing.assert_allclose(log_odds(network, x, key, scores), read(tensors, *given).numpy(), atol=1e-9)


def test_a_router_takes_in_records_under_its_own_names(reader):
    router = Router(reader, aliases={"known 0": "mine"})
    wider = router.onboard(answers({**NEWCOMER, "mine": np.ones(N_CLUSTERS)}, 40, 3, first=2000))
    assert wider.pool.names == ("mine", *reader.pool.names[1:], "new", "flat")
    assert wider.predictor.pool.names == (*reader.pool.names, "new", "flat")
    assert wider.predictor.n_on_record["known 0"] == reader.n_on_record["known 0"] + 40
    assert wider.predictor.n_on_record["new"] == 40
    with pytest.raises(ConfigurationError, match="answers beside tell"):
        router.onboard(answers(NEWCOMER, 40, 3), beside=answers(NEWCOMER, 40, 3))
