"""At any width of the terminal, every figure of a table stands whole on one line."""

import re

import pytest

from lookahead_router.cli._output import show_table

HEAD = ("predictor", "average [95 %]", "minus lookahead [95 %, paired]", "USD per 1,000 prompts", "area under frontier")
ROWS = [
    ("lookahead", "41.4 [34.4, 48.1]", "–", "1,234", "0.804"),
    ("best per benchmark, in hindsight", "41.1 [33.3, 47.9]", "-32.4 [-41.4, -23.2]", "0.0123", "0.690"),
    ("runs/a/rather/long/folder/of/a/predictor", "-112.3 [-141.4, -10.8]", "83.0 % [69.0, 93.0]", "7", "–"),
]
FIGURES = [cell for row in ROWS for cell in row[1:]]


@pytest.fixture
def shown(monkeypatch, capsys):
    def show(width, head=HEAD, rows=ROWS, **options):
        monkeypatch.setenv("COLUMNS", str(width))
        show_table(head, rows, **options)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_figure_is_cut_or_broken_and_no_line_is_too_long(shown, width):
    out = shown(width, title="Predictors")
    assert max(map(len, out.splitlines())) <= width
    cells = [cell.strip() for line in out.splitlines() for cell in re.split("[│┃]", line)]
    for figure in FIGURES:
        assert figure in cells
    assert "…" not in out


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_of_a_head_is_broken(shown, width):
    words = {word for line in shown(width).splitlines() for word in re.split(r"[│┃\s]+", line)}
    for head in HEAD:
        assert set(head.split()) <= words


def test_a_table_that_fits_is_one_table(shown):
    assert shown(200).count("┏") == 1
    assert shown(60).count("┏") > 1


def test_a_single_row_that_is_too_wide_is_turned_on_its_side(shown):
    out = shown(60, rows=ROWS[:1])
    assert out.count("┏") == 1
    assert re.search(r"average \[95 %\] +│ +41\.4 \[34\.4, 48\.1\]", out)


def test_text_breaks_where_figures_do_not(shown):
    error = "none of its saved predictors has the candidates of this dataset " * 3
    out = shown(60, ("predictor", "error"), [("mine", error)], texts=(0, 1))
    assert max(map(len, out.splitlines())) <= 60
    words = [word for line in out.splitlines() for word in line.replace("│", " ").split()]
    assert [word for word in words if word in error.split()] == error.split()


def test_nothing_in_a_cell_acts_on_the_terminal(shown):
    assert "\x1b" not in shown(80, ("a", "b"), [("\x1b[31mred", "[bold]1[/]")])
    assert "[bold]1[/]" in shown(80, ("a", "b"), [("x", "[bold]1[/]")])
