import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation.two_candidates import ENTRIES, PRICES, by_label, material, run, world
from hypothesis import given
from hypothesis import strategies as st

from lookahead_router import metrics
from lookahead_router.errors import ConfigurationError, DataError, PoolMismatchError, UncalibratedScoresWarning
from lookahead_router.evaluation.compare import Material
from lookahead_router.evaluation.entries import Entry, Foresight
from lookahead_router.evaluation.evaluate import evaluate
from lookahead_router.evaluation.results import Reference
from lookahead_router.policies import BestQuality, CostAware, Threshold
from lookahead_router.predictors.fitted.best_single import BestSingle
from lookahead_router.predictors.fitted.random_choice import RandomChoice
from lookahead_router.predictors.fitted.rule import Rule
from lookahead_router.router import Router


@pytest.fixture(scope="module")
def result():
    return run().datasets[0]


def test_figures_are_those_of_the_routers_decisions(result):
    given = material()
    rows = given.evaluation
    for kind in (Rule, BestSingle, RandomChoice):
        predictor = kind().fit(given.train)
        choices = [rows.pool.index(decision.name) for decision in Router(predictor).route_batch(rows.prompts)]
        chosen = rows.scores[np.arange(len(rows)), choices]
        found = by_label(result)[predictor.kind]
        levels = []
        for source in ("code", "chat"):
            mask = rows.sources == source
            levels.append(metrics.normalized_score(chosen[mask], rows.scores[mask]))
            assert found.by_source[source].value == pytest.approx(levels[-1])
            assert found.score_by_source[source] == pytest.approx(chosen[mask].mean())
            assert found.hit_rate_by_source[source] == metrics.hit_rate(chosen[mask], rows.scores[mask])
            shares = np.bincount(np.array(choices)[mask], minlength=2) / mask.sum()
            assert list(found.shares_by_source[source].values()) == pytest.approx(shares)
        assert found.average.value == pytest.approx(np.mean(levels))
        assert found.hit_rate == metrics.hit_rate(chosen, rows.scores)
        assert found.score == pytest.approx(chosen.mean())


def test_the_first_predictor_is_what_the_others_are_compared_to(result):
    found = by_label(result)
    assert result.reference == "rule"
    assert found["rule"].minus_reference is None
    for label in ("best-single", "random"):
        gap = found[label].minus_reference
        assert gap.value == pytest.approx(found[label].average.value - found["rule"].average.value)


def test_a_predictor_against_itself_differs_by_nothing():
    given = material()
    again = Entry("again", router=Router(Rule().fit(given.train)))
    found = by_label(run([ENTRIES[0], again], materials=[given]).datasets[0])
    assert found["again"].minus_reference == (0, 0, 0)
    assert found["again"].cost.saved_minus_reference == {"1.00": (0, 0, 0), "0.95": (0, 0, 0)}
    assert found["again"].average == found["rule"].average


def test_references_stand_beside(result):
    found = {one.reference: one for one in result.references}
    assert list(found) == list(Reference)
    assert found["random"].average.value == pytest.approx(0, abs=1e-3)
    assert found["oracle"].average.value == pytest.approx(100, abs=1e-3)
    assert result.best_single == "dear"
    assert found["best single"].average.value == pytest.approx(by_label(result)["best-single"].average.value)
    # Where both are right the oracle takes the cheap one.
    rows = material().evaluation
    cheapest = np.where(rows.scores[:, 0] >= rows.scores[:, 1], rows.costs_usd[:, 0], rows.costs_usd[:, 1])
    assert found["oracle"].mean_usd == pytest.approx(cheapest.mean())


def test_the_keyword_rule_saves_dollars_at_the_best_candidates_quality(result):
    found = by_label(result)
    assert found["rule"].cost.is_reached == {"1.00": True, "0.95": True}
    rows, cost = material().evaluation, found["rule"].cost
    single_score, single_usd = rows.scores[:, 1].mean(), rows.costs_usd[:, 1].mean()
    for share in (1.0, 0.95):
        least = metrics.cost_at_quality(
            np.array(cost.frontier_usd), np.array(cost.frontier_score), share * single_score
        )
        assert cost.saved[f"{share:.2f}"].value == pytest.approx(1 - least / single_usd, abs=1e-3)
    at_equal_cost = metrics.quality_at_cost(np.array(cost.frontier_usd), np.array(cost.frontier_score), single_usd)
    assert cost.score_at_best_single_usd == pytest.approx(at_equal_cost, abs=1e-3)
    assert at_equal_cost > single_score
    # Each prompt to who is better at its kind costs less than the dear one always, and scores more.
    spent = np.where(rows.sources == "code", rows.costs_usd[:, 1], rows.costs_usd[:, 0]).mean()
    assert cost.saved["1.00"].value >= 1 - spent / single_usd
    assert found["best-single"].cost.saved["1.00"].value == pytest.approx(0, abs=1e-6)
    assert found["best-single"].cost.saved_minus_reference["1.00"].high < 0
    assert found["rule"].cost.area > found["best-single"].cost.area > 0


