"""`lookahead-router tune`: the setting of a policy that reaches a target on the user's data."""

import json
import warnings
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import (
    BackendOption,
    JsonOption,
    RevisionOption,
    RouterOption,
    load_router,
    policy_words,
)
from lookahead_router.cli._output import UNKNOWN, note, show, show_json, show_table
from lookahead_router.cli._scored import DATASET_HELP, read_dataset
from lookahead_router.errors import TruncatedPromptWarning

if TYPE_CHECKING:
    from lookahead_router.evaluation.tune import TuneReport


class PolicyKind(StrEnum):
    """Choices of `--policy`."""

    THRESHOLD = "threshold"
    COST_AWARE = "cost-aware"


def tune(
    data: Annotated[str, typer.Argument(help=DATASET_HELP)],
    router: RouterOption = None,
    revision: RevisionOption = None,
    split: Annotated[str, typer.Option(help="Split that the setting is chosen on.")] = "validation",
    test_split: Annotated[str, typer.Option(help="Split that it is shown on as well, if there.")] = "test",
    policy: Annotated[PolicyKind, typer.Option(help="The policy whose setting is sought.")] = PolicyKind.THRESHOLD,
    target_quality: Annotated[
        float | None, typer.Option(help="Share of the best single candidate's mean score to keep, e.g. 0.95.")
    ] = None,
    target_usd: Annotated[float | None, typer.Option(help="Mean dollars a prompt to stay within.")] = None,
    backend: BackendOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the policy that keeps a quality for the least money, or the best one within a budget.

    Give --target-quality or --target-usd. Prices are those of the predictor's pool if it has them all, else the mean
    costs in the dataset.
    """
    from lookahead_router.evaluation.tune import tune as run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        report = run(
            load_router(router, revision=revision, backend=backend),
            read_dataset(data),
            kind=policy.value,
            target_quality=target_quality,
            target_usd=target_usd,
            split=split,
            test_split=test_split,
        )
    if as_json:
        show_json(report.to_dict())
    else:
        _show_report(report)


@wraps(tune)
def calibrate(**options) -> None:
    """The former name of `tune`."""
    note("note: this command is now called tune; calibrate goes in the next version")
    tune(**options)


def _show_report(report: "TuneReport") -> None:
    head = ("split", "prompts", "score", "best single", "USD a prompt", "best single, USD", "saved")
    rows = [
        (
            result.split,
            str(result.n_prompts),
            f"{100 * result.score:.1f}",
            f"{100 * result.best_single_score:.1f}",
            f"{result.usd_per_prompt:.3g}",
            f"{result.best_single_usd_per_prompt:.3g}",
            UNKNOWN if result.saved is None else f"{100 * result.saved:.1f} %",
        )
        for result in report.results
    ]
    show_table(head, rows)
    names = list(report.results[0].shares)
    shares = [(name, *(f"{100 * result.shares[name]:.1f}" for result in report.results)) for name in names]
    show_table(("share of the prompts in %", *(result.split for result in report.results)), shares)
    first = report.results[0]
    lines = [f"best single candidate on {first.split}: {first.best_single}"]
    if report.n_unscored:
        lines[0] += f"; {report.n_unscored} prompts without all scores left out"
    lines.append(f"policy: {report.policy!r}; to evaluate it: --policy {policy_words(report.policy)}")
    lines.append(f"dollars a call: {json.dumps(report.usd_per_call, ensure_ascii=False)}")
    for line in lines:
        show(line)
