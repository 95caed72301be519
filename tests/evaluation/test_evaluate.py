import json

import numpy as np
import pytest

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import DataError, PoolMismatchError
from lookahead_router.evaluation.compare import Material, compare
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.evaluate import evaluate
from lookahead_router.policies import CostAware
from lookahead_router.router import Router
from lookahead_router.types import CandidatePool, Prediction


class ByText:
    """Chooses the candidate that the prompt names."""

    name, revision = "by-text", None
    pool = CandidatePool(["a", "b"])

    def predict(self, prompts):
        return Prediction(self.pool, [[float(str(p)[-1] == "a"), float(str(p)[-1] == "b")] for p in prompts])


def example(prompt, a, b, source="s", split="test"):
    return RoutingExample(prompt, {"a": Outcome(score=a), "b": Outcome(score=b)}, source=source, split=split)


@pytest.fixture
def rows():
    return RoutingDataset.from_examples(
        [
            example("1 a", 1.0, 0.0),
            example("2 b", 0.0, 1.0),
            example("3 b", 1.0, 0.0),
            example("4 a", 0.5, 0.5),
            example("5 a", 0.2, 0.8, source="t"),
            example("6 b", 0.0, 1.0, source="t"),
        ]
    )


def test_the_report_counts_by_hand(rows):
    train = RoutingDataset.from_examples([example("x", 0.1, 0.9, split="train")])
    report = evaluate(Router(ByText()), rows, train=train)
    s, t = report.sources
    assert (s.source, s.n_prompts, s.router, s.random, s.oracle) == ("s", 4, 0.625, 0.5, 0.875)
    assert s.normalized.value == pytest.approx(100 / 3)
    assert s.hit_rate == 0.75
    assert s.shares == {"a": 0.5, "b": 0.5}
    assert report.best_single == "b"
    assert s.best_single == 0.375
    assert s.hindsight == 0.625
    assert t.normalized.value == pytest.approx(100 * (0.6 - 0.5) / (0.9 - 0.5))
    assert report.average.normalized.value == pytest.approx((100 / 3 + 25) / 2)
    assert report.average.n_prompts == 6


def test_without_training_data_there_is_no_best_single(rows):
    report = evaluate(Router(ByText()), rows)
    assert report.best_single is None
    assert report.average.best_single_normalized is None


def test_the_order_of_the_datasets_candidates_does_not_matter(rows):
    swapped = rows.align(CandidatePool(["b", "a"]))
    assert evaluate(Router(ByText()), swapped).average.router == evaluate(Router(ByText()), rows).average.router


def test_prompts_without_every_score_are_left_out_and_counted(rows):
    more = RoutingDataset.from_examples([*rows, example("7 a", None, 1.0)])
    report = evaluate(Router(ByText()), more)
    assert report.n_unscored == 1
    assert report.average.n_prompts == 6


def test_nothing_scored_is_an_error():
    rows = RoutingDataset.from_examples([example("7 a", None, 1.0)])
    with pytest.raises(DataError, match="no prompt has a score of every candidate"):
        evaluate(Router(ByText()), rows)


def test_other_candidates_are_an_error():
    rows = RoutingDataset.from_examples([RoutingExample("x", {"a": Outcome(score=1.0), "c": Outcome(score=0.0)})])
    with pytest.raises(PoolMismatchError, match=r"missing \['b'\], unexpected \['c'\]"):
        evaluate(Router(ByText()), rows)


def test_a_source_on_which_nothing_can_be_gained_does_not_spoil_the_average(rows):
    more = RoutingDataset.from_examples([*rows, example("8 a", 0.5, 0.5, source="flat")])
    report = evaluate(Router(ByText()), more)
    assert np.isnan(report.sources[-1].normalized.value)
    assert report.average.normalized.value == pytest.approx((100 / 3 + 25) / 2)


def test_the_report_is_plain_json(rows):
    more = RoutingDataset.from_examples([*rows, example("8 a", 0.5, 0.5, source="flat")])
    record = json.loads(json.dumps(evaluate(Router(ByText()), more).to_dict(), allow_nan=False))
    assert record["sources"][-1]["normalized"] == {"value": None, "low": None, "high": None}


def test_the_interval_holds_the_value(rows):
    normalized = evaluate(Router(ByText()), rows).average.normalized
    assert normalized.low < normalized.value < normalized.high


def test_the_average_is_a_plain_mean_over_the_benchmarks():
    big = [example(f"{row} a", 1.0, 0.0, source="big") for row in range(9)]
    report = evaluate(Router(ByText()), RoutingDataset.from_examples([*big, example("x b", 1.0, 0.0, source="small")]))
    assert [one.normalized.value for one in report.sources] == [100, -100]
    assert (report.average.normalized.value, report.average.router) == (0, 0.5)


def test_it_is_a_comparison_of_one_with_the_same_figures_and_intervals(rows):
    train = RoutingDataset.from_examples([example("x", 0.1, 0.9, split="train"), example("5  A", 0.1, 0.9)])
    router = Router(ByText())
    report = evaluate(router, rows, train=train, n_resamples=50)
    (dataset,) = compare(
        [Entry("it", router=router), Entry("rule", baseline="rule")],
        [Material("d", "test", rows, train)],
        n_resamples=50,
    ).datasets
    found = dataset.predictors[0]
    assert report.router == repr(router)
    assert report.average.normalized == found.average
    assert {one.source: one.normalized for one in report.sources} == found.by_source
    assert report.data_fingerprint == dataset.fingerprint
    assert report.leakage == dataset.leakage
    assert report.leakage.ids == ("4",)


def test_its_choices_are_those_of_the_router_under_its_own_prices(rows):
    router = Router(ByText()).with_prices({"a": 5.0, "b": 0.0}).with_policy(CostAware(10.0))
    assert evaluate(router, rows).average.shares == {"a": 0.0, "b": 1.0}
    assert {decision.name for decision in router.route_batch(rows.prompts)} == {"b"}


def test_an_error_of_the_predictor_is_raised(rows):
    class Broken(ByText):
        def predict(self, prompts):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(Router(Broken()), rows)
