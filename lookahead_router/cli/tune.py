"""`lookahead-router calibrate`: the setting of a policy that reaches a target on the user's data."""

import json
import sys
import warnings
from enum import StrEnum
from typing import Annotated

import typer

from lookahead_router.cli._options import REVISION_HELP, ROUTER_HELP, policy_words
from lookahead_router.errors import TruncatedPromptWarning, UncalibratedScoresWarning


class PolicyKind(StrEnum):
    """Choices of `--policy`."""

    THRESHOLD = "threshold"
    COST_AWARE = "cost-aware"


def calibrate(
    data: Annotated[str, typer.Argument(help="Routing dataset: Parquet, JSONL, or org/name on the Hub.")],
    router: Annotated[str | None, typer.Option(help=ROUTER_HELP)] = None,
    revision: Annotated[str | None, typer.Option(help=REVISION_HELP)] = None,
    split: Annotated[str, typer.Option(help="Split that the setting is chosen on.")] = "validation",
    test_split: Annotated[str, typer.Option(help="Split that it is shown on as well, if there.")] = "test",
    policy: Annotated[PolicyKind, typer.Option(help="The policy whose setting is sought.")] = PolicyKind.THRESHOLD,
    target_quality: Annotated[
        float | None, typer.Option(help="Share of the best single candidate's mean score to keep, e.g. 0.95.")
    ] = None,
    target_usd: Annotated[float | None, typer.Option(help="Mean dollars a prompt to stay within.")] = None,
    backend: Annotated[str, typer.Option(help="auto, onnx-int8, onnx or torch.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Find the policy that keeps a quality for the least money, or the best one within a budget.

    Give --target-quality or --target-usd. Prices are the mean costs in the dataset, else those of the predictor's pool.
    """
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.evaluation.tune import calibrate as run
    from lookahead_router.router import Router

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UncalibratedScoresWarning)
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        report = run(
            Router.from_pretrained(router, backend=backend, revision=revision),
            RoutingDataset.from_file(data),
            kind=policy.value,
            target_quality=target_quality,
            target_usd=target_usd,
            split=split,
            test_split=test_split,
        )
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"warning: {message}", file=sys.stderr)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_report(report)


def _print_report(report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "split", "prompts", "score", "best single", "usd a prompt", "best single, usd", "saved", "shares"
    )  # fmt: skip
    for result in report.results:
        table.add_row(
            escape(result.split),
            str(result.n_prompts),
            f"{100 * result.score:.1f}",
            f"{100 * result.best_single_score:.1f}",
            f"{result.usd_per_prompt:.3g}",
            f"{result.best_single_usd_per_prompt:.3g}",
            "–" if result.saved is None else f"{100 * result.saved:.1f} %",
            escape("\n".join(f"{name} {100 * share:.1f} %" for name, share in result.shares.items())),
            end_section=True,
        )
    console = Console()
    console.print(table)
    first = report.results[0]
    console.print(
        f"best single candidate on {escape(first.split)}: {escape(first.best_single)}"
        + (f"; {report.n_unscored} prompts without all scores left out" if report.n_unscored else "")
        + f"\npolicy: [bold]{escape(repr(report.policy))}[/]; to evaluate it: --policy {policy_words(report.policy)}"
        + f"\ndollars a call: {escape(json.dumps(report.usd_per_call, ensure_ascii=False))}",
        highlight=False,
        soft_wrap=True,
    )
