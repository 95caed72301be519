"""What `--help` says of commands and options."""

import re

import pytest
import typer

from lookahead_router.cli.app import COMMANDS, app_for

GROUP = typer.main.get_command(app_for([]))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole_sentences_that_name_the_thing_first(name):
    command = GROUP.commands[name]
    told = {"the command": command.help, **{each.name: each.help for each in command.params}}
    for what, words in told.items():
        assert words, f"{name}: nothing is said of {what}"
        assert words.rstrip().endswith("."), f"{name}, {what}: {words}"
        assert not re.match(r"(Of|Until|For|By|As|Another|The same|The longest)\b", words), f"{name}, {what}: {words}"
