"""The border of the command: bytes in, characters out, and how it ends."""

import codecs
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unicodedata

import pytest
from rich.cells import cell_len

from lookahead_router.cli._input import read_prompts
from lookahead_router.cli._output import show_json, show_table, size
from lookahead_router.cli.main import main
from lookahead_router.errors import ConfigurationError, LookaheadRouterWarning, PromptError
from lookahead_router.files import write_text
from lookahead_router.saved.find import EMBEDDED
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.types import Candidate, CandidatePool

LINES = {
    "line feeds": (b"one\ntwo\n", ["one", "two"]),
    "carriage returns and line feeds": (b"one\r\n\r\ntwo", ["one", "two"]),
    "carriage returns": (b"one\rtwo\r", ["one", "two"]),
    "other breaks of Unicode stay": ("a\x0cb\x85c\u2028d\ne".encode(), ["a\x0cb\x85c\u2028d", "e"]),
    "a mark of UTF-8": (codecs.BOM_UTF8 + b"one\n", ["one"]),
    "UTF-16": ("one\r\nzwölf\r\n".encode("utf-16"), ["one", "zwölf"]),
    "UTF-16, the other order": (codecs.BOM_UTF16_BE + "one\n名".encode("utf-16-be"), ["one", "名"]),
    "UTF-16 without a mark": ("one\ntwo\n".encode("utf-16-le"), ["one", "two"]),
    "UTF-16 without a mark, the other order": ("one\ntwo\n".encode("utf-16-be"), ["one", "two"]),
    "UTF-32": ("one\ntwo\n".encode("utf-32"), ["one", "two"]),
    "a zero within": (b"a\0b\nc\n", ["a\0b", "c"]),
}


@pytest.fixture
def stdin(monkeypatch):
    def give(data: bytes, *, is_terminal: bool = False) -> None:
        stream = io.TextIOWrapper(io.BytesIO(data), encoding="ascii")
        stream.isatty = lambda: is_terminal
        monkeypatch.setattr(sys, "stdin", stream)

    return give


@pytest.mark.parametrize(("data", "prompts"), LINES.values(), ids=LINES)
def test_the_same_bytes_are_the_same_prompts_by_file_and_by_pipe(data, prompts, stdin, tmp_path):
    (tmp_path / "prompts.txt").write_bytes(data)
    stdin(data)
    assert read_prompts(None, tmp_path / "prompts.txt") == prompts
    assert read_prompts([], None) == prompts


def test_what_is_no_text_is_replaced_and_said_however_it_comes(stdin, tmp_path):
    data = "Résumé\nx".encode("latin-1")
    (tmp_path / "prompts.txt").write_bytes(data)
    expected = ["R\ufffdsum\ufffd", "x"]
    with pytest.warns(LookaheadRouterWarning, match=r"prompts\.txt is no UTF-8: 2 characters"):
        assert read_prompts(None, tmp_path / "prompts.txt") == expected
    stdin(data)
    with pytest.warns(LookaheadRouterWarning, match="standard input is no UTF-8"):
        assert read_prompts(["-"], None) == expected
    with pytest.warns(LookaheadRouterWarning, match="an argument is no UTF-8"):
        assert read_prompts([os.fsdecode(b"R\xe9sum\xe9"), "x"], None) == expected


def test_a_replacement_character_of_the_users_own_is_no_warning(stdin):
    stdin("a\ufffdb".encode())
    assert read_prompts(None, None) == ["a\ufffdb"]


@pytest.mark.parametrize("data", [b"", b"\n \r\n", codecs.BOM_UTF8 + b"\r\n", codecs.BOM_UTF16_LE])
def test_nothing_but_marks_and_blanks_is_no_prompt(data, stdin):
    stdin(data)
    with pytest.raises(PromptError, match="no prompt"):
        read_prompts(None, None)


