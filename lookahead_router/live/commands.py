"""A grader of the user's own, as a command: every answer in a directory of its own, with a time-out."""

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lookahead_router.errors import ConfigurationError
from lookahead_router.live.answers import Answer
from lookahead_router.live.verdicts import conversation_text, reference_text

_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LAST_LINE_BYTES = 1000
_NO_SUCH_COMMAND = (126, 127)
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")
"""Variables of the environment that are passed on: no key reaches what a model wrote."""


class Command:
    """A command that grades the answer in its working directory.

    The directory holds `response.txt`, `code.txt` (the fenced code blocks of the response, or all of it), `prompt.txt`
    and `reference.txt`. Exit status 0 scores 1, any other 0; a last line of output that is a number in [0, 1] is the
    score of a command that ends with 0. Whatever runs is the user's to confine: the command may be a container.
    """

    def __init__(self, command: str | Sequence[str], *, timeout_seconds: float) -> None:
        """Takes the command apart; files that it names stay found from another directory.

        Raises:
            ConfigurationError: there is no such command.
        """
        parts = shlex.split(command) if isinstance(command, str) else list(command)
        if not parts or shutil.which(parts[0]) is None:
            raise ConfigurationError(f"there is no command {parts[0] if parts else ''!r} to grade with")
        self._parts = [str(Path(part).resolve()) if _is_file_here(part) else part for part in parts]
        self._timeout = timeout_seconds

    async def grade(self, answer: Answer) -> float:
        """The score of an answer, in [0, 1].

        Raises:
            ConfigurationError: the command itself cannot run.
        """
        return await asyncio.to_thread(self._grade, answer)

    def _grade(self, answer: Answer) -> float:
        with tempfile.TemporaryDirectory(prefix="lookahead-router-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            for file, text in _files(answer).items():
                (folder / file).write_text(text, encoding="utf-8", errors="replace")
            with (folder / ".output").open("w+b") as output:
                status = self._run(folder, output)
                if status in _NO_SUCH_COMMAND:
                    raise ConfigurationError(
                        f"the command {shlex.join(self._parts)!r} ended with {status}, as one that cannot be run"
                    )
                return _score(output) if status == 0 else 0.0

    def _run(self, folder: Path, output) -> int:
        """The exit status; what runs longer is ended with all that it started."""
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), str(folder))
        with subprocess.Popen(
            self._parts,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(self._timeout)
            except subprocess.TimeoutExpired:
                return -1
            finally:
                _end(process)


def _files(answer: Answer) -> Mapping[str, str]:
    response = answer.response or ""
    return {
        "response.txt": response,
        "code.txt": "\n".join(_FENCED.findall(response)) or response,
        "prompt.txt": conversation_text(answer.prompt, answer.messages),
        "reference.txt": "" if answer.reference is None else reference_text(answer.reference),
    }


def _end(process: subprocess.Popen) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # its children too, which may outlive it
        else:
            process.kill()


def _score(output) -> float:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _LAST_LINE_BYTES))
    lines = output.read().decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    try:
        score = float(last)
    except ValueError:
        return 1.0
    return score if 0 <= score <= 1 else 1.0


def _is_file_here(part: str) -> bool:
    try:
        return not part.startswith("-") and Path(part).is_file()
    except (OSError, ValueError):
        return False