def test_wins_and_losses_count_by_the_number_of_right_candidates(result):
    rows = material().evaluation
    table = {number: rest for number, *rest in by_label(result)["rule"].against_best_single}
    n_right = rows.scores.sum(axis=1)
    assert {number: rest[0] for number, rest in table.items()} == {n: int((n_right == n).sum()) for n in (0, 1, 2)}
    for n_prompts, wins, ties, losses in table.values():
        assert n_prompts > 0
        assert wins + ties + losses == pytest.approx(1)


def test_calibration_is_fitted_on_validation_and_measured_here(result):
    given = material()
    predictor = Rule().fit(given.train).fit_calibration(given.validation)
    probabilities = predictor.predict(given.evaluation.prompts).probabilities
    errors = [
        metrics.expected_calibration_error(p, y)
        for p, y in zip(probabilities.T, given.evaluation.scores.T, strict=True)
    ]
    found = by_label(result)["rule"].calibration
    assert found.error == pytest.approx(np.mean(errors))
    assert len(found.predicted) == len(found.observed) == 10
    assert list(found.predicted) == sorted(found.predicted)


def test_seeds_are_averaged():
    dataset = run([Entry("random", baseline="random")], n_seeds=3).datasets[0]
    found = dataset.predictors[0]
    assert len(found.seeds) == len(set(found.revisions)) == 3
    assert found.average.value == pytest.approx(np.mean(found.seeds), abs=1e-3)
    one = run([Entry("rule", baseline="rule")], n_seeds=3).datasets[0].predictors[0]
    assert len(one.seeds) == 1


def test_a_failing_predictor_is_a_row_and_the_others_go_on(monkeypatch, predictor_folder):
    def fail(self, features, arrays):
        raise ZeroDivisionError("secret prompt")

    monkeypatch.setattr(BestSingle, "_predict", fail)
    entries = [
        Entry("best-single", baseline="best-single"),
        Entry("other", locations=(str(predictor_folder),)),
        ENTRIES[0],
    ]
    dataset = run(entries).datasets[0]
    found = by_label(dataset)
    assert found["best-single"].error.startswith("ZeroDivisionError")
    assert "secret" not in json.dumps(dataset.predictors, default=str)
    assert "other candidates" in found["other"].error
    assert found["other"].average is None
    assert dataset.reference == "rule"
    assert found["rule"].average is not None


def test_when_every_predictor_fails_the_references_remain():
    lonely = Material("w", "test", world(30).filter(split="test"))
    dataset = run(ENTRIES, materials=[lonely]).datasets[0]
    assert all("no training split" in one.error for one in dataset.predictors)
    assert dataset.reference == ""
    assert [one.reference for one in dataset.references] == [name for name in Reference if name != "best single"]
    assert dataset.best_single is None
    assert dataset.leakage is None


def test_the_saved_predictor_with_the_datasets_candidates_is_taken(predictor_folder, dataset, tmp_path):
    given = material(dataset, "toy")
    Rule().fit(material().train).save(tmp_path / "rule-of-world")
    entry = Entry("saved", locations=(str(tmp_path / "rule-of-world"), str(predictor_folder)))
    report = run([entry], materials=[given, material()])
    toy, other = (one.predictors[0] for one in report.datasets)
    assert toy.error is other.error is None
    expected = evaluate(Router.from_pretrained(predictor_folder), given.evaluation, n_resamples=10)
    assert toy.average.value == pytest.approx(expected.average.normalized.value, abs=1e-3)
    assert toy.revisions != other.revisions
    nowhere = Material("w", "test", world(30, names=("cheap", "dear")).filter(split="test"))
    renamed = Entry("saved", locations=(str(predictor_folder), str(predictor_folder)))
    assert "none of its saved predictors" in run([renamed], materials=[nowhere]).datasets[0].predictors[0].error


def test_columns_in_another_order_change_nothing(predictor_folder, dataset):
    entry = Entry("saved", locations=(str(predictor_folder),))
    given = material(dataset)
    turned = Material("w", "test", given.evaluation.align(given.evaluation.pool.subset(given.evaluation.pool.names)))
    reverse = type(given.evaluation.pool)(list(given.evaluation.pool)[::-1])
    reversed_ = Material("w", "test", given.evaluation.align(reverse), given.train)
    values = [run([entry], materials=[one]).datasets[0].predictors[0].average.value for one in (turned, reversed_)]
    assert values[0] == pytest.approx(values[1], abs=1e-3)


