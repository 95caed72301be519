import io
import sys

import pytest

from lookahead_router.cli.main import main


@pytest.fixture
def cli(monkeypatch, capsys):
    """Runs the command in this process: exit code, standard output, standard error."""

    def run(*arguments, stdin: str | bytes | None = "", columns=200):
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "argv", ["lookahead-router", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", None if data is None else io.TextIOWrapper(io.BytesIO(data)))
        monkeypatch.setenv("COLUMNS", str(columns))
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
