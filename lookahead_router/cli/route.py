"""`lookahead-router route`: prompts in, decisions out."""

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._options import REVISION_HELP, ROUTER_HELP
from lookahead_router.errors import ConfigurationError, PromptError, TruncatedPromptWarning


def route(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts; standard input when absent or '-'.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A text file, one prompt a line.")] = None,
    router: Annotated[str | None, typer.Option(help=ROUTER_HELP)] = None,
    revision: Annotated[str | None, typer.Option(help=REVISION_HELP)] = None,
    candidates: Annotated[str | None, typer.Option(help="Decide among these names only, comma-separated.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="NAME=NEW: show a candidate under another name.")] = None,
    backend: Annotated[str, typer.Option(help="auto, onnx-int8, onnx or torch.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a prompt and line.")] = False,
) -> None:
    """Show which candidate each prompt goes to, and the predicted scores."""
    from lookahead_router.router import Router

    texts = _read_prompts(prompts, file)
    chosen = Router.from_pretrained(router, revision=revision, backend=backend, aliases=_aliases(alias or []))
    if candidates is not None:
        chosen = chosen.restrict_to([name.strip() for name in candidates.split(",")])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TruncatedPromptWarning)
        decisions = chosen.route_batch(texts)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if as_json:
        for decision in decisions:
            typer.echo(json.dumps(decision.to_dict(), ensure_ascii=False))
        return
    _print_table(texts, decisions, chosen.pool.names)


def _read_prompts(prompts: list[str] | None, file: Path | None) -> list[str]:
    if file is not None:
        if prompts:
            raise ConfigurationError("give prompts or --file, not both")
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError as error:
            raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    elif not prompts or prompts == ["-"]:
        lines = sys.stdin.read().split("\n")
    else:
        return prompts
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise PromptError("there is no prompt to route; give one a line")
    return texts


def _aliases(pairs: list[str]) -> dict[str, str]:
    aliases = {}
    for pair in pairs:
        name, separator, new = pair.partition("=")
        if not (separator and name and new):
            raise ConfigurationError(f"an alias reads NAME=NEW, got {pair!r}")
        aliases[name] = new
    return aliases


def _print_table(texts: list[str], decisions: list, names: tuple[str, ...]) -> None:
    """All scores of a single prompt; the choice for each of several."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if len(texts) == 1:
        decision = decisions[0]
        table = Table("candidate", "predicted score", "", title=None)
        for name in sorted(names, key=decision.scores.__getitem__, reverse=True):
            style = "bold green" if name == decision.name else None
            mark = "chosen" if name == decision.name else ""
            table.add_row(escape(name), f"{decision.scores[name]:.3f}", mark, style=style)
        console.print(table)
        return
    table = Table("prompt", "chosen", "score", "margin")
    room = max(20, console.width - max(len(name) for name in names) - 30)
    for text, decision in zip(texts, decisions, strict=True):
        line = " ".join(text.split())
        table.add_row(
            escape(line if len(line) <= room else line[: room - 1] + "…"),
            f"[bold green]{escape(decision.name)}[/]",
            f"{decision.scores[decision.name]:.2f}",
            "–" if decision.margin is None else f"{decision.margin:.2f}",
        )
    console.print(table)
