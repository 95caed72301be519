"""What `fit` found, for people: sections of a report, and the card of the router that it saves."""

from pathlib import Path
from typing import TYPE_CHECKING

from lookahead_router.escaping import to_markdown
from lookahead_router.evaluation.report import write_report
from lookahead_router.evaluation.tables import Section, number, percent, thousand
from lookahead_router.files import write_text
from lookahead_router.metrics import Interval
from lookahead_router.predictors.open_pool import OpenPoolPredictor

if TYPE_CHECKING:
    from lookahead_router.evaluation.fit import FitResult, Setting

TITLE = "A router for your candidates"


def write_fit_report(result: "FitResult", folder: Path) -> None:
    """Writes `report.html`, `report.md` with its figures, and `report.json`; no prompt and no answer stands in them.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    write_report(result.comparison, folder, title=TITLE, lead=sections(result), record=result.to_dict())


def write_card(result: "FitResult", folder: Path) -> None:
    """Writes `README.md` of the saved router."""
    parts = [f"# {TITLE}", "Made by `lookahead-router fit`."]
    for section in sections(result):
        parts += [f"## {section.title}", to_markdown(section.text)]
        if section.head:
            lines = (section.head, ("---", *["--:"] * (len(section.head) - 1)), *section.rows)
            parts.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines))
    parts += ["## Use", f"```python\n{_use(result)}\n```"]
    write_text(folder / "README.md", "\n\n".join(parts) + "\n")


def sections(result: "FitResult") -> tuple[Section, ...]:
    """The verdict, what each setting would have got on the user's prompts, and what was tried."""
    single = f"{result.best_single}, always"
    head = ("quality to keep", "score [95 %]", "beside the best single candidate [95 %]")
    rows = [("best single candidate", number(100 * result.best_single_score), number(0.0))]
    measured = [(_name(each), each) for each in result.settings] + [("to be expected", result.outlook)]
    rows += [(name, _interval(each.score), _interval(each.gained)) for name, each in measured]
    if result.best_single_usd is not None:
        head = (*head, "USD per 1,000 prompts", "saved [95 %]")
        usd = [(thousand(result.best_single_usd), "0")]
        usd += [(thousand(each.usd_per_prompt), percent(each.saved)) for _, each in measured]
        rows = [(*row, *more) for row, more in zip(rows, usd, strict=True)]
    shares = result.settings[0].shares if result.setting is None else result.setting.shares
    notes = f" {' '.join(f'{note}.' for note in result.notes)}" if result.notes else ""
    asked = (
        f"{result.n_prompts:,} prompts; every figure is of the {result.n_compared:,} that all candidates were scored "
        f"on, each foreseen by fits on other prompts. Chosen: {result.chosen}.{notes}"
    )
    return (
        Section("Verdict", f"{result.verdict} {asked}"),
        Section(
            "What this would have saved on your prompts",
            f"Of {single}. Scores in points of 100. A setting is the share of the best candidate's expected quality "
            "that is kept on each prompt, as cheaply as that allows. The one that looks best had luck as well; "
            "what is to be expected is what the choice of a setting gets on prompts that it has not read.",
            figure="cost-quality",
            head=head,
            rows=tuple(rows),
        ),
        Section(
            "Where prompts go",
            "In %, under the setting chosen." if result.setting else "In %, had routing been recommended.",
            head=("candidate", "prompts"),
            rows=tuple((name, number(100 * share)) for name, share in shares.items()),
        ),
        Section(
            "How it was chosen",
            "Mean squared error of the foreseen scores; the least one knows most, and of near equals profiles are "
            "chosen, since they go on learning. The best single candidate's is that of knowing no more than the means.",
            head=("predictor", "error"),
            rows=tuple((kind, number(error, 4)) for kind, error in result.errors.items()),
        ),
    )


def _name(setting: "Setting") -> str:
    return "the best" if setting.quality is None else f"{100 * setting.quality:g} %"


def _interval(value: Interval) -> str:
    return f"{number(100 * value.value)} [{number(100 * value.low)}, {number(100 * value.high)}]"


def _cell(text: str) -> str:
    return text if set(text) <= {"-", ":"} else to_markdown(text)


def _use(result: "FitResult") -> str:
    quality = None if result.setting is None else result.setting.quality
    names, option = "Router", "" if quality is None else f", quality={quality:g}"
    if quality is None and isinstance(result.router.predictor, OpenPoolPredictor):  # which has another usual policy
        names, option = "BestQuality, Router", ", policy=BestQuality()"
    return (
        f'from lookahead_router import {names}\n\nrouter = Router.from_pretrained("FOLDER"{option})\n'
        'print(router.route("What is 2 + 2?").name)'
    )
