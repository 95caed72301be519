"""`lookahead-router cascade`: asking again after a look at the answer, beside routing before the call."""

import math
from contextlib import ExitStack
from functools import cache as once
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import split_names
from lookahead_router.cli._output import UNKNOWN, progress, show, show_json, show_table
from lookahead_router.cli._scored import DATASET_HELP
from lookahead_router.extras import require

if TYPE_CHECKING:
    from lookahead_router.evaluation.cascade_report import CascadeEntry, CascadeReport, CascadeResult
    from lookahead_router.metrics import Interval


def cascade(
    data: Annotated[list[str], typer.Argument(help=DATASET_HELP)],
    checks: Annotated[
        str, typer.Option(help="What looks at answers: agreement, refusal, with commas between.")
    ] = "refusal,agreement",
    predictors: Annotated[
        str,
        typer.Option(help="Whose chances to go by: lookahead, kinds to fit, folders, org/name or LABEL=LOCATION."),
    ] = "classifier",
    max_calls: Annotated[int, typer.Option(help="Most calls of a prompt, from 2 to 4.")] = 2,
    order: Annotated[
        str | None, typer.Option(help="Candidates in the order of asking, one a call; in any order if absent.")
    ] = None,
    learnt: Annotated[
        int,
        typer.Option(min=0, help="Seeds of a policy that is learnt to ask on or stop, as lines more; takes minutes."),
    ] = 0,
    split: Annotated[str, typer.Option(help="Split to evaluate on.")] = "test",
    source: Annotated[list[str] | None, typer.Option(help="Only this benchmark; repeatable.")] = None,
    embedder: Annotated[
        str | None,
        typer.Option(help="Sentence encoder of fitted predictors: folder, or org/name; MiniLM-L6 if absent."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps embeddings, fits, predictions and learnt policies.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap samples behind the intervals.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show what cascades would have brought on answers that are there already.

    Ask, look at the answer, stop or ask another candidate; every call is paid. Beside it routing before the call over
    the same pool, by the same chances. Predictors are fitted on the train split, checks are measured on validation.
    """
    from lookahead_router.cli._comparison import material, parse_entries
    from lookahead_router.dispatch.cascade import check_order
    from lookahead_router.dispatch.checks import read_checks
    from lookahead_router.evaluation.cascade_report import compare_cascades
    from lookahead_router.predictors.embedder import DEFAULT_EMBEDDER, Embedder

    if learnt:
        require("torch", "train")  # not after all the reading
    looks = read_checks(split_names(checks))
    names = None if order is None else split_names(order)
    check_order(max_calls, names)
    entries = parse_entries(predictors)
    with ExitStack() as stack:
        on_progress = stack.enter_context(progress("reading"))
        materials = [material(Path(location).stem, location, split, source, None) for location in data]
        kept = Path(stack.enter_context(TemporaryDirectory())) if cache is None else cache
        report = compare_cascades(
            entries,
            materials,
            looks,
            max_calls=max_calls,
            order=names,
            n_learnt=learnt,
            embedder=once(lambda: Embedder.load(embedder or DEFAULT_EMBEDDER, cache=kept / "embeddings")),
            cache=cache,
            n_resamples=resamples,
            on_progress=on_progress,
        )
    show_json(report.to_dict()) if as_json else print_cascades(report)


def print_cascades(report: "CascadeReport") -> None:
    """Tables of every dataset."""
    for result in report.datasets:
        show(
            f"{result.dataset}, {result.split}: {result.n_prompts} prompts. Best single candidate: "
            f"{result.best_single}, score {result.best_single_score:.3f} for {result.best_single_usd:.3g} dollars."
        )
        for entry in result.entries:
            _print_entry(entry)
        _print_hindsight(result)


def _print_entry(entry: "CascadeEntry") -> None:
    show_table(
        ["asking", "area", "beside before the call", "saved at 95 %", "at 98 %", "at 100 %", "calls", "in vain"],
        [
            [
                line.label,
                f"{line.area.value:.4f}",
                UNKNOWN if line.minus_before is None else _interval(line.minus_before, "+.4f"),
                *(_interval(line.saved[share], ".0%") for share in ("0.95", "0.98", "1.00")),
                _figure(line.n_calls, ".2f"),
                _figure(line.in_vain, ".0%"),
            ]
            for line in entry.lines
        ],
        title=f"{entry.predictor}; calls, and prompts asked again in vain, at 95 %",
    )
    show_table(
        ["check", "looked at", "silent", "passes", "right", "wrong", "mixed", "AUC within a source"],
        [
            [
                check.check,
                str(check.n_looked),
                f"{check.silent:.0%}",
                _figure(check.passed, ".0%"),
                f"{check.reliability.passes_right:.3f}",
                f"{check.reliability.passes_wrong:.3f}",
                _figure(check.reliability.passes_mixed, ".3f"),
                _figure(check.auc, ".2f"),
            ]
            for check in entry.checks
        ],
        title=f"{entry.predictor}: checks, measured on validation",
    )


def _print_hindsight(result: "CascadeResult") -> None:
    show_table(
        ["in hindsight", "score", "of best single's dollars", "calls"],
        [
            [line.label, f"{line.score:.3f}", f"{line.usd / result.best_single_usd:.0%}", f"{line.n_calls:.2f}"]
            for line in result.hindsight
        ],
    )


def _interval(found: "Interval", form: str) -> str:
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _figure(value: float | None, form: str) -> str:
    return UNKNOWN if value is None or math.isnan(value) else f"{value:{form}}"
