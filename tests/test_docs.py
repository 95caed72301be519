"""Code and output in README and docs are what runs: offline, with the embedded predictor."""

import re
import shlex
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import typer

from lookahead_router.cli.app import app_for
from lookahead_router.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if path.is_file()]
BLOCK = re.compile(r"^```python *([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console *([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ELIDED = "[…]"
DECIMAL = re.compile(r"\d+\.\d+")
COMMANDS = {name: each for name, each in typer.main.get_command(app_for([])).commands.items() if not each.hidden}
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [code for info, code in BLOCK.findall(page.read_text(encoding="utf-8")) if info != "no-run"]
    namespace = {"__name__": "__docs__"}
    for code in blocks:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, page.name, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def entries(block: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown below it."""
    found = re.split(r"^\$ ", block.replace("\\\n", " "), flags=re.MULTILINE)[1:]
    return [(command.strip(), output) for command, _, output in (entry.partition("\n") for entry in found)]


def is_shown(output: str, printed: str) -> bool:
    """Whether output is what was printed: with elisions, and decimals that are right to a hundredth.

    Processors round the sums of small integers differently.
    """
    lines = []
    for line in output.rstrip().split("\n"):
        if line.strip() == ELIDED:
            lines.append(r"(?:.*\n)*?")
        else:
            parts = [DECIMAL.sub(r"(\\d+\\.\\d+)", re.escape(part).replace(r"\.", ".")) for part in line.split(ELIDED)]
            lines.append(".*?".join(parts) + r"\n")
    match = re.fullmatch("".join(lines), printed)
    figures = DECIMAL.findall(output)
    return match is not None and all(
        abs(float(shown) - float(real)) <= 0.011 for shown, real in zip(figures, match.groups(), strict=True)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_console_blocks_show_what_the_command_prints(page, tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    blocks = [block for info, block in CONSOLE.findall(page.read_text(encoding="utf-8")) if info != "no-run"]
    for command, output in (entry for block in blocks for entry in entries(block)):
        if not output.strip() or not command.startswith("lookahead-router "):
            continue
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit):
            main()
        printed = "".join(line.rstrip() + "\n" for line in capsys.readouterr().out.rstrip().split("\n"))
        assert is_shown(output, printed), f"{page.name} shows another output than\n$ {command}\n{printed}"


def options(command: str) -> set[str]:
    """The options that a command knows."""
    return {name for parameter in COMMANDS[command].params for name in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_options_in_console_blocks_exist(page):
    blocks = [block for _, block in CONSOLE.findall(page.read_text(encoding="utf-8"))]
    for command, _ in (entry for block in blocks for entry in entries(block)):
        for name, arguments in re.findall(r"lookahead-router(?: --debug)? ([a-z]+)([^|&]*)", command):
            unknown = set(re.findall(r"(?<=\s)--[a-z-]+", arguments)) - options(name)
            assert not unknown, f"{page.name}: lookahead-router {name} has no {', '.join(unknown)}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_names_every_option(command):
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert f"\n## {command}\n" in text
    section = text.split(f"\n## {command}\n", 1)[1].split("\n## ")[0]
    missing = [name for name in options(command) if name.startswith("--") and f"{name}" not in section]
    off = {f"--{name.removeprefix('--no-')}" for name in re.findall(r"--no-[a-z-]+", section)}
    assert set(missing) - off == {"--help"} & set(missing)


def test_the_comparison_of_outputs_can_fail():
    printed = "a 0.546 b\nsecond\nthird x\n"
    for output in ("a 0.546 b\nsecond\nthird x", "a 0.55 b\n[…]\nthird […]", "[…]\nthird x", "a […]\nsecond\nthird x"):
        assert is_shown(output, printed)
    for output in ("a 0.57 b\nsecond\nthird x", "a 0.546 b", "a 0.546 b\nthird x", "a 0.546 c\n[…]", "[…]\nsecond"):
        assert not is_shown(output, printed)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_breaks_its_lines_where_the_terminal_does(command):
    assert [each for each in COMMANDS[command].help.split("\n\n") if "\n" in each] == []
    assert COMMANDS[command].help[0].isupper()
