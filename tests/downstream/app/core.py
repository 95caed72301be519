"""What an application does with the core, as a type checker sees it."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import numpy as np

from lookahead_router import (
    Abilities,
    Attempts,
    BestQuality,
    Candidate,
    CandidatePool,
    Cooldowns,
    CostAware,
    Decision,
    Dispatcher,
    KeepQuality,
    LookaheadPredictor,
    OpenPoolPredictor,
    Prediction,
    RecentThreads,
    Request,
    Restricted,
    Router,
    RoutingDataset,
    Threshold,
    WithinMargin,
    evaluate,
    fit,
    read_request,
)
from lookahead_router.errors import (
    CheckpointError,
    Failure,
    HubError,
    LookaheadRouterError,
    MissingDependencyError,
    PoolMismatchError,
    SchemaError,
    UnknownCandidateError,
    failure_of,
    is_transient,
)

CANDIDATES = [
    Candidate(name="gpt-4o-2024-08-06", input_usd_per_million_tokens=2.5, output_usd_per_million_tokens=10.0),
    Candidate(name="llama-3.1-8b-instruct", capabilities=frozenset({"tools"}), context_window_tokens=131_072),
]


class Cheapest:
    """A policy of the application's own."""

    def utilities(self, prediction: Prediction, pool: CandidatePool) -> np.ndarray:
        prices = np.array([each.usd_per_call or 0.0 for each in pool])
        return np.broadcast_to(-prices, prediction.scores.shape)


def open_routers(folder: Path) -> Router:
    router = Router.from_pretrained(candidates=CANDIDATES, quality=0.95, n_threads=1)
    assert_type(router.with_policy(Cheapest()), Router)
    assert_type(router.restrict_to(["gpt-4o-2024-08-06"]), Router)
    assert_type(router.pool["gpt-4o-2024-08-06"], Candidate)
    assert_type(router.pool[0], Candidate)
    assert_type(router.pool[:1], tuple[Candidate, ...])
    assert_type([each.name for each in router.pool], list[str])
    policies = (BestQuality(), CostAware(score_per_usd=2.0), Threshold(0.7), WithinMargin(0.05), KeepQuality(0.9))
    routers = [Router.from_pretrained(folder, policy=Restricted(policy, allow=["a", "b"])) for policy in policies]
    assert_type(routers, list[Router])
    return Router(LookaheadPredictor.load(folder), policy=policies[0], aliases={"a": CANDIDATES[0]})


def decide(router: Router, prompts: Sequence[str]) -> float:
    decision = router.route(read_request([{"role": "user", "content": "Plan a weekend in Rome."}]))
    assert_type(decision, Decision)
    assert_type(decision.ranking, tuple[str, ...])
    assert_type(decision.margin, float | None)
    assert_type(decision.probabilities, dict[str, float] | None)
    prediction = router.predict([*prompts, Request("What is a monad?")])
    assert_type(router.decide(prediction), list[Decision])
    assert_type(len(prediction), int)
    expected = [each.expected_usd[each.name] for each in router.route_batch(prompts) if each.expected_usd]
    return sum(expected) + float(prediction.scores.mean())


def learn(router: Router, path: Path) -> Router:
    dataset = RoutingDataset.from_file(path).filter(split="train")
    assert_type(dataset, RoutingDataset)
    assert_type(evaluate(router, dataset).average.normalized.value, float)
    found = fit(dataset, quality=0.95)
    assert_type(found.router, Router)
    assert_type(found.best_single_usd, float | None)
    predictor = OpenPoolPredictor.load(path.parent)
    assert_type(predictor.pool.names, tuple[str, ...])
    return router.onboard(dataset).observe("What is a monad?", "gpt-4o-2024-08-06", 0.9)


def dispatch(names: Sequence[str]) -> Attempts:
    dispatcher = Dispatcher(
        None,
        names,
        default=names[0],
        fallbacks="next-best",
        sticky="adaptive",
        threads=RecentThreads(100),
        cooldowns=Cooldowns(),
        abilities={names[0]: Abilities(can={"tools": True}, window_tokens=8192)},
    )
    attempts = dispatcher.plan(read_request("What is a monad?"), thread="a")
    assert_type(attempts.name, str)
    try:
        raise TimeoutError
    except TimeoutError as error:
        assert_type(failure_of(error), Failure)
        if is_transient(error) and attempts.move_on(error):
            print(attempts.name, attempts.record)
    return attempts


def explain(error: LookaheadRouterError) -> str | None:
    match error:
        case UnknownCandidateError():
            return error.nearest
        case PoolMismatchError():
            return ", ".join(error.missing)
        case SchemaError():
            return None if error.row is None else f"row {error.row + 1}"
        case HubError():
            return error.repo_id if error.is_retryable else None
        case MissingDependencyError():
            return error.extra
        case CheckpointError():
            return error.location
        case _:
            return str(error)
