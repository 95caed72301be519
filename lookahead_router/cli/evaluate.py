"""`lookahead-router evaluate`: a router against the references, or many predictors against each other."""

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._options import POLICY_HELP, REVISION_HELP, ROUTER_HELP, parse_policy
from lookahead_router.errors import ConfigurationError, TruncatedPromptWarning
from lookahead_router.extras import require


def evaluate(
    data: Annotated[list[str], typer.Argument(help="Routing datasets: Parquet, JSONL, or org/name on the Hub.")],
    predictors: Annotated[
        str | None,
        typer.Option(
            help="Compare these, the first being the reference: lookahead, names of baselines, folders, org/name or "
            "LABEL=LOCATION, with commas between. Locations of one label are its seeds, or its datasets' predictors."
        ),
    ] = None,
    router: Annotated[str | None, typer.Option(help=ROUTER_HELP)] = None,
    revision: Annotated[str | None, typer.Option(help=REVISION_HELP)] = None,
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "best-quality",
    split: Annotated[str, typer.Option(help="Split to evaluate on; 'all' for every row.")] = "test",
    source: Annotated[list[str] | None, typer.Option(help="Only this benchmark; repeatable.")] = None,
    fit_data: Annotated[str | None, typer.Option(help="Baselines learn from this file's train split instead.")] = None,
    embedder: Annotated[
        str | None,
        typer.Option(help="Sentence encoder of the baselines: folder, or org/name on the Hub; MiniLM-L6 if absent."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each baseline, averaged.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and report.html.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for embeddings, fits and predictions; REPORT/cache if absent.")
    ] = None,
    leakage_check: Annotated[bool, typer.Option(help="Look for prompts of the train split.")] = True,
    backend: Annotated[str, typer.Option(help="auto, onnx-int8, onnx or torch.")] = "auto",
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap samples behind the intervals.")] = 1000,
    save: Annotated[bool, typer.Option("--save", help="Keep the result in the folder and in its model card.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Show per benchmark how the routed answers score, beside random, best single and oracle.

    With --predictors, compare any number of them on any number of datasets. The best single candidate is
    looked up on the train split, and baselines are fitted there; validation rows calibrate them.
    """
    if predictors is None and report is None and len(data) == 1:
        if any(value is not None for value in (fit_data, embedder, cache)) or seeds != 1 or not leakage_check:
            raise ConfigurationError(
                "--fit-data, --embedder, --cache, --seeds and --no-leakage-check are of a comparison; add --predictors"
            )
        _evaluate_one(data[0], router, revision, policy, split, source, backend, resamples, save, as_json)
        return
    if revision is not None or backend != "auto" or (predictors is not None and router is not None):
        raise ConfigurationError(
            "--revision and --backend are of one router on one dataset; of --router and --predictors, give one"
        )
    if save:
        raise ConfigurationError("--save keeps the result of one router on one dataset; leave out --predictors")
    if report is not None:
        require("matplotlib", "eval")  # not after all the work
    from lookahead_router.cli._comparison import parse_entries, run_comparison
    from lookahead_router.evaluation.entries import Entry

    found = run_comparison(
        data,
        [Entry(router or "lookahead", locations=(router,))] if predictors is None else parse_entries(predictors),
        split=split,
        sources=source,
        fit_data=fit_data,
        embedder=embedder,
        cache=report / "cache" if cache is None and report is not None else cache,
        policy=parse_policy(policy),
        n_seeds=seeds,
        n_resamples=resamples,
        check_leakage=leakage_check,
    )
    if report is not None:
        from lookahead_router.evaluation.report import write_report

        write_report(found, report)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return
    from lookahead_router.cli._tables import print_comparison

    print_comparison(found)
    if report is not None:
        typer.echo(f"wrote {report / 'report.md'}, report.html and report.json")


def _evaluate_one(
    data: str,
    router: str | None,
    revision: str | None,
    policy: str,
    split: str,
    sources: list[str] | None,
    backend: str,
    resamples: int,
    save: bool,
    as_json: bool,
) -> None:
    from lookahead_router.cli._comparison import choose_rows
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.evaluation.evaluate import evaluate as run
    from lookahead_router.router import Router

    if save and (router is None or not Path(router, "tokenizer.json").is_file()):  # a baseline has no card
        raise ConfigurationError("--save needs --router with the folder of a saved Lookahead predictor")
    if save and (sources or parse_policy(policy) != parse_policy("best-quality")):
        raise ConfigurationError("--save keeps the figures of all benchmarks under best-quality; leave out the others")
    dataset = RoutingDataset.from_file(data)
    train = dataset.filter(split="train") if "train" in dataset.splits and split != "train" else None
    chosen = Router.from_pretrained(router, backend=backend, revision=revision)
    prices = (dataset if train is None else train).align(chosen.pool).call_costs()
    priced = dict(zip(chosen.pool.names, chosen.pool.with_call_costs(prices), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedPromptWarning)
        report = run(
            chosen.with_aliases(priced).with_policy(parse_policy(policy)),
            choose_rows(dataset, split, sources),
            train=train,
            n_resamples=resamples,
        )
    if save:
        from lookahead_router.saved.card import record_result, write_card
        from lookahead_router.saved.folder import PredictorFolder

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
