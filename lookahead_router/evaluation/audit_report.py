"""An audit as sections of plain text and figures in words, and as files."""

from collections.abc import Sequence
from pathlib import Path

from lookahead_router.evaluation.audit import DEARER, KINDS, LOSS, AuditReport, Change, Flip, Gate
from lookahead_router.evaluation.audit_private import PrivateData
from lookahead_router.evaluation.report import write_sections
from lookahead_router.evaluation.tables import UNKNOWN, Section, number
from lookahead_router.metrics import Interval

TITLE = "Audit of a router"
_HEAD = ("n", "flips in %", "other choice in %", "lost", "upgrades in %", "downgrades in %", "dollars", "quality")
_SHOWN = 3
"""Candidates in a cell of the grid."""


def about(report: AuditReport) -> str:
    """What was asked of whom."""
    revision = f" {report.revision}" if report.revision else ""
    usd = "" if report.usd is None else f", for {1000 * report.usd:.3g} dollars a thousand"
    return (
        f"{report.predictor}{revision} under {report.policy}, among {len(report.candidates)} candidates: "
        f"{report.n_prompts:,} prompts of {report.n_questions:,} questions, whose choices are foreseen "
        f"to be good at {100 * report.quality:.1f} %{usd}. A flip is another choice that is worse by "
        f"more than {LOSS}, by the plain prompt's {report.by}; an upgrade is one that is dearer by more than "
        f"{DEARER:.0%}. Intervals are 95 % percentile bootstrap of {report.n_resamples:,} resamples of questions."
    )


def sections(report: AuditReport, gates: Sequence[Gate] = ()) -> tuple[Section, ...]:
    """All that there is to say; tables without a row are left out."""
    whole = [each for each in report.changes if not each.form]
    forms = [each for each in report.changes if each.form]
    found = (
        Section("Gates", head=("fails if", "found", ""), rows=tuple(_gate(each, report) for each in gates)),
        Section(
            "The same prompt in other clothes",
            "Lost: points that the choices lose beside those of the plain prompts, in the mean, by what is foreseen "
            "of the plain prompts; below 0 where they gain. Dollars: what the choices cost over those of the plain "
            "prompts. Quality: mean predicted points of the candidates chosen, beside those chosen plain; below 0 "
            "where prompts go to weaker ones.",
            head=("kind", *_HEAD),
            rows=tuple((each.kind, *_row(each)) for each in whole),
        ),
        Section(
            "What a flip costs",
            "In the mean over flips: points lost beside the plain choice, what is kept of the best candidate's chance, "
            "and dollars over those of the plain choice. Where a policy keeps a share of the best for fewer dollars, "
            "flips that keep nearly that share are those of prompts at its line.",
            head=("kind", "lost", "kept in %", "dollars"),
            rows=tuple((each.kind, *_flip(each.flip)) for each in whole if each.flip is not None),
        ),
        Section("Who is chosen", head=("candidate", "share in %"), rows=_shares(report)),
        Section(
            "Figures",
            "Flips are those of typos, case, whitespace, zero-width characters and boilerplate together. Entropy is "
            "that of the shares, 1 where all are chosen alike; the indices are shares of it that category and, within "
            "categories, difficulty explain beyond chance.",
            head=("figure", "found"),
            rows=tuple((name, _figure(value)) for name, value in report.figures.items() if name not in KINDS),
        ),
        *_private(report.private),
        Section("By category and difficulty", head=("prompts", "n", "chosen most", "USD a 1,000"), rows=_grid(report),
                is_text=True),
        Section("Every form", head=("form", *_HEAD),
                rows=tuple((f"{each.kind}: {each.form}", *_row(each)) for each in forms)),
    )  # fmt: skip
    return tuple(each for each in found if each.rows)


def _private(data: PrivateData | None) -> tuple[Section, ...]:
    if data is None:
        return ()
    detectors = tuple(data.alarms)
    return (
        Section(
            "Personal data and secrets",
            f"Made-up ones in prompts of six languages. Local: {', '.join(data.local) or 'nobody'}. Names and postal "
            "addresses have no shape, so rules cannot find them; the first line is of all the others. A prompt stays "
            "local, or is refused, by anything that is found in it.",
            head=("kind", "n", "reach others in %", "without privacy", "refused", *(f"{d} find" for d in detectors)),
            rows=tuple(
                (
                    each.kind or "all with a shape",
                    str(each.n),
                    *map(_percent, (each.leaks, each.unguarded, each.refused)),
                    *(number(100 * each.found[name]) for name in detectors),
                )
                for each in data.kinds
            ),
        ),
        Section(
            f"False alarms in {data.n_clean:,} clean prompts",
            head=("detector", "found in %"),
            rows=tuple((name, _percent(value)) for name, value in data.alarms.items()),
        ),
    )


def write_audit(report: AuditReport, folder: Path, gates: Sequence[Gate] = ()) -> None:
    """Writes `report.json`, `report.md` and `report.html`, each whole or not at all."""
    write_sections(folder, TITLE, about(report), sections(report, gates), report.to_dict())


def _gate(gate: Gate, report: AuditReport) -> tuple[str, str, str]:
    found = report.figures[gate.figure]
    verdict = "not measured" if found is None else "passed" if gate.is_met_by(report) else "FAILED"
    return str(gate), _figure(found), verdict


def _row(change: Change) -> tuple[str, ...]:
    dollars = UNKNOWN if change.dollars is None else f"{change.dollars.value:.2f}"
    lost, shift = (f"{100 * each.value + 0.0:+.1f}" for each in (change.lost, change.shift))
    choices, prices = (change.flips, change.differ), (change.upgrades, change.downgrades)
    return (str(change.n), *map(_percent, choices), lost, *map(_percent, prices), dollars, shift)


def _flip(flip: Flip) -> tuple[str, str, str]:
    dollars = UNKNOWN if flip.dollars is None else f"{flip.dollars:.2f}"
    return f"{100 * flip.lost:.1f}", f"{100 * flip.kept:.1f}", dollars


def _shares(report: AuditReport) -> tuple[tuple[str, str], ...]:
    chosen = sorted(report.shares.items(), key=lambda each: -each[1])
    return tuple((name, number(100 * share)) for name, share in chosen)


def _grid(report: AuditReport) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            " ".join(part for part in (each.category, each.difficulty) if part),
            str(each.n),
            ", ".join(f"{name} {share:.0%}" for name, share in list(each.shares.items())[:_SHOWN]),
            UNKNOWN if each.usd is None else f"{1000 * each.usd:.3g}",
        )
        for each in report.grid
        if each.category or each.difficulty
    )


def _figure(value: Interval | None) -> str:
    if value is None:
        return UNKNOWN
    interval = f" [{value.low:.3f}, {value.high:.3f}]" if value.low == value.low else ""
    return f"{value.value + 0.0:.3f}{interval}"


def _percent(value: Interval | None) -> str:
    return UNKNOWN if value is None else f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"
