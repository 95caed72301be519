"""Draws the figures of the documentation, as SVG that needs nothing from elsewhere.

    python docs/figures/make.py

What shows figures reads them from the page that publishes them, and so does the text that stands for the picture in
README.md and docs/index.md.
"""

import itertools
import math
import re
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
INK, SOFT, PAPER, LINE = "#1f2430", "#4b5263", "#ffffff", "#9aa3b5"
COLOURS = {"profile": "#1b4f9c", "logistic regression": "#b3541e", "kNN": "#2f7d4f", "clusters": "#7a4fa3"}
LABELS = {"profile": "profiles (ours)", "clusters": "clusters (UniRoute)"}
CURVES = {
    "profile, n = 100": ("profiles, 100 scored prompts", "#1b4f9c", 4.0, ""),
    "profile, n = 20": ("profiles, 20 scored prompts", "#3f7fd0", 3.0, ""),
    "profile, n = 0": ("profiles, no scored prompt", "#5b8fd0", 2.4, "2 5"),
    "logistic regression, n = 100": ("logistic regression, 100", "#b3541e", 2.2, ""),
    "kNN, n = 100": ("kNN, 100", "#2f7d4f", 2.2, "9 4"),
    "clusters, n = 100": ("clusters (UniRoute), 100", "#7a4fa3", 2.2, "5 4"),
    "two candidates at random, in hindsight": ("two models at random*", "#4b5263", 1.8, "2 3"),
}
"""Columns of the page: a label, a colour, a width and a dash each."""
FILL, ACCENT = "#eef2fb", "#dbe6ff"


