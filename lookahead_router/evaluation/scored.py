"""Scored answers in the forms that they come in, as a dataset."""

from collections.abc import Iterable
from typing import Any

from lookahead_router.data.dataset import RoutingDataset
from lookahead_router.data.outcomes import ANSWER_FIELDS, OutcomeTable
from lookahead_router.errors import DataError

Scored = RoutingDataset | OutcomeTable | Any
"""A dataset, a table, or what `lookahead_router.live.judge` gives: answers, or what holds them in `answers`."""


def scored_dataset(scored: Scored) -> RoutingDataset:
    """The answers with a row per prompt; those without a score are left out of the ones that `judge` gives.

    Raises:
        DataError: none of these, or no answer is scored.
    """
    if isinstance(scored, RoutingDataset):
        return scored
    if isinstance(scored, OutcomeTable):
        return scored.to_dataset()
    answers = getattr(scored, "answers", scored)
    answers = list(answers) if isinstance(answers, Iterable) and not isinstance(answers, str) else [answers]
    if not all(hasattr(each, name) for each in answers for name in ANSWER_FIELDS if name != "context"):
        raise DataError(
            f"expected scored answers, as judge gives them, or a RoutingDataset; got {type(scored).__name__}"
        )
    kept = [each for each in answers if each.score is not None]
    if not kept:
        raise DataError("no answer is scored; judge them first")
    return OutcomeTable.from_answers(kept).to_dataset()
