"""`lookahead-router routes check`: whether routes can be told apart."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import (
    BackendOption,
    CandidatesOption,
    JsonOption,
    RevisionOption,
    RouterOption,
    ThreadsOption,
    load_router,
    parse_candidates,
)
from lookahead_router.cli._output import UNKNOWN, progress, show, show_json, show_table

if TYPE_CHECKING:
    from lookahead_router.routes.check import LabelledFacts, RoutesCheck

NONE = "(none)"
"""What stands for no route in tables."""


class Action(Enum):
    """What to do with a file of routes."""

    check = "check"


def routes(
    action: Annotated[Action, typer.Argument(help="check: how well the routes can be told apart.")],
    file: Annotated[Path, typer.Argument(help="Routes: YAML or JSON.", metavar="FILE")],
    data: Annotated[
        Path | None, typer.Option(help="Labelled requests, JSONL with text or messages, and route, null for none.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="Sentence encoder: folder, or org/name on the Hub; the router's own if absent.")
    ] = None,
    router: RouterOption = None,
    revision: RevisionOption = None,
    candidates: CandidatesOption = None,
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where routes overlap, from which similarity on a request belongs to one, and how labelled requests fare."""
    from lookahead_router.predictors.embedder import Embedder
    from lookahead_router.routes import Routes
    from lookahead_router.routes.check import check_matcher, read_labelled
    from lookahead_router.routes.opening import embedder_of

    written = Routes.read(file)
    labelled = [] if data is None else read_labelled(data, written.names)
    with progress("fitting the routes"):
        settings = {} if candidates is None else {"candidates": parse_candidates(candidates)}
        if candidates is None and router is None:
            settings["candidates"] = written.candidates
        chosen = load_router(router, revision=revision, backend=backend, threads=threads, **settings)
        written.check(chosen.pool)
        encoder = embedder_of(chosen.predictor) if embedder is None else Embedder.load(embedder)
        found = check_matcher(chosen.with_routes(written.fit(encoder)).routes, labelled)
    if as_json:
        show_json(found.to_dict())
    else:
        _show(found)


def _show(found: "RoutesCheck") -> None:
    rows = [
        (
            route.name,
            ", ".join(route.candidates),
            str(route.n_examples),
            _percent(route.hit_rate),
            _percent(route.below),
            UNKNOWN if route.nearest is None else f"{route.nearest} ({route.cosine:.2f})",
        )
        for route in found.routes
    ]
    show_table(
        ("route", "candidates", "examples", "found again", "of none", "most like (cosine)"), rows, texts=(0, 1, 5)
    )
    how = "fitted" if found.is_fitted else "of the file"
    show(f"A request belongs to its most similar route from a similarity of {found.threshold:.3f} on ({how}).")
    for one, other, cosine in found.overlaps:
        show(f"{one} and {other} overlap (cosine {cosine:.2f}): tell them apart by other examples, or make them one.")
    if found.labelled is not None:
        _show_labelled(found.labelled)


def _show_labelled(labelled: "LabelledFacts") -> None:
    labels = list(dict.fromkeys([*labelled.confusion, *(name for row in labelled.confusion.values() for name in row)]))
    rows = [
        (label or NONE, *(str(labelled.confusion.get(label, {}).get(other, "")) for other in labels))
        for label in labels
        if label in labelled.confusion
    ]
    show_table(("labelled \\ matched", *(label or NONE for label in labels)), rows, title="Labelled requests")
    show(
        f"{labelled.n:,} requests: {_percent(labelled.hit_rate)} right, {_percent(labelled.span_hit_rate)} of the "
        f"spans, {_percent(labelled.conversation_hit_rate)} of the conversations; {_percent(labelled.unmatched)} "
        "matched to no route"
    )


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"
