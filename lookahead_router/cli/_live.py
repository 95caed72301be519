"""What the commands that ask LLMs share: options, progress, dollars, and a function of the user's own."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookahead_router.cli._input import read_prompts
from lookahead_router.cli._output import UNKNOWN, note, progress, show, show_json, show_table
from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router.live.engine import Progress
    from lookahead_router.live.expected import Expected

BudgetUsdOption = Annotated[
    float | None, typer.Option("--budget-usd", min=0, help="The most dollars to spend on this output, in all runs.")
]
BudgetCallsOption = Annotated[
    int | None, typer.Option("--budget-calls", min=0, help="The most calls to make for this output, in all runs.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say calls and expected dollars, and ask nothing.")]


def prompts_of(source: str) -> Path | list[str]:
    """What `collect` takes: a file of rows, or the lines of a text file or of standard input."""
    path = Path(source)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".parquet"):
        return path
    return read_prompts(None, path)


def function_of(text: str, option: str) -> Callable:
    """The function that `module:function` names; modules of the working directory are found too.

    Raises:
        ConfigurationError: it cannot be imported, or is no function.
    """
    module, separator, name = text.partition(":")
    if not separator or not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ConfigurationError(f"{option}: expected MODULE:FUNCTION, got {text!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ConfigurationError(f"{option}: cannot import {module}: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise ConfigurationError(f"{option}: {module} has no function {name}")
    return function


@contextmanager
def live_progress(words: str, things: str, output: Path | str) -> Iterator[Callable[["Progress"], None]]:
    """Shows how far calls are; an interrupt is told what it does and how to go on."""
    is_told = False

    with progress(words) as update:

        def tell(at: "Progress") -> None:
            nonlocal is_told
            if at.n_ending is not None and not is_told:
                is_told = True
                note(f"ending: waiting for {at.n_ending} calls under way, which are paid; Ctrl-C leaves them")
            left = "" if at.seconds_left is None else f", {duration(at.seconds_left)} left"
            update(f"{at.n_done:,} of {at.n_all:,} {things}, {dollars(at.usd)}{left}", at.n_done / max(at.n_all, 1))

        try:
            yield tell
        except KeyboardInterrupt:
            note(f"interrupted; all {things} so far are in {output}, and the same command goes on")
            raise


def dollars(usd: float | None) -> str:
    """Dollars in figures that tell apart what small calls cost."""
    if usd is None:
        return UNKNOWN
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.2g}" if usd < 0.01 else f"${usd:.3f}"


def duration(seconds: float) -> str:
    """Seconds in readable units: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def number(value: float | None, digits: int = 0) -> str:
    """A figure, or the mark for none."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def spent_record(spent: Any) -> dict[str, Any]:
    """What was spent, as JSON."""
    return {name: round(value, 12) if isinstance(value, float) else value for name, value in vars(spent).items()}


def show_expected(expected: "Expected", things: str, as_json: bool) -> None:
    """Shows what a dry run found."""
    for name, variable in expected.unset_keys.items():
        note(f"warning: {name}: the environment variable {variable} is not set, which asking needs")
    if as_json:
        show_json(asdict(expected))
        return
    rows = [
        (name, f"{count:,}", dollars(expected.usd[name]), dollars(expected.most_usd[name]))
        for name, count in expected.calls.items()
    ]
    known, most = (
        [value for value in values.values() if value is not None] for values in (expected.usd, expected.most_usd)
    )
    rows.append(("all", f"{sum(expected.calls.values()):,}", dollars(sum(known)), dollars(sum(most))))
    show_table(("candidate", "calls", "expected", "at most"), rows, styles=[*[""] * (len(rows) - 1), "bold"])
    repeats = f", {expected.n_repeats:,} repeats left out" if expected.n_repeats else ""
    there = f"; {expected.n_there:,} {things} are there" if expected.n_there else ""
    show(f"{expected.n_prompts:,} prompts{repeats}{there}. Nothing was asked.")
    if len(known) < len(expected.usd):
        show("What has no price is not in the dollars; set input_price and output_price.")
