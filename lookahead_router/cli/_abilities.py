"""How good candidates are at what: the chance of a good answer on a few typical prompts of each kind."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from lookahead_router.predictors.fitted.base import FittedPredictor
    from lookahead_router.predictors.open_pool import OpenPoolPredictor
    from lookahead_router.predictors.profiles import Profile
    from lookahead_router.router import Router

TYPICAL_PROMPTS = {
    "mathematics": (
        "Find all real solutions of x^4 - 5x^2 + 4 = 0.",
        "How many integers from 1 to 1000 are divisible by neither 2 nor 5?",
        "Prove that the product of three consecutive integers is divisible by 6.",
    ),
    "code": (
        "Write a Python function that returns the longest palindromic substring of a string.",
        "My SQL query returns duplicate rows after a LEFT JOIN. How do I find out why, and fix it?",
        "Implement an LRU cache in C++ with constant-time get and put.",
    ),
    "knowledge": (
        "Which enzyme unwinds the double helix during DNA replication?",
        "What did the Peace of Westphalia change about the sovereignty of states?",
        "Under which conditions is a contract voidable for duress?",
    ),
    "writing": (
        "Write a short story about a lighthouse keeper who receives a letter meant for somebody else.",
        "Rewrite this so that it sounds friendlier: Your application was rejected. Do not reply.",
        "Draft a speech of two minutes for my sister's wedding.",
    ),
    "everyday": (
        "What can I cook with rice, eggs and spinach?",
        "Plan a weekend in Rome with two children.",
        "How do I ask my landlord to repair the heating?",
    ),
}
"""Prompts by kind; the figures are means over the prompts of a kind."""
KINDS = tuple(TYPICAL_PROMPTS)


def open_predictor(router: "Router", command: str) -> "OpenPoolPredictor":
    """The router's predictor, if it is for any pool.

    Raises:
        ConfigurationError: its pool is fixed.
    """
    from lookahead_router.predictors.open_pool import OpenPoolPredictor

    if not isinstance(router.predictor, OpenPoolPredictor):
        raise ConfigurationError(
            f"{command} is for predictors of any pool, such as the embedded one; the pool of {router.predictor!r} is "
            "fixed by its training; of a fitted one, fit old and new answers together again: lookahead-router fit OLD "
            "NEW --output FOLDER"
        )
    return router.predictor


def chances(predictor: "OpenPoolPredictor", profiles: "Sequence[Profile]") -> "np.ndarray":
    """`(n_profiles, n_kinds)` expected chances of a good answer, in the order of `KINDS`."""
    return _by_kind(predictor.population.predict(predictor.foresee(_typical())[0], profiles)[0])


def chances_of(predictor: "FittedPredictor") -> "np.ndarray":
    """`(n_candidates, n_kinds)` predicted scores, or probabilities where they are known, in the order of `KINDS`."""
    found = predictor.predict(_typical())
    return _by_kind(found.scores if found.probabilities is None else found.probabilities)


def _typical() -> list[str]:
    return [prompt for prompts in TYPICAL_PROMPTS.values() for prompt in prompts]


def _by_kind(found: "np.ndarray") -> "np.ndarray":
    """Means of `(n_prompts, K)` over the prompts of a kind, `(K, n_kinds)`."""
    import numpy as np

    ends = np.cumsum([len(prompts) for prompts in TYPICAL_PROMPTS.values()])
    return np.stack([part.mean(axis=0) for part in np.split(found, ends[:-1])], axis=1)
