"""Comparisons on the terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookahead_router.evaluation.results import ComparisonReport


def print_comparison(report: "ComparisonReport") -> None:
    """Prints quality, references and dollars of every dataset, and which predictors failed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lookahead_router.evaluation import tables

    console = Console()
    for result in report.datasets:
        console.print(Text(tables.label(result.dataset), style="bold"))
        console.print(Text(tables.about_dataset(result)))
        for build in (tables.predictors, tables.references, tables.dollars, tables.failures):
            section = build(result)
            if not section.rows:
                continue
            table = Table(title=section.title, title_justify="left")
            for index, cell in enumerate(section.head):
                side = "left" if section.is_text or index == 0 else "right"
                table.add_column(Text(tables.label(cell)), justify=side, overflow="fold")
            for row in section.rows:
                table.add_row(*(Text(tables.label(cell)) for cell in row))
            console.print(table)
        console.print(Text(f"Leakage: {tables.leakage(result)}\n"))
    console.print(Text(tables.about(report)))