def test_a_policy_weighs_the_training_splits_costs():
    plain, thrifty = (run(policy=policy).datasets[0] for policy in (None, CostAware(1e9)))
    assert by_label(thrifty)["rule"].shares == {"cheap": 1.0, "dear": 0.0}
    assert by_label(plain)["rule"].shares["dear"] > 0.4
    assert by_label(thrifty)["rule"].cost.mean_usd < by_label(plain)["rule"].cost.mean_usd


def test_a_threshold_reads_calibrated_probabilities():
    dataset = run(policy=Threshold(0.6)).datasets[0]
    found = by_label(dataset)["rule"]
    assert found.shares_by_source["code"] == {"cheap": 0.0, "dear": 1.0}
    assert found.shares_by_source["chat"] == {"cheap": 1.0, "dear": 0.0}
    uncalibrated = Material("w", "test", material().evaluation, material().train)
    with pytest.warns(UncalibratedScoresWarning, match="not calibrated"):  # as its router would
        found = run([ENTRIES[0]], materials=[uncalibrated], policy=Threshold(0.6)).datasets[0].predictors[0]
    assert found.error is None


def test_without_dollars_there_is_no_cost():
    dataset = run(materials=[material(world(120, has_costs=False))]).datasets[0]
    assert all(one.cost is None for one in dataset.predictors)
    assert all(one.mean_usd is None for one in (*dataset.references, *dataset.candidates))
    failed = run(policy=CostAware(1.0), materials=[material(world(120, has_costs=False))]).datasets[0]
    assert "usd_per_call" in failed.predictors[0].error


def test_what_was_done_is_read_from_the_cache(tmp_path, monkeypatch):
    first = run(cache=tmp_path)
    for kind in (Rule, BestSingle, RandomChoice):
        monkeypatch.setattr(kind, "_fit", None)
        monkeypatch.setattr(kind, "_predict", None)
    second = run(cache=tmp_path)
    assert json.dumps(second.to_dict()["datasets"]) == json.dumps(first.to_dict()["datasets"])
    other = run(cache=tmp_path, materials=[material(world(300, seed=1))])
    assert all("TypeError" in one.error for one in other.datasets[0].predictors)


def test_predictions_come_from_wherever_they_are_asked_for():
    asked = []

    def elsewhere(predictor, blocks):
        asked.append((predictor.name, sum(map(len, blocks))))
        return map(predictor.predict, blocks)

    found = by_label(run(ask=elsewhere).datasets[0])
    assert asked == [(entry.label, len(material().evaluation)) for entry in ENTRIES]
    for label, here in by_label(run().datasets[0]).items():
        assert (found[label].average, found[label].score, found[label].shares) == (
            here.average,
            here.score,
            here.shares,
        )


def test_a_broken_cache_is_filled_again(tmp_path):
    first = run(cache=tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [one.average for one in run(cache=tmp_path).datasets[0].predictors] == [
        one.average for one in first.datasets[0].predictors
    ]


def test_progress_names_each_step_and_grows():
    steps = []
    run(materials=[material(), material(name="again")], on_progress=lambda step, share: steps.append((step, share)))
    assert [step for step, _ in steps if "," not in step][:2] == ["world: rule", "world: best-single"]
    assert "world: rule, predicting" in dict(steps)
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] < 1
    assert len([step for step, _ in steps if "," not in step]) == 8


def test_the_report_is_strict_json(result):
    report = run()
    record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert record["schema_version"] == 1
    assert record["datasets"][0]["predictors"][0]["average"].keys() == {"value", "low", "high"}


@pytest.mark.parametrize("entries", [[], [ENTRIES[0], ENTRIES[0]]])
def test_entries_must_be_some_and_differ(entries):
    with pytest.raises(ConfigurationError):
        run(entries)


def test_a_dataset_must_be_given():
    with pytest.raises(ConfigurationError):
        run(materials=[])


def test_training_rows_of_other_candidates_are_refused():
    other = world(30, names=("cheap",))
    with pytest.raises(PoolMismatchError):
        run(materials=[Material("w", "test", world(30), other)])


def with_scores(dataset, scores):
    return replace(dataset, scores=scores)


def test_prompts_without_all_scores_are_left_out_and_counted():
    given = material()
    scores = given.evaluation.scores.copy()
    scores[:7, 0] = np.nan
    dataset = run(materials=[Material("w", "test", with_scores(given.evaluation, scores), given.train)]).datasets[0]
    assert dataset.n_unscored == 7
    assert sum(dataset.n_prompts.values()) == len(given.evaluation) - 7


