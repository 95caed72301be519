"""`lookahead-router evaluate`: a router against the references on a dataset."""

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._options import REVISION_HELP, ROUTER_HELP
from lookahead_router.errors import ConfigurationError, TruncatedPromptWarning


def evaluate(
    data: Annotated[str, typer.Argument(help="Routing dataset: Parquet, JSONL, or org/name on the Hub.")],
    router: Annotated[str | None, typer.Option(help=ROUTER_HELP)] = None,
    revision: Annotated[str | None, typer.Option(help=REVISION_HELP)] = None,
    split: Annotated[str, typer.Option(help="Split to evaluate on; 'all' for every row.")] = "test",
    backend: Annotated[str, typer.Option(help="auto, onnx-int8, onnx or torch.")] = "auto",
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap samples behind the intervals.")] = 1000,
    save: Annotated[bool, typer.Option("--save", help="Keep the result in the folder and in its model card.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Show per benchmark how the routed answers score, beside random, best single and oracle.

    The best single candidate is looked up on the dataset's train split.
    """
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.evaluation.evaluate import evaluate as run
    from lookahead_router.router import Router

    if save and (router is None or not Path(router, "tokenizer.json").is_file()):  # a baseline has no card
        raise ConfigurationError("--save needs --router with the folder of a saved Lookahead predictor")
    dataset = RoutingDataset.from_file(data)
    train = dataset.filter(split="train") if "train" in dataset.splits and split != "train" else None
    rows = dataset if split == "all" else dataset.filter(split=split)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        report = run(
            Router.from_pretrained(router, backend=backend, revision=revision), rows, train=train, n_resamples=resamples
        )
    if save:
        from lookahead_router.hub.card import record_result, write_card
        from lookahead_router.hub.layout import PredictorFolder

        folder = PredictorFolder(Path(router))
        record_result(folder, f"{Path(data).stem}/{split}", report.to_dict())
        write_card(folder)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_report(report)


def _print_report(report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    def number(value: float | None, digits: int = 1) -> str:
        return "–" if value is None or value != value else f"{value:.{digits}f}"

    table = Table(
        "benchmark", "prompts", "random", "best single", "router", "oracle", "normalised [95 %]",
        "best single, norm.", "hindsight, norm.",
    )  # fmt: skip
    for result in (*report.sources, report.average):
        value, low, high = result.normalized
        style = "bold" if result is report.average else None
        table.add_row(
            escape(result.source or "–"),
            str(result.n_prompts),
            number(100 * result.random),
            number(result.best_single and 100 * result.best_single),
            number(100 * result.router),
            number(100 * result.oracle),
            f"{number(value)} [{number(low)}, {number(high)}]".replace("[", "\\["),
            number(result.best_single_normalized),
            number(result.hindsight_normalized),
            style=style,
            end_section=result is report.sources[-1],
        )
    console = Console()
    console.print(table)
    note = f"best single candidate on the train split: {report.best_single}" if report.best_single else "no train split"
    console.print(
        f"{escape(note)}; hindsight: best candidate per benchmark on these rows; "
        f"{report.average.n_prompts} prompts routed in {report.seconds:.1f} s"
        + (f"; {report.n_unscored} without all scores left out" if report.n_unscored else ""),
        highlight=False,
    )
