"""`write_report`: a comparison as JSON, as Markdown with figures, and as one page of HTML."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lookahead_router.escaping import to_html, to_markdown
from lookahead_router.evaluation import figures, tables
from lookahead_router.evaluation.results import ComparisonReport, DatasetResult
from lookahead_router.evaluation.tables import Section, label
from lookahead_router.files import replacing_file, write_text

TITLE = "Comparison of predictors"


def write_report(
    report: ComparisonReport,
    folder: Path,
    *,
    title: str = TITLE,
    lead: Sequence[Section] = (),
    record: Mapping[str, Any] | None = None,
) -> None:
    """Writes `report.json`, `report.md` with `figures/*.png`, and `report.html`, each whole or not at all.

    Args:
        report: what was compared.
        folder: made if it is not there; other files in it stay.
        title: of the page.
        lead: sections that stand before those of the comparison; their figures are those of the first dataset.
        record: what `report.json` holds; the comparison when absent.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    drawn = [_draw(result) for result in report.datasets]
    pngs = [
        {name: (f"figures/{file_name}-{name}.png", figures.render(figure, "png")) for name, figure in found.items()}
        for file_name, found in zip(_file_names(report), drawn, strict=True)
    ]
    svgs = [{name: _data_uri(figures.render(figure, "svg")) for name, figure in found.items()} for found in drawn]
    texts = {
        "report.json": json.dumps(report.to_dict() if record is None else record, indent=2, allow_nan=False) + "\n",
        "report.md": _markdown_page(
            report, title, lead, [{name: path for name, (path, _) in found.items()} for found in pngs]
        ),
        "report.html": _html_page(report, title, lead, svgs),
    }
    for path, content in (file for found in pngs for file in found.values()):
        with replacing_file(folder / path) as temporary:
            temporary.write_bytes(content)
    for name, text in texts.items():
        write_text(folder / name, text)


def write_sections(
    folder: Path, title: str, about: str, sections: Sequence[Section], record: Mapping[str, Any]
) -> None:
    """Writes `report.json`, `report.md` and `report.html` of sections without figures, each whole or not at all.

    Args:
        folder: made if it is not there; other files in it stay.
        title: of the page.
        about: a paragraph below it.
        sections: of the page.
        record: what `report.json` holds.
    """
    markdown = [f"# {_markdown(title)}", _markdown(about), *(_markdown_section(each, {}) for each in sections)]
    html = [f"<h1>{_html(title)}</h1>", f"<p>{_html(about)}</p>", *(_html_section(each, {}) for each in sections)]
    write_text(folder / "report.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    write_text(folder / "report.md", "\n\n".join(markdown) + "\n")
    write_text(folder / "report.html", _filled(title, html))


def markdown_tables(result: DatasetResult) -> str:
    """The tables of one dataset in Markdown, under headings of the third level."""
    return _markdown_sections(result, {})


def _draw(result: DatasetResult) -> dict[str, "figures.Figure"]:
    found = {name: draw(result) for name, (_, draw) in figures.FIGURES.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def _file_names(report: ComparisonReport) -> list[str]:
    """One for each dataset, safe and distinct wherever the case of letters does not count."""
    found: list[str] = []
    for result in report.datasets:
        stem = re.sub(r"[^\w.-]+", "-", result.dataset, flags=re.ASCII).strip("-.").lower()[:60] or "dataset"
        name, n = stem, 1
        while name in found:
            n += 1
            name = f"{stem}-{n}"
        found.append(name)
    return found


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _markdown_page(report: ComparisonReport, title: str, lead: Sequence[Section], images: list[dict[str, str]]) -> str:
    parts = [f"# {_markdown(title)}", *(_markdown_section(section, images[0]) for section in lead)]
    parts.append(_markdown(tables.about(report)))
    for result, found in zip(report.datasets, images, strict=True):
        parts += [f"## {_markdown(result.dataset)}", _markdown(tables.about_dataset(result))]
        parts.append(_markdown_sections(result, found))
    return "\n\n".join(parts) + "\n"


def _markdown_sections(result: DatasetResult, images: Mapping[str, str]) -> str:
    return "\n\n".join(_markdown_section(section, images) for section in tables.sections(result))


def _markdown_section(section: Section, images: Mapping[str, str]) -> str:
    parts = [f"### {section.title}"]
    if section.text:
        parts.append(_markdown(section.text))
    if section.figure in images:
        parts.append(f"![{figures.FIGURES[section.figure][0]}]({images[section.figure]})")
    if section.head:
        lines = [section.head, ("---", *["---" if section.is_text else "--:"] * (len(section.head) - 1)), *section.rows]
        cells = [[cell if line is lines[1] else _markdown(cell) for cell in line] for line in lines]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in cells))
    return "\n\n".join(parts)


def _markdown(text: str) -> str:
    return to_markdown(label(text))


def _html_page(report: ComparisonReport, title: str, lead: Sequence[Section], images: list[dict[str, str]]) -> str:
    parts = [f"<h1>{_html(title)}</h1>", *(_html_section(section, images[0]) for section in lead)]
    parts.append(f"<p>{_html(tables.about(report))}</p>")
    for result, found in zip(report.datasets, images, strict=True):
        parts += [f"<h2>{_html(result.dataset)}</h2>", f"<p>{_html(tables.about_dataset(result))}</p>"]
        parts += [_html_section(section, found) for section in tables.sections(result)]
    return _filled(title, parts)


def _filled(title: str, parts: Sequence[str]) -> str:
    return _PAGE.replace("TITLE", _html(title)).replace("BODY", "\n".join(parts))


def _html_section(section: Section, images: Mapping[str, str]) -> str:
    parts = [f"<h3>{_html(section.title)}</h3>"]
    if section.text:
        parts.append(f"<p>{_html(section.text)}</p>")
    if section.figure in images:
        alt = _html(figures.FIGURES[section.figure][0])
        parts.append(f'<div class="wide"><img alt="{alt}" src="{images[section.figure]}"></div>')
    if section.head:
        head = "".join(f'<th scope="col">{_html(cell)}</th>' for cell in section.head)
        kind = "texts" if section.is_text else "figures"
        rows = "\n".join(
            f'<tr><th scope="row">{_html(first)}</th>{"".join(f"<td>{_html(cell)}</td>" for cell in others)}</tr>'
            for first, *others in section.rows
        )
        body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
        parts.append(f'<div class="wide"><table class="{kind}">\n{body}\n</table></div>')
    return "\n".join(parts)


def _html(text: str) -> str:
    return to_html(label(text))


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>TITLE</title>
<style>
:root { --text: #1b1b1b; --page: #ffffff; --line: #d0d0d0; --head: #f2f4f7; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --page: #16181c; --line: #3b3f46; --head: #22262c; }
}
body { max-width: 70rem; margin: 0 auto; padding: 1rem; color: var(--text); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2rem; }
.wide { overflow-x: auto; margin: 1rem 0; }
img { display: block; max-width: 100%; min-width: min(36rem, 200%); height: auto; background: #ffffff;
  border-radius: 6px; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { background: var(--head); white-space: normal; min-width: 4rem; vertical-align: bottom; }
tbody th { font-weight: normal; position: sticky; left: 0; background: var(--page); }
thead th:first-child, tbody th, .texts td { text-align: left; }
.texts td { white-space: normal; }
</style>
</head>
<body>
BODY
</body>
</html>
"""
