"""The process around the commands: streams, interrupts, and errors as one line and an exit code."""

import gc
import itertools
import os
import sys
import warnings
from pathlib import Path

from lookahead_router.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    HubError,
    LookaheadRouterError,
    LookaheadRouterWarning,
    MissingDependencyError,
    PrivacyError,
    PromptError,
    TrainingError,
)
from lookahead_router.escaping import to_terminal

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigurationError, 2),
    (PromptError, 3),
    (PrivacyError, 11),
    (DataError, 4),
    (CheckpointError, 5),
    (MissingDependencyError, 6),
    (TrainingError, 7),
    (HubError, 8),
    (OSError, 9),
    (KeyboardInterrupt, 130),
    (BaseException, 1),
)
"""The first matching class decides."""
USAGE_CODE = 2
QUIET_CODE = 1
"""Where the reader of a pipe went away."""
_PACKAGE = Path(__file__).parents[1]


def main() -> None:
    """Runs the command and exits with the code of what happened."""
    gc.disable()  # until the command begins; see load_router
    # Its plugins may see what is checked, prompts and keys as well, and finding them reads every installed package.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        _prepare_streams()
        with warnings.catch_warnings():
            warnings.simplefilter("always", LookaheadRouterWarning)
            warnings.showwarning = _Warnings(warnings.showwarning)
            code = _run()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # not on the way out, where a reader that went away is a traceback
    except BrokenPipeError:
        _forget_the_reader()
        code = QUIET_CODE
    except (Exception, KeyboardInterrupt) as error:
        if _is_debugging() and not isinstance(error, KeyboardInterrupt):
            raise
        if not isinstance(error, KeyboardInterrupt):
            print(f"error: {_message(error)}", file=sys.stderr)
        code = next(code for kind, code in EXIT_CODES if isinstance(error, kind))
    gc.freeze()  # all goes now: no use to look for garbage in it
    sys.exit(code)


def _run() -> int:
    from typer import Abort, BadParameter

    from lookahead_router.cli.app import app_for

    # Of click, or of typer's own copy of it.
    usage_error = BadParameter.__mro__[1]
    try:
        # An exit code where a command ended early, such as after --help.
        return app_for(sys.argv[1:])(standalone_mode=False, prog_name="lookahead-router") or 0
    except usage_error as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help, unless that was printed before
            print(error.format_message(), end="")
            return USAGE_CODE
        path = error.ctx.command_path if error.ctx else "lookahead-router"
        raise ConfigurationError(f"{error.format_message().rstrip('.')}; see: {path} --help") from error
    except Abort as error:
        raise KeyboardInterrupt from error


def _prepare_streams() -> None:
    """Gives standard output and error a stream where they are closed, and lets none fail for a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _is_debugging() -> bool:
    return "--debug" in itertools.takewhile(lambda argument: argument.startswith("-"), sys.argv[1:])


def _message(error: BaseException) -> str:
    if isinstance(error, LookaheadRouterError):
        return to_terminal(str(error))
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return to_terminal(f"{place}{error.strerror}")
    import traceback

    # Its own words may hold a prompt, and are for us to read.
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    place = f" at {Path(ours[-1].filename).relative_to(_PACKAGE.parent)}:{ours[-1].lineno}" if ours else ""
    return (
        f"{type(error).__name__}{place}: a bug in lookahead-router; please report it with what "
        "'lookahead-router --debug COMMAND ...' shows, without what is private in it"
    )


def _forget_the_reader() -> None:
    """Lets what is still to be written go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
        except (OSError, ValueError):
            pass


class _Warnings:
    """Shows warnings of ours as a line each, once; others as before."""

    def __init__(self, others) -> None:
        self.others = others
        self.shown: set[str] = set()

    def __call__(self, message, category, *place, **more) -> None:
        if not issubclass(category, LookaheadRouterWarning):
            self.others(message, category, *place, **more)
        elif (line := to_terminal(f"warning: {message}")) not in self.shown:
            self.shown.add(line)
            print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
