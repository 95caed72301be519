"""`lookahead-router candidates`: whom the predictor knows."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookahead_router.cli._abilities import KINDS, chances, open_predictor
from lookahead_router.cli._options import BackendOption, JsonOption, RevisionOption, RouterOption, load_router
from lookahead_router.cli._output import UNKNOWN, note, show, show_json, show_table

if TYPE_CHECKING:
    from lookahead_router.predictors.catalogue import CatalogueEntry
    from lookahead_router.predictors.open_pool import OpenPoolPredictor

N_SOURCES = 3
"""Sources that the table names; `--json` has them all."""


def candidates(
    search: Annotated[str, typer.Option(help="Words that name or family must hold.")] = "",
    router: RouterOption = None,
    revision: RevisionOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Candidates to show, those with most answers first.")] = 20,
    backend: BackendOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Show who is known: from how many public answers, since when, at what price, and how good at what.

    The figures of the kinds are the predicted chance of a good answer, in percent, on a few typical prompts. Other
    names work as well: they are matched leniently, and start from a relative or from what any model can.
    """
    from lookahead_router.saved.find import OPEN_EMBEDDED

    predictor = open_predictor(load_router(router or OPEN_EMBEDDED, revision=revision, backend=backend), "candidates")
    found = predictor.catalogue.search(search)
    records = _records(predictor, found[:limit])
    prices_as_of = predictor.catalogue.prices_as_of
    if as_json:
        show_json({"prices_as_of": prices_as_of or None, "n_found": len(found), "candidates": records})
        return
    if not found:
        show(f"nobody of {len(predictor.catalogue)} known candidates is called so; any name works nevertheless")
        return
    head = ("candidate", "answers", "from", "release", "USD per M tokens", *KINDS)
    show_table(head, [_row(record) for record in records], texts=(0, 2))
    dated = f"; list prices as of {prices_as_of}" if prices_as_of else ""
    note(f"{len(records)} of {len(found)} found, {len(predictor.catalogue)} known{dated}")


def _records(predictor: "OpenPoolPredictor", entries: "list[CatalogueEntry]") -> list[dict[str, Any]]:
    if not entries:
        return []
    abilities = chances(predictor, [predictor.catalogue.profile(entry) for entry in entries])
    return [
        {
            "name": entry.name,
            "family": entry.family or None,
            "n_answers": entry.n_answers,
            "sources": dict(entry.sources),
            "release": entry.release or None,
            "input_usd_per_million_tokens": entry.input_usd_per_million_tokens,
            "output_usd_per_million_tokens": entry.output_usd_per_million_tokens,
            "chances": {kind: round(float(chance), 4) for kind, chance in zip(KINDS, row, strict=True)},
        }
        for entry, row in zip(entries, abilities, strict=True)
    ]


def _row(record: dict[str, Any]) -> list[str]:
    largest = sorted(record["sources"], key=record["sources"].__getitem__, reverse=True)
    more = f" and {len(largest) - N_SOURCES} more" if len(largest) > N_SOURCES else ""
    prices = [record[f"{side}_usd_per_million_tokens"] for side in ("input", "output")]
    return [
        record["name"],
        f"{record['n_answers']:,}",
        ", ".join(largest[:N_SOURCES]) + more,
        record["release"] or UNKNOWN,
        UNKNOWN if None in prices else " / ".join(f"{price:g}" for price in prices),
        *(f"{100 * chance:.0f}" for chance in record["chances"].values()),
    ]
