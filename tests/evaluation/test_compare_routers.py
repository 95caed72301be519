from dataclasses import replace

import numpy as np
import pytest
from evaluation.two_candidates import ENTRIES, by_label, material, run

from lookahead_router.errors import PoolMismatchError
from lookahead_router.evaluation.compare import Material
from lookahead_router.evaluation.entries import Entry
from lookahead_router.evaluation.evaluate import evaluate
from lookahead_router.policies import CostAware, Restricted, Threshold
from lookahead_router.predictors.fitted.rule import Rule
from lookahead_router.router import Router
from lookahead_router.types import Prediction


def test_a_router_is_an_entry_with_its_own_policy_names_and_prices():
    given = material()
    predictor = Rule().fit(given.train)
    free = Router(predictor).with_prices({"cheap": 5.0, "dear": 0.0})
    entries = [
        Entry("plain", router=Router(predictor)),
        Entry("its own prices", router=free.with_policy(CostAware(1e9))),
        Entry("the data's prices", baseline="rule"),
    ]
    found = by_label(run(entries, materials=[given], policy=CostAware(1e9)).datasets[0])
    assert found["plain"].policy == "BestQuality()"
    assert 0.3 < found["plain"].shares["dear"] < 0.7
    assert found["its own prices"].shares == {"cheap": 0.0, "dear": 1.0}
    assert found["the data's prices"].shares == {"cheap": 1.0, "dear": 0.0}


def test_a_restricted_router_is_measured_against_all_candidates_of_the_dataset():
    given = material()
    router = Router(Rule().fit(given.train))
    entries = [
        Entry("all", router=router),
        Entry("restricted", router=router.restrict_to(["cheap"])),
        Entry("by policy", router=router.with_policy(Restricted(deny=["dear"]))),
    ]
    dataset = run(entries, materials=[given]).datasets[0]
    found = by_label(dataset)
    cheap = next(one for one in dataset.candidates if one.candidate == "cheap")
    for label in ("restricted", "by policy"):
        assert found[label].shares == {"cheap": 1.0, "dear": 0.0}
        assert found[label].score == pytest.approx(cheap.score)
        assert found[label].average.value == pytest.approx(cheap.average)
        np.testing.assert_allclose(found[label].cost.frontier_usd, cheap.mean_usd)  # no weight leads to `dear`
    alone = given.evaluation.with_candidates(["cheap"])
    assert evaluate(router.restrict_to(["cheap"]), alone).average.oracle == pytest.approx(
        evaluate(router.restrict_to(["cheap"]), alone).average.router
    )


def test_a_router_of_other_candidates_says_which_are_missing():
    router = Router(Rule().fit(material().train)).with_aliases({"dear": "gpt"})
    found = run([Entry("renamed", router=router), ENTRIES[0]]).datasets[0].predictors
    assert "missing ['gpt']" in found[0].error
    assert found[1].error is None
    with pytest.raises(PoolMismatchError):
        run([Entry("renamed", router=router)], keep_going=False)


def test_pools_in_another_order_decide_alike():
    given = material()
    router = Router(Rule().fit(given.train))
    turned = Material("w", "test", given.evaluation.align(type(router.pool)(list(router.pool)[::-1])), given.train)
    found = [run([Entry("it", router=router)], materials=[each]).datasets[0].predictors[0] for each in (given, turned)]
    assert found[0].shares == found[1].shares
    assert found[0].average == found[1].average


def test_a_predictor_decides_alike_as_a_router_as_a_folder_and_fitted_here(tmp_path):
    """Without a train split in the file, prices are the validation split's, whoever asks."""
    given = material()
    dear_later = given.evaluation.costs_usd[:, ::-1]
    odd = Material("w", "test", replace(given.evaluation, costs_usd=dear_later), None, given.validation)
    predictor = Rule().fit(given.train).fit_calibration(given.validation)
    predictor.save(tmp_path / "rule")
    prices = dict(zip(given.validation.pool.names, given.validation.call_costs(), strict=True))
    for policy in (CostAware(0.05), CostAware(1e9), Threshold(0.3)):
        entries = [
            Entry("folder", locations=(str(tmp_path / "rule"),)),
            Entry("router", router=Router(predictor).with_prices(prices).with_policy(policy)),
        ]
        found = run(entries, materials=[odd], policy=policy).datasets[0].predictors
        assert found[0].shares == found[1].shares
        assert found[1].minus_reference == (0, 0, 0)


def test_predictions_without_a_revision_are_not_kept(tmp_path):
    class Fixed:
        name, revision = "fixed", None

        def __init__(self, pool, column):
            self.pool, self.column = pool, column

        def predict(self, prompts):
            return Prediction(self.pool, np.tile(np.eye(2)[self.column], (len(prompts), 1)))

    given = material()
    shares = []
    for column in (0, 1):
        entry = Entry("it", router=Router(Fixed(given.evaluation.pool, column)))
        shares.append(run([entry], cache=tmp_path).datasets[0].predictors[0].shares["dear"])
    assert shares == [0.0, 1.0]


def test_long_work_is_asked_for_in_parts_and_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr("lookahead_router.evaluation.entries.BLOCK_SIZE", 7)
    steps = []
    cut = run([ENTRIES[0]], on_progress=lambda step, share: steps.append((step, share))).datasets[0]
    n_parts = -(-len(material().evaluation) // 7)  # told before the first, and after each
    assert len([step for step, _ in steps if step == "world: rule, predicting"]) == 1 + n_parts
    assert [share for _, share in steps] == sorted(share for _, share in steps)
    monkeypatch.undo()
    assert run([ENTRIES[0]]).datasets[0].predictors[0].average == cut.predictors[0].average
