"""Writes what `study.py` found into the tables of docs/results/any-pool.md, and draws the figures of the page anew.

    python research/any_pool/publish.py MIX [WITHIN]

MIX and WITHIN are the study's outputs over mixtures and within one source. Prose around the tables stays as it is: read
it again beside them.
"""

import argparse
import json
import re
import runpy
from pathlib import Path

from study import curves, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "any-pool.md"
TABLES = {
    "Log loss, lower is better:": "log_loss",
    "Dollars for quality": "spent",
    "Share of dollars saved at 95 %": "saved_0.95",
    "Calibration error of the probabilities:": "ece",
    "Average normalised score,": "normalized",
}
"""Words above a table of mixtures, and the figure that it shows."""
WITHIN = "Where nothing but difficulty is left to know. Log loss:"
ABLATIONS = ("without components", "without shared drift")


def replaced(page: str, words: str, new: str) -> str:
    """The page with the first table below some words replaced."""
    before, after = page.split(words, 1)
    return before + words + re.sub(r"(?:^\|.*\n)+", lambda _: new + "\n", after, count=1, flags=re.MULTILINE)


def read(path: Path) -> list[dict]:
    """The study's rows, without those of its ablations."""
    return [row for row in json.loads(path.read_text()) if row["line"] not in ABLATIONS]


def main() -> None:
    """Writes tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mix", type=Path)
    parser.add_argument("within", type=Path, nargs="?")
    options = parser.parse_args()
    page, rows = PAGE.read_text(encoding="utf-8"), read(options.mix)
    for words, figure in TABLES.items():
        page = replaced(page, words, curves(rows) if figure == "spent" else table(rows, figure))
    if options.within:
        page = replaced(page, WITHIN, table(read(options.within), "log_loss"))
    PAGE.write_text(page, encoding="utf-8")
    runpy.run_path(str(ROOT / "docs" / "figures" / "make.py"), run_name="__main__")


if __name__ == "__main__":
    main()