def test_closed_standard_input_is_no_prompt(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(PromptError, match="no prompt"):
        read_prompts(None, None)


def test_a_dash_is_standard_input(stdin, tmp_path):
    for arguments, file in ((["-"], None), (None, tmp_path.__class__("-"))):
        stdin(b"one\n")
        assert read_prompts(arguments, file) == ["one"]


def test_a_terminal_is_told_what_is_waited_for(stdin, capsys):
    stdin(b"one\n", is_terminal=True)
    assert read_prompts(None, None) == ["one"]
    assert "reading prompts from the terminal" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".", "none.txt", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(name, tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_prompts(None, tmp_path / name)


ODD = ["Привет 名前 – …", "caf\xe9 \x1b[2J"]


@pytest.mark.parametrize("encoding", ["cp1252", "iso-8859-1", "ascii", "utf-8"])
def test_a_terminal_of_any_encoding_shows_the_table(cli, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert cli("route", *ODD)[0] == 0
    shown = out.buffer.getvalue().decode(encoding)
    assert "caf" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_json_has_the_very_values_on_any_terminal(monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    record = {"名": "\x1b[2J\x9b31m\u202e\u2028\U000e0041\x7f é\ud800"}
    show_json(record)
    out.flush()
    text = out.buffer.getvalue().decode(encoding)
    assert json.loads(text) == record
    assert {unicodedata.category(character) for character in text if character != "\n"}.isdisjoint({"Cc", "Cf", "Zl"})
    assert ("名" in text) == (encoding == "utf-8")


WIDE = [("a-name-without-a-break", "12.3 [10.1, 14.5]", "0.625"), ("名前名前名前 x", "–", "1.000")]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_table_loses_nothing_and_cuts_no_word(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show_table(("predictor", "normalised score", "hit rate of it"), WIDE, title="Predictors")
    out = capsys.readouterr().out
    for word in ("Predictors", "predictor", "normalised", "score", "rate", "12.3 [10.1, 14.5]", "0.625", "1.000"):
        assert word in out
    assert "a-name-without-a-break" in out
    assert "名前名前名前" in out
    assert max(cell_len(line) for line in out.splitlines()) <= columns


def test_a_word_longer_than_the_line_goes_on_in_the_next(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    show_table(("predictor", "score"), [("x" * 60, "0.625")])
    out = capsys.readouterr().out
    assert out.count("x") == 60
    assert "0.625" in out


def test_sizes_are_readable():
    sizes = {0: "0 B", 280: "280 B", 2400: "2.4 kB", 14_860_000: "14.9 MB", 3_200_000_000: "3.2 GB"}
    assert {n: size(n) for n in sizes} == sizes


def test_one_error_is_one_line_without_what_the_terminal_obeys(cli, tmp_path):
    code, out, err = cli("route", "x", "--router", "no\x1b[2J\nerror: forged\u202e")
    assert (code, out, err.count("\n")) == (5, "", 1)
    assert err.startswith("error: no\ufffd[2J error: forged\ufffd: no such folder")
    for arguments in (["--fr\x1b[2Job"], ["no\x1b[2Jne"], ["route", "x", "--threads", "\x1b[2J"]):
        code, _, err = cli(*arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert "\x1b" not in err


def test_an_unexpected_error_asks_for_a_report_without_the_prompt(cli, monkeypatch):
    from lookahead_router.router import Router

    def fail(self, prompts):
        raise RecursionError(f"at {prompts[0]}")

    monkeypatch.setattr(Router, "route_batch", fail)
    code, _, err = cli("route", "a secret")
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: RecursionError at lookahead_router/cli/route.py:")
    assert "please report it" in err
    assert "secret" not in err
    with pytest.raises(RecursionError):
        cli("--debug", "route", "a secret")


def test_what_the_system_refuses_is_named(cli, monkeypatch, tmp_path):
    import lookahead_router.data.importers as importers

    def refuse(*arguments, **options):
        write_text(tmp_path / "file" / "below.txt", "")

    (tmp_path / "file").write_text("")
    monkeypatch.setattr("lookahead_router.cli.import_.import_dataset", refuse)
    assert importers.FORMATS
    code, _, err = cli("import", "routerbench", tmp_path, tmp_path / "out.jsonl")
    assert (code, err.count("\n")) == (9, 1)
    assert "bug" not in err


def test_an_interrupt_is_130_and_nothing_else(cli, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("lookahead_router.cli.route.read_prompts", interrupt)
    assert cli("route", "x") == (130, "", "")


def start(*arguments, **options):
    command = [sys.executable, "-m", "lookahead_router", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_an_interrupt_from_outside_leaves_no_traceback():
    process = start("route", stdin=subprocess.PIPE)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode in (130, -signal.SIGINT)  # the latter before Python has taken over


def test_closed_streams_end_no_command_early():
    command = f'"{sys.executable}" -m lookahead_router route hi'
    closed = subprocess.run(["bash", "-c", f"{command} >&- 2>&-"], capture_output=True, timeout=100, check=False)
    assert closed.returncode == 0
    full = subprocess.run(["bash", "-c", f"{command} >/dev/full"], capture_output=True, timeout=100, check=False)
    assert full.returncode == 9
    assert full.stderr == b"error: No space left on device\n"


def test_the_module_is_the_command(monkeypatch, capsys):
    import lookahead_router
    import lookahead_router.__main__

    assert lookahead_router.__main__.main is main
    monkeypatch.setattr(sys, "argv", ["lookahead-router", "--version"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert capsys.readouterr().out.strip() == lookahead_router.__version__


def test_info_of_a_repository_fetches_no_weights(cli, monkeypatch):
    asked = []

    def fetch(repo_id, weights, options):
        asked.append((repo_id, list(weights), options))
        return PredictorFolder(EMBEDDED, commit="0123456789" * 4)

    monkeypatch.setattr("lookahead_router.saved.fetch.fetch", fetch)
    code, out, _ = cli("info", "org/name", "--revision", "v1")
    assert code == 0
    assert asked == [("org/name", [], {"revision": "v1"})]
    assert re.search(r"location +org/name", out)
    assert "0123456789" in out
    assert re.search(r"onnx/model_int8\.onnx │ +[\d.]+ MB", out)
    assert cli("info", "--revision", "v1")[0] == 2


def test_route_takes_a_policy_and_says_what_it_maximised(cli, tmp_path):
    folder = PredictorFolder(tmp_path / "priced")
    shutil.copytree(EMBEDDED, folder.path)
    prices = enumerate(folder.read_pool().names, start=1)
    pool = CandidatePool(Candidate(name=name, usd_per_call=0.01 * n) for n, name in prices)
    folder.write(folder.read_config(), pool)
    code, out, _ = cli("route", "hi", "--router", folder.path, "--policy", "cost-aware:100")
    assert code == 0
    assert "utility" in out
    assert re.search(rf"{pool.names[0]} .*chosen", out)
    assert cli("route", "hi", "--router", EMBEDDED, "--policy", "cost-aware:100")[0] == 2  # without prices
