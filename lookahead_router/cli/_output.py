"""What commands show: lines, tables, JSON and progress, in which nothing acts on the terminal or gets lost."""

import json
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lookahead_router.escaping import to_terminal

UNKNOWN = "–"
_BEYOND_ASCII = re.compile("[^\x00-\x7e]")
_LEAST_COLUMN = 6
SILENCE_SECONDS = 10.0
"""Where no bar can be drawn, a line tells how far it is after so long without one."""


def show(text: str, *, style: str = "") -> None:
    """Prints a line of results; on a terminal, wrapped between words."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(
        Text(to_terminal(text), style=style), overflow="ignore", crop=False, soft_wrap=not console.is_terminal
    )


def note(text: str) -> None:
    """Prints a line beside the results: on standard error."""
    print(to_terminal(text), file=sys.stderr, flush=True)


def show_json(record: Any, *, indent: int | None = 2) -> None:
    """Prints JSON: the very values, whatever the terminal can show and however they would act on it."""
    text = json.dumps(record, indent=indent, ensure_ascii=not _speaks_unicode())
    print(_BEYOND_ASCII.sub(_escaped, text))


def show_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str | Sequence[str]]],
    *,
    title: str = "",
    texts: Collection[int] = (0,),
    styles: Sequence[str] = (),
    has_sections: bool = False,
    is_plain: bool = False,
) -> None:
    """Prints a table in which no number is cut, and no word that fits into a line.

    Columns that do not fit beside each other follow in further tables, under the first column again; or the table is
    turned on its side, where it is of figures and that takes fewer.

    Args:
        head: of every column.
        rows: of every column a cell: text, or several lines of it.
        title: above the table.
        texts: which columns are text; the others are figures.
        styles: of the rows, as rich has them; the rows beyond have none.
        has_sections: a line between every two rows.
        is_plain: neither lines nor the head.
    """
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if title:
        show(title, style="italic")
    beside = 2 if is_plain else 3  # cells that a column takes beside its width
    room = console.width - (0 if is_plain else 1)
    columns = _columns(head, rows, texts)
    parts = _parts(columns, room, beside)
    if len(parts) > 1 and set(texts) == {0}:
        turned = list(zip(head, *rows, strict=True))
        others = _columns(turned[0], turned[1:], texts)
        if len(_parts(others, room, beside)) < len(parts):
            columns, parts, styles = others, _parts(others, room, beside), ()
    for part in parts:
        table = Table(show_lines=has_sections, show_header=not is_plain, box=None if is_plain else HEAVY_HEAD)
        widths = _widths([columns[index] for index in part], room - beside * len(part))
        for index, width in zip(part, widths, strict=True):
            side = "left" if columns[index].is_text else "right"
            table.add_column(Text(columns[index].head), justify=side, width=width, overflow="fold")
        for number in range(len(columns[0].cells)):
            cells = (Text("\n".join(columns[index].cells[number])) for index in part)
            table.add_row(*cells, style=styles[number] if number < len(styles) else None)
        console.print(table)


@contextmanager
def progress(words: str) -> Iterator[Callable[[str, float | None], None]]:
    """Shows what is being done, on standard error: a bar on a terminal, elsewhere a line now and then.

    Yields a function that takes the step in words, and the share of all the work that is done, in [0, 1], or `None`.
    """
    if not sys.stderr.isatty():
        yield _told_in_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(to_terminal(words), total=None)

        def update(step: str, share: float | None) -> None:
            bar.update(task, description=to_terminal(step), total=None if share is None else 1.0, completed=share or 0)

        yield update


def _told_in_lines() -> Callable[[str, float | None], None]:
    last = time.monotonic()

    def tell(step: str, share: float | None) -> None:
        nonlocal last
        if time.monotonic() - last >= SILENCE_SECONDS:
            last = time.monotonic()
            note(step if share is None else f"{step} ({share:.0%} of all)")

    return tell


def size(n_bytes: int) -> str:
    """Bytes in readable units: `512 B`, `1.2 kB`, `14.5 MB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.1f} {unit}"
    return f"{n_bytes} B"


def terminal_width() -> int:
    """Cells in a line; 80 where there is no terminal and `COLUMNS` is not set."""
    from rich.console import Console

    return Console().width


def shortened(text: str, n_cells: int) -> str:
    """One line of at most so many cells of the terminal, with an ellipsis where it goes on."""
    from rich.text import Text

    line = Text(to_terminal(text))
    line.truncate(n_cells, overflow="ellipsis")
    return line.plain


class _Column:
    def __init__(self, head: str, cells: list[list[str]], is_text: bool) -> None:
        from rich.cells import cell_len

        self.head, self.cells, self.is_text = head, cells, is_text
        lines = [line for cell in cells for line in cell]
        words = [word for line in (head, *(lines if is_text else ())) for word in line.split()]
        self.least = max(map(cell_len, [*words, *(() if is_text else lines)]), default=0)
        self.natural = max(self.least, *map(cell_len, [head, *lines]))


def _columns(
    head: Sequence[str], rows: Sequence[Sequence[str | Sequence[str]]], texts: Collection[int]
) -> list[_Column]:
    return [
        _Column(to_terminal(name), [_lines(row[index]) for row in rows], index in texts)
        for index, name in enumerate(head)
    ]


def _parts(columns: list[_Column], room: int, beside: int) -> list[list[int]]:
    """Which columns stand beside each other, the first of them in every part."""
    parts = [[0]]
    for index in range(1, len(columns)):
        part = [*parts[-1], index]
        if len(part) > 2 and sum(columns[each].least + beside for each in part) > room:
            parts.append([0, index])
        else:
            parts[-1] = part
    return parts


def _widths(columns: list[_Column], room: int) -> list[int]:
    """Least widths, and what is left of the room for those that would be wider."""
    widths = [column.least for column in columns]
    while sum(widths) < room:
        wishes = [column.natural - width for column, width in zip(columns, widths, strict=True)]
        if max(wishes) <= 0:
            break
        widths[wishes.index(max(wishes))] += 1
    while sum(widths) > room and max(widths) > _LEAST_COLUMN:  # longer words than a line: they go on in the next
        widths[widths.index(max(widths))] -= 1
    return widths


def _lines(cell: str | Sequence[str]) -> list[str]:
    return [to_terminal(line) for line in ([cell] if isinstance(cell, str) else cell)]


def _speaks_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _escaped(match: re.Match) -> str:
    """A character as it is, or as JSON escapes it where it would be hidden or act on the terminal."""
    character = match.group()
    return character if to_terminal(f"x{character}x") == f"x{character}x" else json.dumps(character)[1:-1]
