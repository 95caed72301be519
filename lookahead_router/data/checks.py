"""What an example must be to become a row, and what looks like a slip of the pen."""

import warnings
from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np

from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import LookaheadRouterWarning, PromptError, SchemaError
from lookahead_router.prompts import clean_text, prompt_text

RARE_SHARE = 0.05
"""Share of a candidate's rows below which a name like its own is taken for a misspelling of it."""


def checked_prompt(example: RoutingExample, *, path: str | None, row: int) -> str:
    """The text that the example is routed on, once all of the example is checked.

    Raises:
        SchemaError: a name, a prompt or a part of an outcome that no column takes.
    """
    for name, outcome in example.outcomes.items():
        _check_name(name, path, row)
        _check_outcome(name, outcome, path, row)
    try:
        return prompt_text(example.prompt)
    except PromptError as error:
        raise SchemaError(str(error), path=path, row=row, column="prompt") from error


def warn_of_misspelt(n_rows: Mapping[str, int], path: str | None) -> None:
    """Warns of candidates that stand on a few rows and are called almost like one that stands on many.

    Args:
        n_rows: rows of each candidate, by name.
        path: named in the warning.
    """
    found = []
    for name, count in n_rows.items():
        others = [other for other, number in n_rows.items() if count <= RARE_SHARE * number]
        for near in get_close_matches(name, others, n=1, cutoff=0.8):
            found.append(f"{name!r} on {count}, where {near!r} stands on {n_rows[near]}")
    if found:
        warnings.warn(
            f"{path or 'the dataset'} has candidates on few rows that may be misspelt: {'; '.join(found[:5])}"
            f"{' ...' * (len(found) > 5)}. Mend the names, or each is a candidate of its own that prompts may go to",
            LookaheadRouterWarning,
            stacklevel=4,
        )


def _check_name(name: object, path: str | None, row: int) -> None:
    if not isinstance(name, str) or not name or name != name.strip() or name != clean_text(name):
        raise SchemaError(
            f"a candidate's name is plain text, neither empty nor padded; got {name!r}",
            path=path,
            row=row,
            column="outcomes.candidate",
        )


def _check_outcome(name: str, outcome: Outcome, path: str | None, row: int) -> None:
    if outcome.response is not None and not isinstance(outcome.response, str):
        found = type(outcome.response).__name__
        raise SchemaError(f"expected text or null, got {found}", path=path, row=row, column="outcomes.response")
    for field in ("score", "cost_usd", "output_tokens"):
        value = getattr(outcome, field)
        if value is None or (isinstance(value, float) and value != value):
            continue
        problem = _number_problem(name, field, value)
        if problem:
            raise SchemaError(problem, path=path, row=row, column=f"outcomes.{field}")


def _number_problem(name: str, field: str, value: object) -> str | None:
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        return f"expected a number or null, got {type(value).__name__}"
    if isinstance(value, int) and abs(value) > 2**53:  # no column holds it exactly
        return "the number is too large"
    if not 0 <= value <= (1 if field == "score" else np.finfo(np.float64).max):
        domain = "[0, 1]; scale scores first" if field == "score" else "[0, inf)"
        return f"{value} of {name!r} lies outside {domain}"
    if field == "output_tokens" and (value != int(value) or value > 2**53):
        return f"expected a whole number of tokens, got {value}"
    return None
