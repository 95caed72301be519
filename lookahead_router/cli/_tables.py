"""Tables on the terminal, of which no figure is cut or broken at any width; and comparisons in them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lookahead_router.escaping import to_terminal

if TYPE_CHECKING:
    from rich.console import Console

    from lookahead_router.evaluation.results import ComparisonReport

_SIDES = 3
"""Characters beside the content of a column: two spaces and a line."""
_MAX_LABEL = 28
"""Characters of the first column that stay on one line."""
_MIN_TEXT = 24
"""Characters that a column of text gets before its lines break."""


def print_table(
    console: "Console", head: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", is_text: bool = False
) -> None:
    """Prints a table; one that is too wide stands in several parts, or turned on its side in fewer.

    Args:
        console: where to, and how wide.
        head: names of the columns.
        rows: cells as they came; the first of a row is its label, which may break, and the others are figures.
        title: above the table.
        is_text: whether all cells are text, which may break.
    """
    head = [to_terminal(cell) for cell in head]
    rows = [[to_terminal(cell) for cell in row] for row in rows]
    parts = list(_parts(console.width, _widths(head, rows, is_text=is_text)))
    if not is_text and len(parts) > 1:
        turned = [list(column) for column in zip(head, *rows, strict=True)]
        others = list(_parts(console.width, _widths(turned[0], turned[1:])))
        if len(others) < len(parts):
            head, rows, parts = turned[0], turned[1:], others
    for columns in parts:
        _print_part(console, head, rows, columns, title, is_text)
        title = ""


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]], *, is_text: bool = False) -> list[int]:
    """The least width of every column: its longest figure, and the longest word of its head."""
    from rich.cells import cell_len

    found = []
    for column, cells in enumerate(zip(*rows, strict=True)):
        most = max(map(cell_len, cells))
        if is_text or column == 0:
            most = min(most, _MAX_LABEL if column == 0 else _MIN_TEXT)
        found.append(max(most, *(cell_len(word) for word in head[column].split()), 1) if column else max(most, 1))
    return found


def _fits(room: int, widths: Sequence[int]) -> bool:
    return sum(width + _SIDES for width in widths) + 1 <= room


def _parts(room: int, widths: Sequence[int]) -> Iterator[dict[int, int]]:
    """The columns of each part with their widths; every part begins with the first column, and has one more."""
    part: dict[int, int] = {0: widths[0]}
    for column, width in enumerate(widths[1:], start=1):
        if len(part) > 1 and not _fits(room, [*part.values(), width]):
            yield part
            part = {0: widths[0]}
        if len(part) == 1 and not _fits(room, [widths[0], width]):  # the label gives way, down to a few characters
            part[0] = max(6, room - width - 2 * _SIDES - 1)
        part[column] = width
    yield part


def _print_part(
    console: "Console",
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: dict[int, int],
    title: str,
    is_text: bool,
) -> None:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    room = console.width - 1 - sum(width + _SIDES for width in columns.values())
    table = Table(title=Text(title, style="italic") if title else None, title_justify="left")
    for column, width in columns.items():
        # Heads, labels and text take what is left.
        wanted = max(cell_len(head[column]), *(cell_len(row[column]) for row in rows))
        more = max(0, min(room, wanted - width))
        room -= more
        side = "left" if is_text or column == 0 else "right"
        table.add_column(Text(head[column]), justify=side, overflow="fold", width=width + more)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in columns))
    console.print(table)


def print_comparison(report: "ComparisonReport") -> None:
    """Prints quality, benchmarks, references and dollars of every dataset, and which entries failed."""
    from rich.console import Console
    from rich.text import Text

    from lookahead_router.evaluation import tables

    console = Console()
    for result in report.datasets:
        console.print(Text(tables.label(result.dataset), style="bold"))
        console.print(Text(tables.about_dataset(result)))
        for build in (tables.predictors, tables.benchmarks, tables.references, tables.dollars, tables.failures):
            section = build(result)
            if section.rows and (tables.measured(result) or section.is_text or build is tables.references):
                print_table(console, section.head, section.rows, title=section.title, is_text=section.is_text)
        console.print(Text(f"Leakage: {tables.leakage(result)}\n"))
    console.print(Text(tables.about(report)))