def test_a_column_without_scores_is_an_error_with_the_datasets_name():
    given = material()
    scores = given.evaluation.scores.copy()
    scores[:, 0] = np.nan
    with pytest.raises(DataError, match=r"^world: no prompt has a score of every candidate"):
        run(materials=[Material("world", "test", with_scores(given.evaluation, scores), given.train)])


def test_training_scores_that_are_missing_fail_the_fitted_alone():
    given = material()
    scores = given.train.scores.copy()
    scores[:, 0] = np.nan
    dataset = run(materials=[Material("w", "test", given.evaluation, with_scores(given.train, scores))]).datasets[0]
    assert "no training prompt has a score of cheap" in dataset.predictors[0].error
    assert dataset.best_single == "dear"


def test_one_candidate_has_nothing_to_gain():
    dataset = run(materials=[material(world(60, names=("dear",)))]).datasets[0]
    for one in dataset.predictors:
        assert one.error is None
        assert np.isnan(one.average.value)
        assert one.shares == {"dear": 1.0}
    json.dumps(run(materials=[material(world(60, names=("dear",)))]).to_dict(), allow_nan=False)


def test_a_source_with_a_single_row_has_an_interval_of_no_width():
    given = material()
    sources = given.evaluation.sources.copy().astype(object)
    at = int(np.flatnonzero(np.ptp(given.evaluation.scores, axis=1) > 0)[0])
    sources[at] = "lone"
    lonely = replace(given.evaluation, sources=sources.astype(str))
    found = run(materials=[Material("w", "test", lonely, given.train)]).datasets[0].predictors[0].by_source["lone"]
    assert found.low == found.value == found.high


@given(seed=st.integers(0, 30))
def test_the_score_lies_between_worst_and_best_and_shares_sum_to_one(seed):
    dataset = run(materials=[material(world(90, seed=seed))], n_resamples=3, check_leakage=False).datasets[0]
    rows = material(world(90, seed=seed)).evaluation
    for one in dataset.predictors:
        assert rows.scores.min(axis=1).mean() - 1e-9 <= one.score <= rows.scores.max(axis=1).mean() + 1e-9
        assert one.regret == pytest.approx(rows.scores.max(axis=1).mean() - one.score)
        assert sum(one.shares.values()) == pytest.approx(1)


def test_baselines_are_not_fitted_on_the_rows_they_are_asked_about():
    given = material()
    foresight = Foresight(given.evaluation, given.train, None, BestQuality(), lambda: None, None, 1)
    (found,) = foresight.of(Entry("best-single", baseline="best-single"))
    np.testing.assert_allclose(found.prediction.scores[0], given.train.scores.mean(axis=0))


def test_a_predictor_that_is_the_best_single_candidate_reaches_its_quality():
    for seed in range(12):
        given = material(world(150, seed=seed))
        cost = by_label(run(materials=[given], n_resamples=3, check_leakage=False).datasets[0])["best-single"].cost
        assert cost.is_reached["1.00"]
        assert cost.saved["1.00"].value == pytest.approx(0, abs=1e-6)
        assert np.isfinite(cost.score_at_best_single_usd)


def test_what_is_saved_is_never_negative_and_unknown_where_the_best_is_free():
    result = run([Entry("random", baseline="random")], n_resamples=200).datasets[0].predictors[0].cost
    assert all(interval.low >= 0 for interval in result.saved.values())
    prices = dict(PRICES)
    try:
        PRICES["dear"] = 0.0
        report = run(materials=[material(world(150))], n_resamples=10)
    finally:
        PRICES.update(prices)
    saved = by_label(report.datasets[0])["rule"].cost.saved["1.00"]
    assert np.isnan(saved.value)
    json.dumps(report.to_dict(), allow_nan=False)


def test_rows_without_a_source_keep_the_overall_shares():
    given = material()
    nameless = replace(given.evaluation, sources=np.where(given.evaluation.sources == "code", "", "chat"))
    found = by_label(run(materials=[Material("w", "test", nameless, given.train)]).datasets[0])["rule"]
    assert found.shares_by_source[""] != found.shares
    assert sum(found.shares.values()) == pytest.approx(1)


def test_an_unknown_cost_is_taken_for_the_expected_one():
    given = material()
    costs = given.evaluation.costs_usd.copy()
    costs[0, 0] = np.nan
    found = run(materials=[Material("w", "test", replace(given.evaluation, costs_usd=costs), given.train)]).datasets[0]
    assert found.predictors[0].cost is not None
    expected = np.where(np.isnan(costs), given.train.call_costs(), costs)[:, 0].mean()
    assert found.candidates[0].mean_usd == pytest.approx(expected)


def test_collapse_is_of_each_seed_and_not_of_their_mean():
    found = run([Entry("random", baseline="random")], n_seeds=4).datasets[0].predictors[0]
    assert found.collapse_index >= max(found.shares.values()) - 1e-9
