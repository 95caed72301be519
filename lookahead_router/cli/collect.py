"""`lookahead-router collect`: every candidate of a pool answers every prompt."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._live import (
    BudgetCallsOption,
    BudgetUsdOption,
    DryRunOption,
    dollars,
    function_of,
    live_progress,
    number,
    prompts_of,
    show_expected,
    spent_record,
)
from lookahead_router.cli._options import JsonOption
from lookahead_router.cli._output import note, show, show_json, show_table
from lookahead_router.errors import LookaheadRouterError

if TYPE_CHECKING:
    from lookahead_router.live.collect import Collected


def collect(
    prompts: Annotated[
        str, typer.Argument(help="Prompts: JSONL or Parquet with prompt or messages, a text file of lines, or -.")
    ],
    pool: Annotated[Path, typer.Option(help="Pool file: who the candidates are and where they answer.")],
    output: Annotated[Path, typer.Option(help="JSONL that answers are appended to, a line each.")],
    budget_usd: BudgetUsdOption = None,
    budget_calls: BudgetCallsOption = None,
    redact: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Function that removes personal data before a text is sent or written.",
        ),
    ] = None,
    with_context: Annotated[
        str,
        typer.Option(help="Whether the passages of the column context go along: yes, no or both (each prompt twice)."),
    ] = "yes",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the candidates of a pool your prompts, and keep the answers with what they cost.

    Prompts go to the candidates that the pool file names, and nowhere else. It can be interrupted at any moment: the
    same command goes on, and neither asks nor pays again what was answered.
    """
    from lookahead_router.live.answers import context_variants, questions_of, read_questions
    from lookahead_router.live.collect import collect as ask

    given = prompts_of(prompts)
    questions = read_questions(given) if isinstance(given, Path) else questions_of(given)
    found = context_variants(questions, with_context)
    clean = None if redact is None else function_of(redact, "--redact")
    if dry_run:
        from lookahead_router.live.expected import expected_calls

        show_expected(expected_calls(found, pool, output=output, redact=clean), "answers", as_json)
        return
    with live_progress("asking", "answers", output) as tell:
        collected = ask(
            found, pool, output=output, budget_usd=budget_usd, budget_calls=budget_calls, redact=clean, on_progress=tell
        )
    for candidate in collected.candidates:
        if candidate.aside is not None:
            note(f"warning: {candidate.name} is set aside: {candidate.aside}")
    if as_json:
        show_json(_record(collected, output))
    else:
        _show(collected, output)
    if not any(candidate.n_answers for candidate in collected.candidates):
        raise LookaheadRouterError("no candidate answered; the warnings say why of each")


def _record(collected: "Collected", output: Path) -> dict:
    return {
        "output": str(output),
        "n_prompts": collected.n_prompts,
        "n_repeats": collected.n_repeats,
        "n_new": collected.n_new,
        "n_short": collected.n_short,
        "is_complete": collected.is_complete,
        "spent": spent_record(collected.spent),
        "candidates": [asdict(candidate) for candidate in collected.candidates],
    }


def _show(collected: "Collected", output: Path) -> None:
    rows = [
        (
            each.name,
            str(each.n_answers),
            str(each.n_errors),
            str(each.n_missing),
            dollars(each.cost_usd),
            number(each.output_tokens),
            number(each.latency_seconds, 2),
        )
        for each in collected.candidates
    ]
    show_table(("candidate", "answers", "errors", "missing", "cost", "tokens", "seconds"), rows)
    repeats = f", {collected.n_repeats:,} repeats left out" if collected.n_repeats else ""
    spent = collected.spent
    show(f"{collected.n_prompts:,} prompts{repeats}; {dollars(spent.usd)} in {spent.n_calls:,} calls of all runs")
    if spent.uncertain_usd:
        show(
            f"of which {dollars(spent.uncertain_usd)} for calls whose end nobody knows, at the most they can have cost"
        )
    if collected.n_short:
        show(f"The budget does not reach for {collected.n_short:,} answers; a higher one goes on from here.")
    elif not collected.is_complete:
        show("Answers are missing; the same command asks for them again.")
    from lookahead_router.live.references import rule_for

    target = shlex.quote(str(output))
    rule = rule_for(answer.reference for answer in collected.answers)
    if rule is None and not Path("judge.yaml").is_file():
        show("Not every prompt has a reference: judge.yaml names LLMs that judge, or a command of yours.")
    show(f"Next: lookahead-router judge {target} --judge {rule or 'judge.yaml'} --output scored.jsonl")
