"""Cascades on answers that are there already."""

import json

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.duplicates import folds_of
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.dispatch.checks import OwnCheck, Refusal, Reliability, read_checks
from lookahead_router.dispatch.stopping import Stopping
from lookahead_router.errors import ConfigurationError, DataError, UnknownCandidateError
from lookahead_router.evaluation import hops
from lookahead_router.evaluation.cascade_report import compare_cascades
from lookahead_router.evaluation.cascades import Looked, measure_checks, replay, stop_in_hindsight
from lookahead_router.evaluation.compare import Material
from lookahead_router.evaluation.entries import Entry
from lookahead_router.predictors.fitted import BestSingle, NearestNeighbors

N = 600
TELLS = OwnCheck(lambda question, text: text == "right", Reliability(0.5, 0.4), name="tells")


def world(n=N, seed=0, *, text=lambda is_right, row, k: "right" if is_right else "wrong", **changes):
    """`cheap` is right on 60 % for 1 dollar, `dear` always for 10; nothing of it shows in the prompt."""
    generator = np.random.default_rng(seed)
    examples = []
    for row in range(n):
        right = {"cheap": generator.random() < 0.6, "dear": True}
        outcomes = {
            name: Outcome(response=text(is_right, row, k), score=float(is_right), cost_usd=(1.0, 10.0)[k])
            for k, (name, is_right) in enumerate(right.items())
        }
        split = ("train", "validation", "test")[row % 3]
        examples.append(RoutingExample(f"tell me of {row}", outcomes, str(row), "chat", split))
    return RoutingDataset.from_examples(examples)


def material(dataset, name="world"):
    return Material(name, "test", *(dataset.filter(split=split) for split in ("test", "train", "validation")))


def run(dataset, checks, **options):
    options = {"n_resamples": 20, **options}
    return compare_cascades([Entry("rule", baseline="rule")], [material(dataset)], checks, **options).datasets[0]


def lines_of(result):
    return {line.label: line for line in result.entries[0].lines}


def test_a_perfect_check_gives_quality_1_at_cost_5():
    lines = lines_of(run(world(), [TELLS]))
    cascade = lines["up to 2 calls"]
    best = int(np.argmax(np.array(cascade.frontier_score) - 1e-3 * np.array(cascade.frontier_usd)))
    assert cascade.frontier_score[best] == pytest.approx(1.0)
    assert cascade.frontier_usd[best] == pytest.approx(5.0, abs=0.7)
    assert cascade.minus_before.low > 0.05
    assert cascade.saved["1.00"].value == pytest.approx(0.5, abs=0.07)


def test_a_learnt_policy_finds_what_a_perfect_check_is_worth(monkeypatch):
    for name, value in {"N_UPDATES": 60, "N_EPISODES": 128, "LEARNING_RATE": 0.01}.items():
        monkeypatch.setattr(hops, name, value)
    lines = lines_of(run(world(), [TELLS], n_learnt=2))
    learnt, optimum = lines["learnt, up to 2 calls"], lines["optimum on these prompts"]
    assert learnt.minus_before.low > 0.05
    assert len(learnt.seed_areas) == 2
    assert learnt.area.value == pytest.approx(np.mean(learnt.seed_areas), abs=0.01)
    assert optimum.area.value >= learnt.area.value - 0.005
    assert optimum.frontier_score[0] == pytest.approx(1.0)


def test_a_comparison_tells_how_far_it_is_up_to_the_policies_that_it_learns(monkeypatch):
    monkeypatch.setattr(hops, "N_UPDATES", 3)
    told = []
    run(world(120), [TELLS], n_learnt=2, on_progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] < 1
    words = list(dict.fromkeys(what for what, _ in told))
    assert words[0] == "world: looking at answers"
    assert "world: rule: learning policy 2" in words
    assert words[-1] == "world: rule: solving for the optimum"


