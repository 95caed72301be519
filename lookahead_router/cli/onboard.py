"""`lookahead-router onboard`: candidates join, and profiles get better, by scored answers."""

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lookahead_router.cli._abilities import KINDS, chances, chances_of, open_predictor
from lookahead_router.cli._options import (
    BackendOption,
    CandidatesOption,
    JsonOption,
    RevisionOption,
    RouterOption,
    load_router,
    parse_candidates,
)
from lookahead_router.cli._output import UNKNOWN, progress, show, show_json, show_table
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

    It goes on from predictors for any pool, and from in-context ones, whose candidates join by at least 20 answers
    each. Others are fitted on old and new answers together again.
    """
    from lookahead_router.predictors.fitted.base import holds_nothing_else
    from lookahead_router.saved.find import OPEN_EMBEDDED
    from lookahead_router.saved.folder import PredictorFolder

    router, answers = _places(where, router)
    if output.exists() and not (PredictorFolder(output).holds_nothing_else() or holds_nothing_else(output)):
        raise ConfigurationError(f"{output} exists and holds more than a saved predictor; choose another folder")
    with progress("reading answers") as update:
        dataset = read_scored([answers])
        others = None if beside is None else read_scored(beside)
        update("loading the router", None)
        start = load_router(router or OPEN_EMBEDDED, revision=revision, backend=backend)
        wanted = None if candidates is None else parse_candidates(candidates)
        update(f"learning from {len(dataset)} prompts", None)
        if start.predictor.name == "in-context":
            learnt, records = _on_record(start, dataset, others, wanted)
        else:
            open_predictor(start, "onboard")
            if wanted is not None:
                start = start.with_candidates(wanted)
            learnt, records = _by_profiles(start, dataset, others, is_among_them=wanted is None and router is None)
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


def _by_profiles(
    start: "Router", dataset: "RoutingDataset", beside: "RoutingDataset | None", *, is_among_them: bool
) -> tuple["Router", list[dict[str, Any]]]:
    """A router whose profiles have learnt, and what changed; one among the candidates of the answers, if so told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownProfileWarning)  # their answers are here
        if is_among_them:
            start = start.with_candidates(dataset.pool.names)
        learnt = start.onboard(dataset, beside=beside)
        return learnt, _records(start, learnt, dataset)


def _on_record(
    start: "Router", dataset: "RoutingDataset", beside: "RoutingDataset | None", wanted: dict[str, str] | None
) -> tuple["Router", list[dict[str, Any]]]:
    """A router whose network has read further records, and what changed."""
    from lookahead_router.router import Router

    known = [] if wanted is None else [name for name, of in wanted.items() if of != name]
    if known:
        raise ConfigurationError(
            f"--candidates: {start.predictor!r} knows no profiles that {', '.join(known)} could start from; candidates "
            "join by their answers, under their own names"
        )
    learnt = start.onboard(dataset, beside=beside)
    if wanted is not None:
        learnt = Router(learnt.predictor.with_candidates(list(wanted)))
    was = dict(zip(start.pool.names, chances_of(start.predictor), strict=True))
    now = chances_of(learnt.predictor)
    counts = learnt.predictor.n_on_record
    return learnt, [
        {
            "name": name,
            "taken_for": f"{counts[name]} answers on record",
            **_answered(dataset, name),
            "before": _rounded(was[name]) if name in was else None,
            "after": _rounded(after),
        }
        for name, after in zip(learnt.pool.names, now, strict=True)
    ]


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
            "before": _rounded(was[k]),
            "after": _rounded(now[k]),
        }
        for k, member in enumerate(after.members)
    ]


def _rounded(chances: np.ndarray) -> dict[str, float]:
    return {kind: round(float(chance), 4) for kind, chance in zip(KINDS, chances, strict=True)}


def _answered(dataset: "RoutingDataset", name: str) -> dict[str, Any]:
    if name not in dataset.pool.names:
        return {"n_answers": 0, "mean_score": None}
    scores = dataset.scores[:, dataset.pool.index(name)]
    return {"n_answers": int((~np.isnan(scores)).sum()), "mean_score": round(float(np.nanmean(scores)), 4)}


def _row(record: dict[str, Any]) -> list[str]:
    mean = "–" if record["mean_score"] is None else f"{record['mean_score']:.3f}"
    before = record["before"]
    was = {kind: UNKNOWN if before is None else f"{100 * before[kind]:.0f}" for kind in KINDS}
    moves = [f"{was[kind]} → {100 * record['after'][kind]:.0f}" for kind in KINDS]
    return [record["name"], str(record["n_answers"]), mean, *moves, record["taken_for"]]
