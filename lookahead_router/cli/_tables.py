"""Comparisons on the terminal."""

from typing import TYPE_CHECKING

from lookahead_router.cli._output import show, show_table

if TYPE_CHECKING:
    from lookahead_router.evaluation.results import ComparisonReport


def print_comparison(report: "ComparisonReport") -> None:
    """Prints quality, benchmarks, references and dollars of every dataset, and which entries failed."""
    from lookahead_router.evaluation import tables

    for result in report.datasets:
        show(result.dataset, style="bold")
        show(tables.about_dataset(result))
        for build in (tables.predictors, tables.benchmarks, tables.references, tables.dollars, tables.failures):
            section = build(result)
            if section.rows and (tables.measured(result) or section.is_text or build is tables.references):
                texts = range(len(section.head)) if section.is_text else (0,)
                show_table(section.head, section.rows, title=section.title, texts=texts)
        show(f"Leakage: {tables.leakage(result)}")
        show("")
    show(tables.about(report))
