"""`lookahead-router onboard`: candidates join, and profiles get better, by scored answers."""

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lookahead_router.cli._abilities import KINDS, chances, open_predictor
from lookahead_router.cli._options import (
    BackendOption,
    CandidatesOption,
    JsonOption,
    RevisionOption,
    RouterOption,
    load_router,
    parse_candidates,
)
from lookahead_router.cli._output import progress, show, show_json, show_table
from lookahead_router.cli._scored import SCORED_HELP, read_scored
from lookahead_router.errors import ConfigurationError, UnknownProfileWarning

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.router import Router

_EXAMPLE = "What can I cook with rice, eggs and spinach?"


def onboard(
    where: Annotated[
        list[str],
        typer.Argument(metavar="[ROUTER] ANSWERS", help=f"The router, if not the embedded one. {SCORED_HELP}"),
    ],
    output: Annotated[Path, typer.Option(help="Folder that the router is written to.")],
    beside: Annotated[
        list[str] | None,
        typer.Option(help="Scored answers that the router learnt from, which tell how hard the same prompts are."),
    ] = None,
    router: RouterOption = None,
    revision: RevisionOption = None,
    candidates: CandidatesOption = None,
    backend: BackendOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Learn from scored answers, and write a router that knows its candidates by them.

    Some 20 answers make a difference, 100 a good profile; each candidate may have answered other prompts, but the
    same ones tell more. Without --candidates the router is among those of the answers and, with --router, its own.
    """
    from lookahead_router.saved.find import OPEN_EMBEDDED
    from lookahead_router.saved.folder import PredictorFolder

    router, answers = _places(where, router)
    target = PredictorFolder(output)
    if output.exists() and not target.holds_nothing_else():
        raise ConfigurationError(f"{output} exists and holds more than a saved predictor; choose another folder")
    with progress("reading answers") as update:
        dataset = read_scored([answers])
        update("loading the router", None)
        start = load_router(router or OPEN_EMBEDDED, revision=revision, backend=backend)
        open_predictor(start, "onboard")
        if candidates is not None:
            start = start.with_candidates(parse_candidates(candidates))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownProfileWarning)  # their answers are here
            if candidates is None and router is None:
                start = start.with_candidates(dataset.pool.names)
            update(f"learning from {len(dataset)} prompts", None)
            learnt = start.onboard(dataset, beside=None if beside is None else read_scored(beside))
            records = _records(start, learnt, dataset)
        update("writing", None)
        learnt.save(output)
    if as_json:
        show_json({"output": str(output), "candidates": records})
        return
    head = ("candidate", "answers", "mean score", *KINDS, "taken for")
    show_table(head, [_row(record) for record in records], texts=(0, len(head) - 1))
    show("Chances of a good answer on typical prompts, in percent, before and after.")
    show(f"Next: lookahead-router route --router {shlex.quote(str(output))} {shlex.quote(_EXAMPLE)}")


def _places(where: list[str], router: str | None) -> tuple[str | None, str]:
    """The router to go on from, where one is named, and the answers."""
    if len(where) > 2 or (len(where) == 2 and router is not None):
        raise ConfigurationError(
            "give a router once, and one file of answers: onboard [ROUTER] ANSWERS --output FOLDER"
        )
    return (where[0], where[1]) if len(where) == 2 else (router, where[0])


def _records(start: "Router", learnt: "Router", dataset: "RoutingDataset") -> list[dict[str, Any]]:
    """What changed, by candidate; those without answers as well."""
    predictor, after = start.predictor, learnt.predictor
    known = {member.candidate.name: member for member in start.predictor.members}
    joined = [member for member in after.members if member.candidate.name not in known]
    if joined:
        predictor = predictor.with_candidates([member.candidate for member in after.members])
    was = chances(predictor, [member.profile for member in predictor.members])
    now = chances(after, [member.profile for member in after.members])
    return [
        {
            "name": member.candidate.name,
            "taken_for": member.match.words,
            **_answered(dataset, member.candidate.name),
            "before": {kind: round(float(x), 4) for kind, x in zip(KINDS, was[k], strict=True)},
            "after": {kind: round(float(x), 4) for kind, x in zip(KINDS, now[k], strict=True)},
        }
        for k, member in enumerate(after.members)
    ]


def _answered(dataset: "RoutingDataset", name: str) -> dict[str, Any]:
    if name not in dataset.pool.names:
        return {"n_answers": 0, "mean_score": None}
    scores = dataset.scores[:, dataset.pool.index(name)]
    return {"n_answers": int((~np.isnan(scores)).sum()), "mean_score": round(float(np.nanmean(scores)), 4)}


def _row(record: dict[str, Any]) -> list[str]:
    mean = "–" if record["mean_score"] is None else f"{record['mean_score']:.3f}"
    moves = [f"{100 * record['before'][kind]:.0f} → {100 * record['after'][kind]:.0f}" for kind in KINDS]
    return [record["name"], str(record["n_answers"]), mean, *moves, record["taken_for"]]
