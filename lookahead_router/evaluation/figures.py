"""Figures of a comparison, in colours that colour-blind readers tell apart.

A function gives `None` where there is nothing to draw. Failed predictors are left out.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from lookahead_router.evaluation.results import DatasetResult, PredictorResult, Reference
from lookahead_router.evaluation.tables import label, measured, number
from lookahead_router.extras import require
from lookahead_router.metrics import cost_quality_frontier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, YELLOW = PALETTE = (
    "#0072b2", "#d55e00", "#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#f0e442",
)  # fmt: skip
"""Colours of Okabe and Ito; the first is the reference predictor's."""
GREY, PALE = "#767676", "#d9d9d9"
STYLES = ("-", "--", ":")
"""Tell curves apart once the colours are used up."""


def average(result: DatasetResult) -> "Figure | None":
    """Bars of the average normalised score of every predictor and reference, best first."""
    if not measured(result):
        return None
    bars = [(one.predictor, one.average, _colour(one, result)) for one in measured(result)]
    bars += [(one.reference, one.average, GREY) for one in result.references]
    bars = sorted((bar for bar in bars if not np.isnan(bar[1].value)), key=lambda bar: bar[1].value)
    figure = _figure(7.5, 0.28 * len(bars) + 1.1)
    axes = figure.subplots()
    rows = np.arange(len(bars))
    axes.barh(rows, [value.value for _, value, _ in bars], color=[colour for *_, colour in bars], height=0.7)
    axes.hlines(rows, [value.low for _, value, _ in bars], [value.high for _, value, _ in bars], color="black", lw=1)
    for row, (_, value, _) in enumerate(bars):
        place = (max(value.value, value.high, 0.0), row)
        axes.annotate(number(value.value), place, xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(rows, [_name(name) for name, *_ in bars])
    for tick, (*_, colour) in zip(axes.get_yticklabels(), bars, strict=True):
        tick.set_color(GREY if colour == GREY else "black")  # a predictor may be called like a reference
    axes.set_xlabel("average normalised score (0 random, 100 oracle), 95 % interval")
    axes.axvline(0, color="black", lw=0.8)
    axes.margins(x=0.1, y=0.02)
    _legend_above(figure, {"reference predictor": BLUE, "other predictors": SKY, "references": GREY})
    return _bare(figure)


def benchmarks(result: DatasetResult) -> "Figure | None":
    """A panel for each benchmark: dots with intervals of every predictor; of a single benchmark, nothing."""
    sources, predictors = list(result.n_prompts), _ranked(result)
    if len(sources) < 2 or not predictors:
        return None
    n_columns = min(4, len(sources))
    n_rows = ceil(len(sources) / n_columns)
    figure = _figure(2.0 + 2.3 * n_columns, n_rows * (0.75 + 0.2 * len(predictors)) + 0.5)
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False)
    rows = np.arange(len(predictors))[::-1]
    lines = {  # both are seen where they coincide
        Reference.BEST_SINGLE: {"color": PALE, "lw": 5},
        Reference.HINDSIGHT: {"color": GREY, "ls": ":", "lw": 1.5},
    }
    for axes, source in zip(grid.flat, sources, strict=False):
        found = [one.by_source[source] for one in predictors]
        colours = [_colour(one, result) for one in predictors]
        axes.hlines(rows, [value.low for value in found], [value.high for value in found], color=colours, lw=1.2)
        axes.scatter([value.value for value in found], rows, color=colours, s=22, zorder=3)
        for one in result.references:
            if one.reference in lines:
                axes.axvline(one.by_source[source].value, zorder=0, **lines[one.reference])
        axes.set_title(f"{_name(source, 26)} ({result.n_prompts[source]:,})", fontsize=9)
        axes.locator_params(axis="x", nbins=4)
    grid[0, 0].set_yticks(rows, [_name(one.predictor, 24) for one in predictors])
    for axes in grid.flat[len(sources) :]:
        axes.set_visible(False)
    figure.supxlabel("normalised score (0 random, 100 oracle), 95 % interval", fontsize=10)
    handles = [require("matplotlib.lines", "eval").Line2D([], [], **style) for style in lines.values()]
    figure.legend(handles, list(lines), loc="outside upper right", ncols=2, frameon=False)
    return _bare(figure)


