"""`lookahead-router evaluate`: routers against the references and against each other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import POLICY_HELP, REVISION_HELP, ROUTER_HELP, parse_policy
from lookahead_router.cli._output import show, show_json
from lookahead_router.cli._scored import DATASET_HELP
from lookahead_router.errors import ConfigurationError, LookaheadRouterError
from lookahead_router.extras import require
from lookahead_router.files import check_folder

if TYPE_CHECKING:
    from lookahead_router.evaluation.entries import Ask, Entry
    from lookahead_router.evaluation.results import ComparisonReport

_EMBEDDER_HELP = "Sentence encoder of fitted predictors: folder, or org/name; MiniLM-L6 if absent."


def evaluate(
    data: Annotated[list[str], typer.Argument(help=DATASET_HELP)],
    router: Annotated[str | None, typer.Option(help=ROUTER_HELP)] = None,
    predictors: Annotated[
        str | None,
        typer.Option(
            help="Compare these, the first being the reference unless --router is given: lookahead, kinds to fit, "
            "folders, org/name or LABEL=LOCATION, with commas between. Repeat a label to average several seeds, or to "
            "give one predictor per dataset."
        ),
    ] = None,
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "best-quality",
    split: Annotated[str, typer.Option(help="Split to evaluate on; 'all' for every row.")] = "test",
    source: Annotated[list[str] | None, typer.Option(help="Only this benchmark; repeatable.")] = None,
    fit_data: Annotated[str | None, typer.Option(help="Learn from this file's train split instead.")] = None,
    embedder: Annotated[str | None, typer.Option(help=_EMBEDDER_HELP)] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each predictor that is random, averaged.")] = 1,
    revision: Annotated[str | None, typer.Option(help=REVISION_HELP)] = None,
    backend: Annotated[str, typer.Option(help="Runtime of saved predictors: auto, onnx-int8, onnx or torch.")] = "auto",
    engine: Annotated[str, typer.Option(help="Where saved predictors run: local, or ray, on a cluster.")] = "local",
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap samples behind the intervals.")] = 1000,
    leakage_check: Annotated[bool, typer.Option(help="Look for prompts of the train split.")] = True,
    report: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and report.html.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for embeddings, fits and predictions; REPORT/cache if absent.")
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the result in --router's folder and in its model card.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show how the routed answers score, beside random, best single and oracle, on average and per benchmark.

    Any number of routers, saved or fitted here, on any number of datasets. The best single candidate is
    looked up on the train split, and predictors are fitted there; validation rows calibrate them.
    """
    if save:
        _check_save(router, data, parse_policy(policy) != parse_policy("best-quality") or bool(source))
    if report is not None:
        require("matplotlib", "eval")  # not after all the work, as what follows
        check_folder(report)
        cache = cache or report / "cache"
    from lookahead_router.cli._comparison import all_failed, run_comparison

    found = run_comparison(
        data,
        _entries(router, predictors, backend, revision),
        split=split,
        sources=source,
        fit_data=fit_data,
        embedder=embedder,
        cache=cache,
        policy=parse_policy(policy),
        n_seeds=seeds,
        n_resamples=resamples,
        check_leakage=leakage_check,
        ask=_ask(engine),
        keep_going=predictors is not None or len(data) > 1,  # the error of the only router is the command's
    )
    if save:
        _save(Path(router), f"{Path(data[0]).stem}/{split}", found)
    _tell(found, report, as_json)
    if all_failed(found):
        raise LookaheadRouterError("no predictor could be evaluated; the report says why of each")


def _ask(engine: str) -> "Ask":
    """Where saved predictors predict."""
    if engine not in ("local", "ray"):
        raise ConfigurationError(f"--engine: expected local or ray, got {engine!r}")
    if engine == "ray":
        require("ray", "ray")  # not after all the reading
        from lookahead_router.integrations.ray import ask_cluster

        return ask_cluster
    from lookahead_router.evaluation.entries import ask_here

    return ask_here


def _entries(router: str | None, predictors: str | None, backend: str, revision: str | None) -> "list[Entry]":
    """Who takes part: the router first, where one is given, or nothing is."""
    from lookahead_router.cli._comparison import parse_entries
    from lookahead_router.evaluation.entries import Entry

    if revision is not None and router is None:
        raise ConfigurationError("--revision is that of --router with org/name; give one")
    entries = parse_entries(predictors, backend) if predictors is not None else []
    if router is not None or not entries:
        entries.insert(0, Entry(router or "lookahead", locations=(router,), backend=backend, revision=revision))
    return entries


def _tell(found: "ComparisonReport", report: Path | None, as_json: bool) -> None:
    """Writes the report, if one is wanted, and shows what was found."""
    from lookahead_router.cli._tables import print_comparison

    if report is not None:
        from lookahead_router.evaluation.report import write_report

        write_report(found, report)
    if as_json:
        show_json(found.to_dict())
        return
    print_comparison(found)
    if report is not None:
        show(f"wrote {report / 'report.md'}, report.html and report.json")


def _check_save(router: str | None, data: list[str], is_partial: bool) -> None:
    if router is None or not Path(router, "tokenizer.json").is_file():  # a fitted predictor has no card
        raise ConfigurationError("--save needs --router with the folder of a saved Lookahead predictor")
    if is_partial or len(data) > 1:
        raise ConfigurationError(
            "--save keeps the figures of all benchmarks of one dataset under best-quality; leave out the others"
        )


def _save(path: Path, name: str, report: "ComparisonReport") -> None:
    """Keeps the figures of the first entry, if it has some."""
    from lookahead_router.evaluation.evaluate import EvaluationReport
    from lookahead_router.saved.card import record_result, write_card
    from lookahead_router.saved.folder import PredictorFolder

    result = report.datasets[0]
    if result.predictors[0].error is None:
        folder = PredictorFolder(path)
        record_result(folder, name, EvaluationReport.of(result, result.predictors[0]).to_dict())
        write_card(folder)