class Lengths:
    """Embeds a prompt by its length, and keeps what it was asked."""

    fingerprint = location = "lengths"

    def __init__(self):
        self.texts = []

    def embed(self, texts):
        self.texts.extend(texts)
        angles = np.array([len(text) for text in texts], dtype=np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_policy_is_learnt_on_chances_of_predictors_that_have_not_seen_the_prompt():
    dataset = world(300)
    train, validation = (dataset.filter(split=split) for split in ("train", "validation"))
    before = np.full((len(validation), 2), 0.25)
    fitted = BestSingle().fit(train)
    rows, chances = hops.experience(fitted, train, validation, before)
    assert len(rows) == len(chances) == len(train) + len(validation)
    assert (chances[: len(validation)] == 0.25).all()
    folds = folds_of(train.prompts, hops.N_FOLDS, 0)
    others = [train.scores[folds != fold].mean(axis=0) for fold in folds]
    np.testing.assert_allclose(chances[len(validation) :], others)
    knn = NearestNeighbors(embedder=Lengths(), n_neighbors=5).fit(train)
    knn.embedder.texts.clear()
    _, chances = hops.experience(knn, train, validation, before)
    assert sorted(knn.embedder.texts) == sorted(train.prompts)  # each is embedded once
    part = NearestNeighbors(embedder=Lengths(), n_neighbors=5).fit(train.select(folds != 0))
    held = train.select(folds == 0)
    np.testing.assert_allclose(chances[len(validation) :][folds == 0], part.predict(held.prompts).scores)
    rows, chances = hops.experience(object(), train, validation, before)
    assert len(rows) == len(chances) == len(validation)


def test_a_check_that_tells_nothing_gives_what_mixing_gives():
    constant = OwnCheck(lambda question, text: True, Reliability(0.5, 0.4), name="constant")
    lines = lines_of(run(world(), [constant]))
    assert lines["up to 2 calls"].minus_before.value == pytest.approx(0.0, abs=1e-9)
    shuffled = lines_of(run(world(), [TELLS]))["checks shuffled"]
    assert shuffled.area.value < lines["before the call"].area.value + 0.02


def test_all_calls_are_paid_and_the_oracle_stop_pays_for_its_way():
    scores = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    costs = np.tile([3.0, 1.0, 10.0], (3, 1))
    asked = stop_in_hindsight(scores, costs)
    assert asked.accepted.tolist() == [1, 0, 1]
    assert (costs * asked.is_asked).sum(axis=1).tolist() == [1.0, 4.0, 1.0]
    assert asked.n_calls.tolist() == [1, 2, 1]


def test_an_answer_is_seen_only_once_it_was_paid_for():
    dataset = world(60)
    stopping = Stopping((Reliability(0.99, 0.01),), 2)
    chances, prices = np.tile([0.6, 0.99], (60, 1)), np.tile([0.02, 0.2], (60, 1))
    first = replay(stopping, Looked.at(dataset, [TELLS]), chances, prices)
    changed = world(60, text=lambda is_right, row, k: "junk" if k else "right" if is_right else "wrong")
    again = replay(stopping, Looked.at(changed, [TELLS]), chances, prices)
    assert first.n_calls.tolist() == again.n_calls.tolist() == [1 if right else 2 for right in dataset.scores[:, 0]]
    assert first.is_asked[:, 0].all()


def test_reliability_is_measured_and_what_a_source_tells_counts_nothing():
    dataset = world(900)
    looked = Looked.at(dataset, [TELLS])
    (found,) = measure_checks(looked, np.tile([0.6, 0.99], (900, 1)), dataset.scores, dataset.sources)
    assert found.reliability.passes_right > 0.95
    assert found.reliability.passes_wrong < 0.1
    assert found.auc > 0.99
    of_source = OwnCheck(lambda question, text: int(question.split()[-1]) % 2 == 0, TELLS.reliability)
    scores = np.tile(np.where(np.arange(900) % 2 == 0, 0.9, 0.1)[:, None], 2)
    (known,) = measure_checks(Looked.at(dataset, [of_source]), scores, scores, dataset.ids.astype(int) % 2)
    assert known.reliability.passes_right - known.reliability.passes_wrong < 0.05, "foreseen already"


def test_agreement_is_measured_on_pairs_with_the_errors_that_candidates_share():
    generator = np.random.default_rng(3)
    examples = []
    for row in range(600):
        hard, answers = generator.random() < 0.5, {}
        for name in ("a", "b", "c"):
            is_right = generator.random() < (0.2 if hard else 0.9)
            answer = "A" if is_right else "BC"[generator.integers(2)]
            answers[name] = Outcome(response=answer, score=float(is_right), cost_usd=1.0)
        examples.append(RoutingExample(f"which {row}", answers, str(row), "choice", "test"))
    dataset = RoutingDataset.from_examples(examples)
    (found,) = measure_checks(
        Looked.at(dataset, read_checks(["agreement"])), np.full((600, 3), 0.55), dataset.scores, dataset.sources
    )
    measured = found.reliability
    assert found.n_looked == 1800
    assert found.silent == 0
    assert measured.passes_right > 0.99
    assert measured.passes_mixed < 0.01
    assert measured.passes_wrong == pytest.approx(0.5, abs=0.06)
    assert measured.correlation == pytest.approx(0.49, abs=0.08)
    assert measured.others_failed < 0 < measured.others_passed


def test_an_order_has_a_line_of_its_own_and_the_report_is_plain_json():
    result = run(world(90), [TELLS, Refusal()], order=["cheap", "dear"])
    assert [line.label for line in result.entries[0].lines] == [
        "before the call", "up to 2 calls", "cheap > dear", "checks shuffled",
    ]  # fmt: skip
    report = compare_cascades([Entry("rule", baseline="rule")], [material(world(90))], [TELLS], n_resamples=10)
    assert json.loads(json.dumps(report.to_dict()))["datasets"][0]["best_single"] == "dear"
    assert result.hindsight[0].n_calls == 1.0


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        ({}, {"max_calls": 1}, ConfigurationError, "whole number from 2 to 4"),
        ({}, {"max_calls": 2.0}, ConfigurationError, "whole number from 2 to 4"),
        ({}, {"order": ["cheap"]}, ConfigurationError, "at least as many as there may be calls"),
        ({}, {"order": ["cheap", "cheap"]}, ConfigurationError, "each candidate once"),
        ({}, {"order": "cheap"}, ConfigurationError, "each candidate once"),
        ({}, {"order": ["cheap", "other"]}, UnknownCandidateError, "other"),
        ({"responses": None}, {}, DataError, "no row holds a response"),
        ({"costs_usd": np.nan}, {}, DataError, "dollars are not known"),
    ],
)
def test_what_a_cascade_cannot_be_measured_on_is_said(change, options, error, message):
    dataset = world(90)
    for name, value in change.items():
        getattr(dataset, name)[:] = value
    with pytest.raises(error, match=message):
        run(dataset, [TELLS], **options)


def test_without_a_validation_split_checks_cannot_be_measured():
    dataset = world(90)
    part = Material("world", "test", dataset.filter(split="test"), dataset.filter(split="train"))
    with pytest.raises(DataError, match="world: a cascade needs a train and a validation split"):
        compare_cascades([Entry("rule", baseline="rule")], [part], [TELLS])