def cost_quality(result: DatasetResult) -> "Figure | None":
    """Mean score against dollars: a frontier for every predictor, and a mark where its policy puts it."""
    predictors = sorted((one for one in measured(result) if one.cost is not None), key=lambda one: -one.cost.area)
    if not predictors:
        return None
    figure = _figure(9.5, 5.2)
    axes = figure.subplots()
    handles = []
    others = 0
    for one in predictors:
        is_reference = one.predictor == result.reference
        colour = BLUE if is_reference else PALETTE[1:][others % len(PALETTE[1:])]
        style = "-" if is_reference else STYLES[others // len(PALETTE[1:]) % len(STYLES)]
        others += not is_reference
        usd, scores = cost_quality_frontier(np.array(one.cost.frontier_usd), np.array(one.cost.frontier_score))
        width, above = (2.6, 4) if is_reference else (1.4, 3)
        handles += axes.plot(1000 * usd, 100 * scores, color=colour, ls=style, lw=width, marker=".", ms=4, zorder=above)
        axes.plot(1000 * one.cost.mean_usd, 100 * one.score, "o", color=colour, ms=6, mec="white", zorder=above + 1)
    points = [(one.candidate, one.mean_usd, one.score, "s") for one in result.candidates]
    marks = {Reference.RANDOM: "X", Reference.ORACLE: "*"}
    points += [
        (one.reference, one.mean_usd, one.score, marks[one.reference])
        for one in result.references
        if one.reference in marks
    ]
    points = [(name, 1000 * usd, 100 * score, mark) for name, usd, score, mark in points if usd is not None]
    for _, usd, score, mark in points:
        size = 5 if mark == "s" else 9
        axes.plot(usd, score, mark, mfc="none" if mark == "s" else "black", mec="black", ms=size, zorder=6)
    spent = [usd for _, usd, *_ in points] + [1000 * one.cost.mean_usd for one in predictors]
    if min(spent) > 0 and max(spent) > 10 * min(spent):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(require("matplotlib.ticker", "eval").LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter("")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("US dollars per 1,000 prompts")
    axes.set_ylabel("mean score [%]")
    axes.margins(0.06)
    axes.grid(color=PALE, lw=0.6)
    figure.legend(
        handles, [_name(one.predictor) for one in predictors], loc="outside right upper", frameon=False, fontsize=8
    )
    _bare(figure)
    _label_points(figure, axes, [(_name(name, 28), usd, score) for name, usd, score, _ in points])
    return figure


def shares(result: DatasetResult, names: Sequence[str] = ()) -> "Figure | None":
    """Shares of the candidates on each benchmark, in a panel for each predictor.

    Args:
        result: the comparison.
        names: of predictors; the reference predictor and the best other one when empty.
    """
    predictors = _shown(result, names, lambda one: one.shares)
    if not predictors:
        return None
    totals = {one.candidate: sum(p.shares[one.candidate] for p in predictors) for one in result.candidates}
    used = sorted((name for name in totals if totals[name] > 0), key=lambda name: -totals[name])
    shown, others = used[: len(PALETTE)], used[len(PALETTE) :]
    parts = {_name(name, 32): ([name], colour) for name, colour in zip(shown, PALETTE, strict=False)}
    if others:
        parts[f"{len(others)} other{'s' if len(others) > 1 else ''}"] = (others, PALE)
    sources = [None, *result.n_prompts] if len(result.n_prompts) > 1 else [None]  # the first row is of all
    figure = _figure(2 + 4.2 * len(predictors), 0.32 * len(sources) + 1.5)
    grid = figure.subplots(1, len(predictors), sharey=True, squeeze=False)
    for axes, one in zip(grid.flat, predictors, strict=True):
        left = np.zeros(len(sources))
        found = [one.shares if source is None else one.shares_by_source[source] for source in sources]
        for members, colour in parts.values():
            width = np.array([100 * sum(share[name] for name in members) for share in found])
            bars = axes.barh(np.arange(len(sources)), width, left=left, color=colour, edgecolor="white", lw=0.6)
            texts = [f"{value:.0f}" if value >= 8 else "" for value in width]
            axes.bar_label(bars, texts, label_type="center", fontsize=7, color=_ink(colour))
            left += width
        axes.set_title(_name(one.predictor), fontsize=10)
        axes.set_xlim(0, 100)
        axes.margins(y=0.02)
        axes.set_xlabel("prompts [%]")
    grid[0, 0].set_yticks(np.arange(len(sources)), ["all", *(_name(source, 28) for source in sources[1:])])
    grid[0, 0].invert_yaxis()
    _legend_above(figure, {name: colour for name, (_, colour) in parts.items()}, n_columns=3)
    return _bare(figure)


def calibration(result: DatasetResult, names: Sequence[str] = ()) -> "Figure | None":
    """Predicted probability against observed score, with the expected calibration error.

    Args:
        result: the comparison.
        names: of predictors; the reference predictor and the best other one when empty.
    """
    predictors = _shown(result, names, lambda one: one.calibration)
    if not predictors:
        return None
    figure = _figure(5.2, 5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, lw=1)
    for one, colour, mark in zip(predictors, PALETTE * len(predictors), "osD^v" * len(predictors), strict=False):
        found = one.calibration
        text = f"{_name(one.predictor, 30)}, expected calibration error {number(found.error, 3)}"
        axes.plot(found.predicted, found.observed, color=colour, marker=mark, ms=5, label=text)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="predicted probability", ylabel="observed score")
    figure.legend(loc="outside upper center", frameon=False, fontsize=8)
    return _bare(figure)


def win_tie_loss(result: DatasetResult, names: Sequence[str] = ()) -> "Figure | None":
    """Prompts won, tied and lost against the best single candidate, by the number of right candidates.

    Args:
        result: the comparison.
        names: of predictors; the reference predictor and the best other one when empty.
    """
    predictors = _shown(result, names, lambda one: one.against_best_single)
    if not predictors:
        return None
    n_bars = len(predictors[0].against_best_single)
    figure = _figure(max(6.0, (0.8 + 0.32 * n_bars) * len(predictors)), 3.6)
    grid = figure.subplots(1, len(predictors), sharey=True, squeeze=False)
    colours = {"won": BLUE, "tied": PALE, "lost": VERMILION}
    for axes, one in zip(grid.flat, predictors, strict=True):
        numbers, counts, *parts = zip(*one.against_best_single, strict=True)
        rows, bottom = np.arange(len(numbers)), np.zeros(len(numbers))
        for part, colour in zip(parts, colours.values(), strict=True):
            bars = axes.bar(rows, 100 * np.array(part), bottom=bottom, color=colour, edgecolor="white", lw=0.6)
            bottom += 100 * np.array(part)
        axes.bar_label(bars, [f"{n:,}" for n in counts], padding=2, fontsize=7)
        axes.set_xticks(rows, numbers)
        axes.set_title(_name(one.predictor), fontsize=10, pad=16)
        axes.set_xlabel("right candidates (above: prompts)")
    grid[0, 0].set_ylabel("prompts [%]")
    _legend_above(figure, colours)
    return _bare(figure)


FIGURES: dict[str, tuple[str, Callable[[DatasetResult], "Figure | None"]]] = {
    "average": ("Average normalised score", average),
    "benchmarks": ("Normalised score on each benchmark", benchmarks),
    "cost-quality": ("Mean score against dollars", cost_quality),
    "shares": ("Where the prompts go", shares),
    "win-tie-loss": ("Against the best single candidate", win_tie_loss),
    "calibration": ("Predicted probability against observed score", calibration),
}
"""Figures by name: what each shows, and what draws it."""


def render(figure: "Figure", kind: str) -> bytes:
    """The figure as a `png` or `svg` file."""
    buffer = io.BytesIO()
    with _without_glyph_warnings():
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _figure(width: float, height: float) -> "Figure":
    # Made without pyplot, so that nothing is registered and no backend chosen for the caller's process.
    return require("matplotlib.figure", "eval").Figure(figsize=(width, height), layout="constrained")


def _bare(figure: "Figure") -> "Figure":
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure


def _legend_above(figure: "Figure", colours: dict[str, str], n_columns: int = 3) -> None:
    patch = require("matplotlib.patches", "eval").Patch
    handles = [patch(color=colour) for colour in colours.values()]
    figure.legend(handles, list(colours), loc="outside upper center", ncols=n_columns, frameon=False, fontsize=8)


def _ink(colour: str) -> str:
    return "white" if colour in (BLUE, VERMILION, GREEN) else "black"


@contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names may be in any script
        yield


def _label_points(figure: "Figure", axes: "Axes", points: Sequence[tuple[str, float, float]]) -> None:
    """Names beside their points, each on the side where it covers least of the lines, points and other names."""
    sides = [(6, 0, "left", "center"), (-6, 0, "right", "center")]
    sides += [(dx, dy, side, "center") for dy in (9, -9, 18, -18) for dx, side in ((4, "left"), (-4, "right"))]
    with _without_glyph_warnings():
        figure.draw_without_rendering()  # lays out, so that points have their place
        taken = [(x - 4, y - 4, x + 4, y + 4) for line in axes.lines for x, y in _along(axes, line)]
        for name, *place in points:
            text = axes.annotate(name, place, xytext=(0, 0), textcoords="offset points", fontsize=7, zorder=7)

            def covered(side: tuple, text=text) -> int:
                text.xyann = side[:2]
                text.set(ha=side[2], va=side[3])
                left, bottom, right, top = text.get_window_extent().extents
                is_outside = left < axes.bbox.x0 or right > axes.bbox.x1
                return 10 * is_outside + sum(
                    left < x1 and x0 < right and bottom < y1 and y0 < top for x0, y0, x1, y1 in taken
                )

            covered(min(sides, key=covered))
            taken.append(tuple(text.get_window_extent().extents))


def _along(axes: "Axes", line: "Line2D") -> np.ndarray:
    """`(n, 2)` places on the figure that a line goes through."""
    corners = axes.transData.transform(line.get_xydata())
    steps = np.arange(0, len(corners) - 0.95, 0.05)
    return np.column_stack([np.interp(steps, np.arange(len(corners)), column) for column in corners.T])


def _ranked(result: DatasetResult) -> list[PredictorResult]:
    """Best average first."""
    return sorted(measured(result), key=lambda one: -np.nan_to_num(one.average.value, nan=-np.inf))


def _shown(
    result: DatasetResult, names: Sequence[str], found: Callable[[PredictorResult], object]
) -> list[PredictorResult]:
    known = [one for one in _ranked(result) if found(one)]
    if names:
        return [one for name in names for one in known if one.predictor == name]
    is_reference = [one.predictor == result.reference for one in known]
    return sorted(known, key=lambda one: one.predictor != result.reference)[: 1 + any(is_reference)]


def _colour(one: PredictorResult, result: DatasetResult) -> str:
    return BLUE if one.predictor == result.reference else SKY


def _name(text: str, length: int = 40) -> str:
    """A name cut to a length, and kept from meaning something to matplotlib: `$` mathematics, `_` no legend."""
    line = label(text)
    line = line if len(line) <= length else line[: length - 1] + "…"
    return (" " * line.startswith("_") + line).replace("$", r"\$")
