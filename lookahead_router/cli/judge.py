"""`lookahead-router judge`: a score to every answer."""

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
    live_progress,
    number,
    show_expected,
    spent_record,
)
from lookahead_router.cli._options import JsonOption
from lookahead_router.cli._output import UNKNOWN, note, show, show_json, show_table
from lookahead_router.errors import LookaheadRouterError

if TYPE_CHECKING:
    from lookahead_router.live.agreement import HumanAgreement
    from lookahead_router.live.judge import Judged


def judge(
    answers: Annotated[Path, typer.Argument(help="Answers, as collect writes them.")],
    judge: Annotated[
        str,
        typer.Option(
            help="A judge's file; or, by references, exact, normalized, number, choice, contains, regex or json."
        ),
    ],
    output: Annotated[Path, typer.Option(help="JSONL that scored answers are written to.")],
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Let the command in the judge's file run on what models wrote.")
    ] = False,
    budget_usd: BudgetUsdOption = None,
    budget_calls: BudgetCallsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score answers by references, by a command of yours, or by LLM judges.

    It can be interrupted at any moment: the same command goes on, and neither asks nor pays again what was judged.
    """
    from lookahead_router.live.judge import judge as score

    if dry_run:
        from lookahead_router.live.expected import expected_verdicts

        show_expected(expected_verdicts(answers, judge, output=output), "verdicts", as_json)
        return
    with live_progress("judging", "verdicts", f"{output}.verdicts") as tell:
        judged = score(
            answers,
            judge,
            output=output,
            allow_commands=allow_commands,
            budget_usd=budget_usd,
            budget_calls=budget_calls,
            on_progress=tell,
        )
    for each in judged.judges:
        if each.aside is not None:
            note(f"warning: {each.name} is set aside: {each.aside}")
    if as_json:
        show_json(_record(judged, output))
    else:
        _show(judged, output)
    if not judged.answers:
        raise LookaheadRouterError("no answer could be scored")


def _record(judged: "Judged", output: Path) -> dict:
    return {
        "output": str(output),
        "n_answers": judged.n_answers,
        "n_scored": len(judged.answers),
        "left_out": dict(judged.left_out),
        "n_new": judged.n_new,
        "n_short": judged.n_short,
        "spent": spent_record(judged.spent),
        "human": None if judged.human is None else asdict(judged.human),
        "judges": [asdict(each) for each in judged.judges],
        "candidates": _candidates(judged),
    }


def _candidates(judged: "Judged") -> dict[str, dict[str, float | int]]:
    scores: dict[str, list[float]] = {}
    for answer in judged.answers:
        scores.setdefault(answer.candidate, []).append(answer.score)
    return {name: {"n_scores": len(each), "mean_score": sum(each) / len(each)} for name, each in scores.items()}


def _show(judged: "Judged", output: Path) -> None:
    rows = [(name, str(each["n_scores"]), f"{each['mean_score']:.3f}") for name, each in _candidates(judged).items()]
    if rows:
        show_table(("candidate", "scores", "mean score"), rows)
    if judged.judges:
        _show_judges(judged)
    for name, human in [("the scores", judged.human), *((each.name, each.human) for each in judged.judges)]:
        if human is not None:
            show(f"{name} beside people's: {_beside(human)}")
    left = "; ".join(f"{count:,} without: {reason}" for reason, count in judged.left_out.items())
    show(f"{len(judged.answers):,} of {judged.n_answers:,} answers have a score{f'; {left}' if left else ''}")
    if judged.spent.n_calls:
        show(f"{dollars(judged.spent.usd)} in {judged.spent.n_calls:,} calls of all runs")
    if judged.n_short:
        show(f"The budget does not reach for {judged.n_short:,} verdicts; a higher one goes on from here.")
    pool = " --pool pool.yaml" if Path("pool.yaml").is_file() else ""
    show(f"Next: lookahead-router fit {shlex.quote(str(output))}{pool} --output my-router")


def _show_judges(judged: "Judged") -> None:
    head = ["judge", "verdicts", "unreadable", "missing", "cost", "same again"]
    is_pairs = any(each.order_agreement is not None for each in judged.judges)
    rows = []
    for each in judged.judges:
        counts = (each.n_verdicts, each.n_unreadable, each.n_missing)
        row = [each.name, *map(str, counts), dollars(each.cost_usd), number(each.self_agreement, 2)]
        if is_pairs:
            bias = UNKNOWN if each.position_bias is None else f"{each.position_bias:+.2f}"
            row += [number(each.order_agreement, 2), bias]
        rows.append(row)
    show_table([*head, *(("same in both orders", "bias to first") if is_pairs else ())], rows)


def _beside(human: "HumanAgreement") -> str:
    order = "" if human.same_order is None else f", the same order in {human.same_order:.0%} of {human.n_pairs:,} pairs"
    return (
        f"rank correlation {number(human.rank_correlation, 2)}, mean difference {human.mean_difference:.2f}{order} "
        f"({human.n_answers:,} answers)"
    )
