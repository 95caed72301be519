"""The commands, and what stands before them: `--debug` and `--version`."""

import gc
import keyword
from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Annotated

import typer

import lookahead_router

COMMANDS = (
    "route",
    "serve",
    "candidates",
    "sample",
    "collect",
    "judge",
    "fit",
    "onboard",
    "report",
    "evaluate",
    "cascade",
    "audit",
    "routes",
    "tune",
    "train",
    "import",
    "export",
    "info",
    "card",
    "push",
)
"""In the order of the help. A command is a function in a file of its own, both under its name."""
_HIDDEN = {"calibrate": "tune"}
"""Earlier names of commands, by the file that they stand in."""


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the command that the arguments name, and with no other, which would take its time to
    load; with all of them where none is named, as for the help, but not for the version."""
    app = typer.Typer(
        name="lookahead-router",
        help="Route each prompt to the LLM that will answer it best, by foreseeing the answers.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_options,
    )
    files = {**{name: name for name in COMMANDS}, **_HIDDEN}
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    if named in files:
        files = {named: files[named]}
    elif "--version" in arguments:
        files = {}
    for name, file in files.items():
        function = _function(file, name)
        app.command(name, hidden=name in _HIDDEN, help=_flowing(function.__doc__ or ""))(function)
    return app


def _flowing(text: str) -> str:
    """Paragraphs without the line breaks of the source, which would stand in the help beside those of the terminal."""
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _function(file: str, name: str):
    """A keyword of Python has an underscore behind it where it is a name."""
    file, name = (f"{each}_" if keyword.iskeyword(each) else each for each in (file, name))
    return getattr(import_module(f"lookahead_router.cli.{file}"), name)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(lookahead_router.__version__)
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    gc.freeze()
    gc.enable()
