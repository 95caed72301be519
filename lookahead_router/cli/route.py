"""`lookahead-router route`: prompts in, decisions out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._input import read_prompts
from lookahead_router.cli._options import (
    BackendOption,
    PolicyOption,
    RevisionOption,
    RouterOption,
    ThreadsOption,
    load_router,
    parse_policy,
    split_names,
)
from lookahead_router.cli._output import UNKNOWN, progress, shortened, show_json, show_table, terminal_width
from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router.types import Decision

LEAST_PROMPT_CELLS = 20
"""What is shown of a prompt at least, in cells of the terminal."""
FIGURES_CELLS = 27
"""What a line of the table takes beside the prompt and the name."""


def route(
    prompts: Annotated[list[str] | None, typer.Argument(help="Prompts; standard input when absent or '-'.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A text file, one prompt a line; '-' for standard input.")
    ] = None,
    router: RouterOption = None,
    revision: RevisionOption = None,
    policy: PolicyOption = "best-quality",
    candidates: Annotated[str | None, typer.Option(help="Decide among these names only, comma-separated.")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="NAME=NEW: show a candidate under another name.")] = None,
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a prompt and line.")] = False,
) -> None:
    """Show which candidate each prompt goes to, and the predicted scores."""
    chosen_policy, aliases = parse_policy(policy), _aliases(alias or [])
    texts = read_prompts(prompts, file)
    with progress(f"routing {len(texts)} prompts"):
        chosen = load_router(
            router, revision=revision, backend=backend, threads=threads, policy=chosen_policy, aliases=aliases
        )
        if candidates is not None:
            chosen = chosen.restrict_to(split_names(candidates))
        decisions = chosen.route_batch(texts)
    if as_json:
        for decision in decisions:
            show_json(decision.to_dict(), indent=None)
    elif len(decisions) == 1:
        _show_candidates(decisions[0])
    else:
        _show_choices(texts, decisions)


def _aliases(pairs: list[str]) -> dict[str, str]:
    aliases = {}
    for pair in pairs:
        name, separator, new = pair.partition("=")
        if not (separator and name and new):
            raise ConfigurationError(f"an alias reads NAME=NEW, got {pair!r}")
        aliases[name] = new
    return aliases


def _show_candidates(decision: "Decision") -> None:
    """Every candidate, the choice first; utilities where they are not the scores."""
    excluded = sorted(set(decision.scores) - set(decision.utilities), key=decision.scores.__getitem__, reverse=True)
    names = [*decision.ranking, *excluded]
    has_utilities = decision.utilities != decision.scores
    rows = []
    for name in names:
        utility = f"{decision.utilities[name]:.3f}" if name in decision.utilities else UNKNOWN
        figures = (f"{decision.scores[name]:.3f}", *([utility] if has_utilities else ()))
        rows.append((name, *figures, "chosen" if name == decision.name else ""))
    head = ("candidate", "predicted score", *(["utility"] if has_utilities else ()), "")
    show_table(head, rows, texts=(0, len(head) - 1), styles=["bold green"])


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
