"""Results written out by hand, for what renders them."""

from dataclasses import replace

from lookahead_router.evaluation.results import (
    CalibrationResult,
    CandidateResult,
    ComparisonReport,
    CostResult,
    DatasetResult,
    LeakageResult,
    PredictorResult,
    Reference,
    ReferenceResult,
)
from lookahead_router.metrics import Interval

NAN = float("nan")
SOURCES = ("maths", "poems")


def predictor(name="mine", average=40.0, candidates=("cheap", "dear"), sources=SOURCES, **changes) -> PredictorResult:
    shares = {candidate: 1 / len(candidates) for candidate in candidates}
    return PredictorResult(
        **{
            "predictor": name,
            "revisions": ("0123456789ab",),
            "average": Interval(average, average - 5, average + 5),
            "seeds": (average,),
            "minus_reference": Interval(-3.25, -6.0, 1.5),
            "by_source": {source: Interval(average, average - 9, average + 9) for source in sources},
            "score": 0.625,
            "regret": 0.125,
            "gap_recovered": 0.25,
            "hit_rate": 0.75,
            "model_recall": NAN,
            "collapse_index": 0.5,
            "shares": shares,
            "shares_by_source": dict.fromkeys(sources, shares),
            "against_best_single": ((0, 10, 0.0, 1.0, 0.0), (1, 30, 0.5, 0.25, 0.25)),
            "cost": CostResult(
                mean_usd=0.002,
                weights=(0.0, 1.0, 2.0),
                frontier_usd=(0.002, 0.001, 0.0015),
                frontier_score=(0.6, 0.4, 0.3),
                area=0.55,
                score_at_best_single_usd=0.71,
                saved={"1.00": Interval(0.0, 0.0, 0.1), "0.95": Interval(0.5, 0.25, 0.75)},
                is_reached={"1.00": False, "0.95": True},
                saved_minus_reference={"1.00": Interval(0.0, -0.1, 0.1), "0.95": Interval(0.125, 0.0, 0.25)},
            ),
            "calibration": CalibrationResult(error=0.042, predicted=(0.2, 0.5, 0.8), observed=(0.25, 0.5, 0.75)),
            "fit_seconds": 1.5,
            "predict_seconds": None,
            **changes,
        }
    )


FAILED = PredictorResult("broken", error="no training split to fit it on")


def result(predictors=None, candidates=("cheap", "dear"), sources=SOURCES, **changes) -> DatasetResult:
    if predictors is None:
        given = {"candidates": candidates, "sources": sources}
        predictors = (predictor(minus_reference=None, **given), predictor("other", 55.0, **given), FAILED)
    levels = {"random": 0.0, "best single": 30.0, "best per benchmark, in hindsight": 35.0, "oracle": 100.0}
    return DatasetResult(
        **{
            "dataset": "toy",
            "split": "test",
            "fingerprint": "0123456789abcdef",
            "n_prompts": {source: 20 * (i + 1) for i, source in enumerate(sources)},
            "n_unscored": 3,
            "reference": "mine",
            "predictors": tuple(predictors),
            "references": tuple(
                ReferenceResult(
                    Reference(name),
                    Interval(v, v - 1, v + 1),
                    {source: Interval(v, v - 2, v + 2) for source in sources},
                    0.5,
                    dict.fromkeys(sources, 0.5),
                    0.001,
                )
                for name, v in levels.items()
            ),
            "candidates": tuple(
                CandidateResult(name, 0.25 * (k + 1), 0.0005 * 4**k, 10.0 * k) for k, name in enumerate(candidates)
            ),
            "leakage": LeakageResult(1, 2, 0.9, ("a", "b", "c")),
            "best_single": candidates[-1],
            **changes,
        }
    )


def without_costs(one: DatasetResult) -> DatasetResult:
    return replace(
        one,
        predictors=tuple(replace(p, cost=None) for p in one.predictors),
        references=tuple(replace(r, mean_usd=None) for r in one.references),
        candidates=tuple(replace(c, mean_usd=None) for c in one.candidates),
    )


def report(*results: DatasetResult) -> ComparisonReport:
    return ComparisonReport(results, "BestQuality()", 1000, "0.1.0", 12.0)
