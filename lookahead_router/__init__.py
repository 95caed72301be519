"""Routes each prompt to the LLM that will answer it best, by foreseeing the answers.

Importing this package costs next to nothing: names are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.dispatch import (
        Abilities,
        Agreement,
        Attempts,
        Cascade,
        Confidence,
        Cooldowns,
        CutOff,
        Dispatcher,
        Holdback,
        OwnCheck,
        RecentThreads,
        Refusal,
        Reliability,
        read_reply,
    )
    from lookahead_router.errors import LookaheadRouterError
    from lookahead_router.evaluation.evaluate import evaluate
    from lookahead_router.evaluation.fit import fit
    from lookahead_router.policies import BestQuality, CostAware, KeepQuality, Restricted, Threshold, WithinMargin
    from lookahead_router.predictors.lookahead import LookaheadPredictor
    from lookahead_router.predictors.open_pool import OpenPoolPredictor
    from lookahead_router.privacy.guard import Privacy
    from lookahead_router.prompts import Request, read_request
    from lookahead_router.router import Router
    from lookahead_router.routes import Route, Routes
    from lookahead_router.types import Candidate, CandidatePool, Decision, Prediction
    from lookahead_router.workhorse import Workhorse

_HOMES = {
    "Privacy": "privacy.guard",
    "Router": "router",
    "Route": "routes.definition",
    "Routes": "routes.definition",
    "Decision": "types",
    "Prediction": "types",
    "Candidate": "types",
    "CandidatePool": "types",
    "BestQuality": "policies",
    "CostAware": "policies",
    "Threshold": "policies",
    "Restricted": "policies",
    "WithinMargin": "policies",
    "KeepQuality": "policies",
    "Workhorse": "workhorse",
    "OpenPoolPredictor": "predictors.open_pool",
    "LookaheadPredictor": "predictors.lookahead",
    "Request": "prompts",
    "read_request": "prompts",
    "Dispatcher": "dispatch",
    "Attempts": "dispatch",
    "Abilities": "dispatch",
    "Agreement": "dispatch",
    "Cascade": "dispatch",
    "Confidence": "dispatch",
    "CutOff": "dispatch",
    "OwnCheck": "dispatch",
    "Refusal": "dispatch",
    "Reliability": "dispatch",
    "read_reply": "dispatch",
    "Cooldowns": "dispatch",
    "Holdback": "dispatch",
    "RecentThreads": "dispatch",
    "RoutingDataset": "data.dataset",
    "evaluate": "evaluation.evaluate",
    "fit": "evaluation.fit",
    "LookaheadRouterError": "errors",
}

__all__ = [
    "Abilities",
    "Agreement",
    "Attempts",
    "BestQuality",
    "Candidate",
    "CandidatePool",
    "Cascade",
    "Confidence",
    "Cooldowns",
    "CostAware",
    "CutOff",
    "Decision",
    "Dispatcher",
    "Holdback",
    "KeepQuality",
    "LookaheadPredictor",
    "LookaheadRouterError",
    "OpenPoolPredictor",
    "OwnCheck",
    "Prediction",
    "Privacy",
    "RecentThreads",
    "Refusal",
    "Reliability",
    "Request",
    "Restricted",
    "Route",
    "Router",
    "Routes",
    "RoutingDataset",
    "Threshold",
    "WithinMargin",
    "Workhorse",
    "__version__",
    "evaluate",
    "fit",
    "read_reply",
    "read_request",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
