"""`lookahead-router route`: prompts in, decisions out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookahead_router.cli._input import read_prompts
from lookahead_router.cli._options import (
    BackendOption,
    CandidatesOption,
    PolicyOption,
    QualityOption,
    RevisionOption,
    RouterOption,
    ThreadsOption,
    load_router,
    parse_candidates,
    parse_policy,
)
from lookahead_router.cli._output import UNKNOWN, progress, shortened, show, show_json, show_table, terminal_width
from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router.router import Router
    from lookahead_router.types import Decision

LEAST_PROMPT_CELLS = 20
"""What is shown of a prompt at least, in cells of the terminal."""
FIGURES_CELLS = 27
"""What a line of the table takes beside the prompt and the name."""


def route(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts; standard input when absent or '-'.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="A text file, one prompt a line; '-' for standard input. Or Parquet."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Parquet with a decision for each row of --file, Parquet too.")
    ] = None,
    column: Annotated[str, typer.Option(help="Column of Parquet that holds the prompts.")] = "prompt",
    engine: Annotated[
        str, typer.Option(help="Where prompts are read: local, or ray, on all machines of a cluster.")
    ] = "local",
    router: RouterOption = None,
    revision: RevisionOption = None,
    policy: PolicyOption = None,
    quality: QualityOption = None,
    candidates: CandidatesOption = None,
    routes: Annotated[
        Path | None, typer.Option(help="File of routes, kinds of requests with their candidates: YAML or JSON.")
    ] = None,
    alias: Annotated[list[str] | None, typer.Option(help="NAME=NEW: show a candidate under another name.")] = None,
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a prompt and line.")] = False,
) -> None:
    """Show which candidate each prompt goes to, how likely a good answer is, and what it is expected to cost."""
    # numpy would start a thread for every core, which takes as long as all else of it, for products that fit into one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = {"policy": None if policy is None else parse_policy(policy), "aliases": _aliases(alias or [])}
    if candidates is not None:
        settings["candidates"] = parse_candidates(candidates)
    if routes is not None:
        from lookahead_router.routes import Routes

        settings["routes"] = Routes.read(routes)
    if output is not None or engine != "local":
        _check_tables(prompts, file, output, engine)
        settings |= {"revision": revision, "backend": backend, "quality": quality}
        _route_tables(file, output, column, engine, threads, {"location": router, **settings})
        return
    texts = read_prompts(prompts, file)
    with progress(f"routing {len(texts)} prompts"):
        chosen = load_router(router, revision=revision, backend=backend, threads=threads, quality=quality, **settings)
        decisions = chosen.route_batch(texts)
    if as_json:
        for decision in decisions:
            show_json(decision.to_dict(), indent=None)
    elif len(decisions) == 1:
        _show_candidates(decisions[0], chosen)
        if routes is not None:
            name, similarity = decisions[0].route, decisions[0].similarity
            show(f"{'no route' if name is None else f'route {name}'}, similarity {similarity:.2f}")
    else:
        _show_choices(texts, decisions)


def _check_tables(prompts: list[str] | None, file: Path | None, output: Path | None, engine: str) -> None:
    if engine not in ("local", "ray"):
        raise ConfigurationError(f"--engine: expected local or ray, got {engine!r}")
    if prompts or file is None or output is None:
        raise ConfigurationError("tables are routed from --file to --output; give both, and no prompts beside them")
    if engine == "local" and file.suffix != ".parquet":
        raise ConfigurationError(f"--output takes the rows of a Parquet file; {file} does not end in .parquet")


def _route_tables(
    file: Path, output: Path, column: str, engine: str, threads: int | None, settings: dict[str, Any]
) -> None:
    if engine == "ray":
        from lookahead_router.integrations.ray import route_parquet

        n_rows = route_parquet(
            file, output, {name: each for name, each in settings.items() if each is not None}, column=column
        )
    else:
        from lookahead_router.batch import route_parquet

        with progress("loading the router") as update:
            chosen = load_router(settings.pop("location"), threads=threads, **settings)
            n_rows = route_parquet(
                chosen, file, output, column=column, told=lambda done, total: update(f"{done:,} rows", done / total)
            )
    show(f"{n_rows:,} rows with a decision each in {output}")


def _aliases(pairs: list[str]) -> dict[str, str]:
    aliases = {}
    for pair in pairs:
        name, separator, new = pair.partition("=")
        if not (separator and name and new):
            raise ConfigurationError(f"an alias reads NAME=NEW, got {pair!r}")
        aliases[name] = new
    return aliases


def _show_candidates(decision: "Decision", router: "Router") -> None:
    """Every candidate, the choice first; only the columns that tell something."""
    from lookahead_router.workhorse import Workhorse

    excluded = sorted(set(decision.scores) - set(decision.utilities), key=decision.scores.__getitem__, reverse=True)
    names = [*decision.ranking, *excluded]
    columns: dict[str, dict[str, str]] = {}
    errors = decision.standard_errors
    if errors is None or decision.probabilities != decision.scores:
        columns["predicted score"] = {name: f"{score:.3f}" for name, score in decision.scores.items()}
    else:
        chances = decision.scores.items()
        columns["chance of a good answer"] = {name: f"{chance:.2f} ± {errors[name]:.2f}" for name, chance in chances}
    if decision.expected_usd:
        columns["expected USD"] = {name: f"{usd:.2g}" for name, usd in decision.expected_usd.items()}
    horse = router.policy if isinstance(router.policy, Workhorse) and router.policy.name in decision.utilities else None
    if horse is None and decision.utilities != decision.scores:
        columns["utility"] = {name: f"{utility:.3f}" for name, utility in decision.utilities.items()}
    columns[""] = {**({} if horse is None else {horse.name: "workhorse"}), decision.name: "chosen"}
    said = {name: words for name, words in router.taken_for.items() if not _is_plainly_known(words)}
    if said:
        columns["taken for"] = said
    blank = {"": "", "taken for": ""}
    rows = [(name, *(cells.get(name, blank.get(head, UNKNOWN)) for head, cells in columns.items())) for name in names]
    texts = (0, *(k for k, head in enumerate(columns, start=1) if head in ("", "taken for")))
    show_table(("candidate", *columns), rows, texts=texts, styles=["bold green"])
    if horse is not None:
        show(f"{horse.name} answers unless another is foreseen to be better by more than {horse.gain:g}")


def _is_plainly_known(words: str) -> bool:
    return words.startswith("known (") and words.endswith("public answers)")


def _show_choices(texts: list[str], decisions: "list[Decision]") -> None:
    room = max(LEAST_PROMPT_CELLS, terminal_width() - max(len(name) for name in decisions[0].scores) - FIGURES_CELLS)
    rows = [
        (
            shortened(text, room),
            decision.name,
            f"{decision.scores[decision.name]:.2f}",
            UNKNOWN if decision.margin is None else f"{decision.margin:.2f}",
        )
        for text, decision in zip(texts, decisions, strict=True)
    ]
    show_table(("prompt", "chosen", "score", "margin"), rows, texts=(0, 1))
