"""The command's entry point: subcommands, `--debug`, and errors as one readable message."""

import sys
from typing import Annotated

import typer

import lookahead_router
from lookahead_router.cli.card import card
from lookahead_router.cli.evaluate import evaluate
from lookahead_router.cli.export import export
from lookahead_router.cli.import_ import import_
from lookahead_router.cli.info import info
from lookahead_router.cli.push import push
from lookahead_router.cli.route import route
from lookahead_router.cli.train import train
from lookahead_router.cli.tune import calibrate, tune
from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    HubError,
    LookaheadRouterError,
    MissingDependencyError,
    PromptError,
    TrainingError,
)

EXIT_CODES: tuple[tuple[type[LookaheadRouterError], int], ...] = (
    (ConfigurationError, 2),
    (PromptError, 3),
    (DataError, 4),
    (CheckpointError, 5),
    (MissingDependencyError, 6),
    (TrainingError, 7),
    (HubError, 8),
    (LookaheadRouterError, 1),
)
"""The first matching class decides; 130 after Ctrl-C, and a quiet 1 when the reader of a pipe went away."""

app = typer.Typer(
    name="lookahead-router",
    help="Route each prompt to the LLM that will answer it best, by foreseeing the answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (route, evaluate, tune, train, import_, export, info, card, push):
    app.command(command.__name__.rstrip("_"))(command)
app.command("calibrate", hidden=True)(calibrate)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(lookahead_router.__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command and exits with the code of what happened."""
    try:
        app()
    except LookaheadRouterError as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))


if __name__ == "__main__":
    main()
