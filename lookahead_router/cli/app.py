"""The commands, and what stands before them: `--debug` and `--version`."""

from typing import Annotated

import typer

import lookahead_router
from lookahead_router.cli.candidates import candidates
from lookahead_router.cli.card import card
from lookahead_router.cli.collect import collect
from lookahead_router.cli.evaluate import evaluate
from lookahead_router.cli.export import export
from lookahead_router.cli.fit import fit
from lookahead_router.cli.import_ import import_
from lookahead_router.cli.info import info
from lookahead_router.cli.judge import judge
from lookahead_router.cli.onboard import onboard
from lookahead_router.cli.push import push
from lookahead_router.cli.report import report
from lookahead_router.cli.route import route
from lookahead_router.cli.sample import sample
from lookahead_router.cli.serve import serve
from lookahead_router.cli.train import train
from lookahead_router.cli.tune import calibrate, tune

COMMANDS = (
    route,
    serve,
    candidates,
    sample,
    collect,
    judge,
    fit,
    onboard,
    report,
    evaluate,
    tune,
    train,
    import_,
    export,
    info,
    card,
    push,
)
"""In the order of the help. A command is a function in a file of its own, under the function's name."""

app = typer.Typer(
    name="lookahead-router",
    help="Route each prompt to the LLM that will answer it best, by foreseeing the answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
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
