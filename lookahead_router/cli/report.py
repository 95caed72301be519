"""`lookahead-router report`: what a router did in use, and whether it is time to collect answers again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import JsonOption
from lookahead_router.cli._output import UNKNOWN, progress, show, show_json, show_table
from lookahead_router.cli._scored import SCORED_HELP, read_scored

if TYPE_CHECKING:
    from lookahead_router.evaluation.decisions import Choice, DecisionsReport


def report(
    decisions: Annotated[
        Path, typer.Argument(help="Log of decisions: JSONL or SQLite, as serve --decisions writes it.")
    ],
    scored: Annotated[str, typer.Argument(help=f"What the router was fitted on. {SCORED_HELP}")],
    router: Annotated[
        str | None,
        typer.Option(help="The router; where the log has no prompts, drift takes it. The embedded one if absent."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show whom a router chose, at what cost, what it would have been otherwise, and how far prompts have drifted."""
    from lookahead_router.evaluation.decisions import read_decisions, review

    with progress("reading decisions") as update:
        records = read_decisions(decisions)
        answers = read_scored([scored])
        start = None
        if router is not None:
            from lookahead_router.router import Router

            start = Router.from_pretrained(router)
        update(f"looking at {len(records):,} records", None)
        found = review(records, answers, router=start)
    if as_json:
        show_json(found.to_dict())
    else:
        _show(found)


def _show(found: "DecisionsReport") -> None:
    head = ("candidate", "chosen in %", "USD", "score", "feedback", "chance for all", "USD for all")
    show_table(head, [_row(each) for each in found.choices])
    period = f" from {found.first} to {found.last}" if found.first else ""
    show(f"{found.n_decisions:,} decisions{period}: {', '.join(f'{n:,} {why}' for why, n in found.reasons.items())}.")
    if found.n_failed:
        show(f"{found.n_failed:,} more that nobody answered count in no figure.")
    if found.usd is not None:
        beside = found.usd_beside_expected
        told = "" if beside is None else f"; measured calls cost {beside:.2g} times what was expected of them"
        show(f"They cost {found.usd:.4g} dollars{told}.")
    if found.saved is not None:
        show(
            f"{found.n_compared:,} of them were the router's own: expected to cost {_percent(found.saved)} than "
            f"{found.best_single} would have been for all of these."
        )
    if found.n_known:
        show(
            f"On {found.n_known:,} decisions whose prompts are scored, choices have {100 * found.score:.1f} points and "
            f"{found.best_single} {100 * found.best_single_score:.1f}."
        )
    show(_drift_words(found))
    if found.calls_for:
        show(f"Collect again: {'; '.join(found.calls_for)}.")
        show("Next: lookahead-router sample LOGS --n 200 --output prompts.jsonl")
    else:
        show("Nothing calls for new answers.")


def _drift_words(found: "DecisionsReport") -> str:
    from lookahead_router.evaluation.decisions import MIN_DECISIONS

    drift = found.drift
    if drift is None:
        return (
            f"Of drift nothing can be told: that takes {MIN_DECISIONS} decisions, and their prompts in the log or the "
            "router's profiles (--router)."
        )
    low, high = drift.outside.low, drift.outside.high
    if drift.by == "chances":
        return (
            f"Prompts are not in the log. The best candidate's chance is {drift.outside.value:+.2f} [{low:+.2f}, "
            f"{high:+.2f}] standard deviations from that on the scored prompts."
        )
    return (
        f"{100 * drift.outside.value:.0f} % [{100 * low:.0f}, {100 * high:.0f}] of {drift.n_prompts:,} prompts lie "
        f"outside the scored ones; 5 % are usual. Median cosine to the nearest: {drift.nearness:.2f}, among the scored "
        f"{drift.nearness_scored:.2f}."
    )


def _row(choice: "Choice") -> tuple[str, ...]:
    told = choice.feedback
    return (
        choice.candidate,
        f"{100 * choice.share:.1f}",
        _number(choice.usd, ".4g"),
        _number(choice.score, ".3f"),
        UNKNOWN if told is None else f"{told.value:.3f} ({choice.n_feedback})",
        _number(choice.chance, ".3f"),
        _number(choice.usd_for_all, ".4g"),
    )


def _percent(saved: float) -> str:
    return f"{100 * abs(saved):.0f} % {'less' if saved >= 0 else 'more'}"


def _number(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else format(value, form)