class Drawing:
    """An SVG of a size, on paper of its own, so that it reads on a dark page as well."""

    def __init__(self, width: int, height: int, title: str, *, shown: int | None = None) -> None:
        """As wide as its place, or `shown` pixels where there is room; letters are of that measure."""
        self.width, self.height, self.title = width, height, title
        self.shown = "" if shown is None else f'width="{shown}" height="{shown * height / width:.0f}" '
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, *, size: int = 15, colour: str = INK, anchor: str = "middle",
             bold: bool = False) -> None:  # fmt: skip
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>'
            f"{escape(text)}</text>"
        )

    def box(self, x: float, y: float, width: float, height: float, *lines: str, fill: str = FILL) -> None:
        """A box with a first line in bold."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{fill}" stroke="{LINE}"/>'
        )
        top = y + height / 2 - 19 * (len(lines) - 1) / 2 + 5
        for row, line in enumerate(lines):
            size, colour = (15, INK) if row == 0 else (13, SOFT)
            self.text(x + width / 2, top + 19 * row, line, size=size, colour=colour, bold=row == 0)

    def arrow(self, x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{SOFT}" stroke-width="1.6" fill="none"{dash} '
            'marker-end="url(#tip)"/>'
        )

    def line(self, points: list[tuple[float, float]], colour: str, width: float = 2.5, *, dash: str = "") -> None:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dash = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="{width:g}" fill="none"{dash}/>')

    def dot(self, x: float, y: float, colour: str) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')

    def svg(self) -> str:
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" {self.shown}viewBox="0 0 {self.width} {self.height}" role="img" '
            'font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">',
            f"<title>{escape(self.title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{SOFT}"/></marker></defs>',
            f'<rect width="{self.width}" height="{self.height}" rx="10" fill="{PAPER}"/>',
            *self.parts,
            "</svg>\n",
        ])  # fmt: skip


def way() -> Drawing:
    """The way of a prompt to its answer."""
    drawing = Drawing(
        760, 330, "The way of a prompt: read once, foreseen for each candidate, chosen by a policy, asked"
    )
    drawing.box(20, 40, 150, 66, "prompt", "or a conversation")
    drawing.box(220, 40, 150, 66, "predictor", "reads it once")
    drawing.box(420, 40, 150, 66, "prediction", "chances, lengths")
    drawing.box(420, 150, 150, 66, "policy", "quality and price")
    drawing.box(220, 150, 150, 66, "decision", "names, and why", fill=ACCENT)
    drawing.box(20, 150, 150, 66, "chosen model", "answers")
    drawing.box(610, 40, 130, 66, "profiles", "one a candidate")
    drawing.box(610, 150, 130, 66, "prices")
    drawing.box(20, 250, 150, 56, "the next one")
    drawing.arrow(170, 73, 218, 73)
    drawing.arrow(370, 73, 418, 73)
    drawing.arrow(610, 73, 572, 73)
    drawing.arrow(495, 106, 495, 148)
    drawing.arrow(610, 183, 572, 183)
    drawing.arrow(420, 183, 372, 183)
    drawing.arrow(220, 183, 172, 183)
    drawing.arrow(95, 216, 95, 248, dashed=True)
    drawing.text(182, 283, "where one fails: with fallbacks, the ranking goes on", size=13, colour=SOFT, anchor="start")
    drawing.text(20, 26, "no model is asked before the decision", size=13, colour=SOFT, anchor="start")
    return drawing


def network() -> Drawing:
    """The network for any pool."""
    drawing = Drawing(760, 300, "The network for any pool: a prompt and slots of reference models give demands")
    drawing.text(20, 30, "one pass, whatever the pool", size=13, colour=SOFT, anchor="start")
    drawing.box(20, 45, 190, 52, "tokens of the prompt")
    drawing.box(225, 45, 300, 52, "slots of some reference models", "what would they answer?", fill=ACCENT)
    drawing.box(20, 125, 505, 46, "encoder (MiniLM-L6, int8)")
    drawing.box(20, 205, 160, 70, "demands", "what it asks for")
    drawing.box(195, 205, 160, 70, "difficulty", "how hard it is")
    drawing.box(370, 205, 155, 70, "length", "of a usual answer")
    for x in (115, 375):
        drawing.arrow(x, 97, x, 123)
    for x in (100, 275, 447):
        drawing.arrow(x, 171, x, 203)
    drawing.box(575, 45, 165, 88, "profile", "of each candidate:", "abilities, lengths")
    drawing.box(575, 187, 165, 88, "each candidate's", "chance ± its doubt,", "expected tokens", fill=ACCENT)
    drawing.arrow(657, 133, 657, 185)
    drawing.arrow(525, 240, 573, 240)
    return drawing


def profile() -> Drawing:
    """A profile that learns, in one of its abilities."""
    drawing = Drawing(760, 320, "A profile being updated: the belief in one ability narrows and moves with answers")
    left, right, base = 60, 730, 260
    steps = [("from a relative", 0.0, 1.0, "#9aa3b5"), ("20 answers later", 0.75, 0.5, "#2f7d4f"),
             ("100 answers later", 0.95, 0.26, "#1b4f9c")]  # fmt: skip

    def x_of(value: float) -> float:
        return left + (value + 2.6) / 5.6 * (right - left)

    for name, mean, deviation, colour in steps:
        height = 62 / deviation**0.8
        values = [-2.6 + 5.6 * i / 200 for i in range(201)]
        points = [(x_of(v), base - height * math.exp(-((v - mean) ** 2) / (2 * deviation**2))) for v in values]
        drawing.line(points, colour, 2.5)
        side = 1 if deviation < 0.3 else -1
        drawing.text(x_of(mean + side * deviation * (1.2 if side < 0 else 1.0)) + side * 6, base - height * 0.62, name,
                     size=14, colour=INK, anchor="end" if side < 0 else "start")  # fmt: skip
    drawing.line([(left, base), (right, base)], SOFT, 1.2)
    drawing.text((left + right) / 2, base + 28, "an ability of the candidate: how well it meets one kind of demand",
                 size=14, colour=SOFT)  # fmt: skip
    drawing.text((left + right) / 2, base + 48, "(a sketch: a real profile has many abilities, which move together)",
                 size=12, colour=SOFT)  # fmt: skip
    return drawing


def published(heading: str) -> tuple[list[str], list[tuple[float, list[float | None]]]]:
    """Names and rows of the first table below a line of docs/results/any-pool.md."""
    page = (HERE.parent / "results" / "any-pool.md").read_text(encoding="utf-8").split(heading, 1)[1]
    head, _, *rows = re.search(r"(?:^\|.*\n)+", page, re.MULTILINE)[0].strip().split("\n")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]
    values = [
        (float(at.split()[0]), [None if cell == "–" else float(cell.split()[0]) for cell in row])
        for at, *row in cells[1:]
    ]
    return cells[0][1:], values


def cost_quality() -> Drawing:
    """What a share of the best model's quality costs: profiles and peers."""
    names, rows = published("Dollars for quality")
    drawing = Drawing(560, 560, "Quality kept against dollars spent: profiles, and routers fitted on as many answers",
                      shown=620)  # fmt: skip
    left, right, top, base = 62, 530, 66, 374
    lowest = 10 * math.floor(10 * min(value for _, row in rows for value in row))

    def x_of(share: float) -> float:
        return left + (right - left) * (100 * share - lowest) / (100 - lowest)

    def y_of(quality: float) -> float:
        return base - (base - top) * (quality - rows[0][0]) / (100 - rows[0][0])

    drawing.text(14, 28, "Quality kept, of the best model's", size=17, anchor="start", bold=True)
    drawing.text(14, 48, "on prompts and models that training never saw", size=15, colour=SOFT, anchor="start")
    for quality in range(int(rows[0][0]), 101, 5):
        drawing.line([(left, y_of(quality)), (right, y_of(quality))], "#e3e7f0", 1)
        drawing.text(left - 8, y_of(quality) + 5, f"{quality} %", colour=SOFT, anchor="end")
    for share in range(lowest, 101, 10):
        drawing.line([(x_of(share / 100), base), (x_of(share / 100), base + 5)], LINE, 1)
        drawing.text(x_of(share / 100), base + 23, f"{share} %", colour=SOFT)
    drawing.text((left + right) / 2, base + 48, "dollars spent, of what the best model costs", size=16)
    for column, (_, colour, width, dash) in reversed(CURVES.items()):  # the first one on top
        at = names.index(column)
        drawing.line([(x_of(row[at]), y_of(quality)) for quality, row in rows], colour, width, dash=dash)
    for place, (label, colour, width, dash) in enumerate(CURVES.values()):
        x, y = (14, 318)[place // 4], base + 80 + 24 * (place % 4)
        drawing.line([(x, y - 5), (x + 34, y - 5)], colour, width, dash=dash)
        drawing.text(x + 42, y, label, anchor="start", bold=place == 0)
    drawing.text(318, base + 80 + 24 * 3, "* the two that turn out best", size=14, colour=SOFT, anchor="start")
    return drawing


def in_words() -> str:
    """What the picture of costs and quality says, for those who do not see it."""
    names, rows = published("Dollars for quality")
    spent = dict(zip(names, dict(rows)[95.0], strict=True))
    ours, peers, mixed = ([f"{100 * spent[column]:.0f} %" for column in columns]
                          for columns in (list(CURVES)[:3], list(CURVES)[3:6], list(CURVES)[6:]))  # fmt: skip
    return (
        "Quality kept against dollars spent. To keep 95 % of the best model's quality, routing by profiles spends "
        f"{ours[2]} of its dollars without any scored prompt, {ours[1]} with 20 and {ours[0]} with 100. With 100, "
        f"logistic regression spends {peers[0]}, kNN {peers[1]} and clusters {peers[2]}; two models mixed at random, "
        f"the two that turn out best, {mixed[0]}."
    )


def saved() -> Drawing:
    """Dollars saved at 95 % of the quality, by the number of scored prompts."""
    names, rows = published("Share of dollars saved at 95 %")
    drawing = Drawing(760, 400, "Dollars saved at 95 % of the best model's quality, by scored prompts: ours and peers")
    left, right, top, base = 66, 560, 60, 340

    def x_of(n: float) -> float:
        return left + 12 + (right - left - 24) * math.log1p(n / 5) / math.log1p(500 / 5)

    def y_of(share: float) -> float:
        return base - (base - top) * share / 0.4

    drawing.text(left - 46, 30, "Dollars saved at 95 % of the best single model's quality", size=16, anchor="start",
                 bold=True)  # fmt: skip
    for share in (0.0, 0.1, 0.2, 0.3, 0.4):
        drawing.line([(left, y_of(share)), (right, y_of(share))], "#e3e7f0", 1)
        drawing.text(left - 10, y_of(share) + 5, f"{100 * share:.0f} %", size=13, colour=SOFT, anchor="end")
    for n, _ in rows:
        drawing.text(x_of(n), base + 22, f"{n:g}", size=13, colour=SOFT)
    drawing.text((left + right) / 2, base + 46, "prompts of your own that were scored", size=14, colour=SOFT)
    ends = []
    for name, colour in COLOURS.items():
        column = names.index(name)
        points = [(x_of(n), y_of(row[column])) for n, row in rows if row[column] is not None]
        drawing.line(points, colour, 3.5 if name == "profile" else 2.2)
        for x, y in points:
            drawing.dot(x, y, colour)
        ends.append([points[-1][1], LABELS.get(name, name), colour])
    for above, below in itertools.pairwise(sorted(ends)):  # labels that would meet make way
        below[0] = max(below[0], above[0] + 19)
    for y, label, colour in ends:
        drawing.text(right + 12, y + 5, label, size=15, colour=colour, anchor="start", bold=label == LABELS["profile"])
    return drawing


FIGURES = {"way-of-a-prompt": way, "network": network, "profile": profile, "cost-quality": cost_quality, "saved": saved}
TOLD = re.compile(r"!\[[^]]*\](?=\((?:docs/)?figures/cost-quality\.svg\))")
"""The text that stands for the picture where pages show it."""


def main() -> None:
    """Writes them all."""
    for name, draw in FIGURES.items():
        (HERE / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
    for page in (HERE.parents[1] / "README.md", HERE.parent / "index.md"):
        text = page.read_text(encoding="utf-8")
        page.write_text(TOLD.sub(f"![{in_words()}]", text), encoding="utf-8")


if __name__ == "__main__":
    main()
