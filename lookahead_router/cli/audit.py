"""`lookahead-router audit`: whether a router decides by what is asked, or by how it is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._options import (
    BackendOption,
    CandidatesOption,
    JsonOption,
    PolicyOption,
    QualityOption,
    RevisionOption,
    RouterOption,
    ThreadsOption,
    load_router,
    parse_candidates,
    parse_policy,
    split_names,
)
from lookahead_router.cli._output import note, progress, show, show_json, show_table

if TYPE_CHECKING:
    from lookahead_router.evaluation.audit import AuditReport, Gate

GATE_CODE = 10
"""Exit code where a gate failed, and nothing else went wrong."""


def audit(
    router: RouterOption = None,
    revision: RevisionOption = None,
    candidates: CandidatesOption = None,
    policy: PolicyOption = None,
    quality: QualityOption = None,
    suite: Annotated[
        Path | None,
        typer.Option(help="Prompts of your own: JSONL, or text with one a line; the package's suite if absent."),
    ] = None,
    local: Annotated[
        str | None, typer.Option(help="Local candidates, NAME,NAME: all that may see personal data and secrets.")
    ] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="Gate, such as 'flips>0.05' or 'upgrades>0.05'; repeatable.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and report.html.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of typing slips and intervals.")] = 0,
    resamples: Annotated[int, typer.Option(min=10, help="Bootstrap samples behind the intervals.")] = 1000,
    backend: BackendOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how choices change with what does not matter: slips, case, boilerplate, templates, padding, languages.

    With --local, also how much personal data reaches other candidates. It takes no answers and no scores, and asks no
    LLM. With --fail-if, the exit code is 10 where a gate fails.
    """
    from lookahead_router.evaluation.audit import Gate
    from lookahead_router.evaluation.audit import audit as run_audit
    from lookahead_router.evaluation.audit_suite import SUITE, read_suite
    from lookahead_router.files import check_folder
    from lookahead_router.privacy.guard import Privacy

    gates = [Gate.parse(text) for text in fail_if or ()]
    if report is not None:
        check_folder(report)  # not after all the work
    questions = read_suite(SUITE if suite is None else suite)
    settings = {} if candidates is None else {"candidates": parse_candidates(candidates)}
    with progress("loading the router") as update:
        chosen = load_router(
            router,
            revision=revision,
            backend=backend,
            threads=threads,
            policy=None if policy is None else parse_policy(policy),
            quality=quality,
            **settings,
        )
        if local is not None:
            chosen = chosen.with_privacy(Privacy(local=split_names(local)))
        found = run_audit(
            chosen,
            questions,
            n_resamples=resamples,
            seed=seed,
            told=lambda done, total: update(f"{done:,} of {total:,} prompts", done / total),
        )
    _tell(found, gates, report, as_json)
    failed = [gate for gate in gates if not gate.is_met_by(found)]
    for gate in failed:
        note(f"gate failed: {gate}, found {found.figures[gate.figure].value:.4g}")
    if failed:
        raise typer.Exit(GATE_CODE)


def _tell(found: "AuditReport", gates: "list[Gate]", report: Path | None, as_json: bool) -> None:
    """Writes the report, if one is wanted, and shows what was found."""
    from lookahead_router.evaluation.audit_report import about, sections, write_audit

    if report is not None:
        write_audit(found, report, gates)
    if as_json:
        show_json(found.to_dict())
        return
    show(about(found))
    for each in sections(found, gates):
        show_table(each.head, each.rows, title=each.title, texts=range(len(each.head)) if each.is_text else (0,))
        if each.text:
            show(each.text)
    if report is not None:
        show(f"wrote {report / 'report.md'}, report.html and report.json")
