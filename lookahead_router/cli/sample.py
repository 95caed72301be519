"""`lookahead-router sample`: prompts of a log that are worth asking."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._live import function_of
from lookahead_router.cli._options import JsonOption
from lookahead_router.cli._output import progress, shortened, show, show_json, show_table
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require

if TYPE_CHECKING:
    from lookahead_router.live.sample import Sample

_CELLS = 60
PreferOption = Annotated[
    str,
    typer.Option(
        metavar="coverage|informative",
        help="Which of prompts that are alike: coverage draws by chance, informative takes those that tell most.",
    ),
]


def sample(
    logs: Annotated[
        list[Path],
        typer.Argument(
            help="Logs: OpenAI's chat format, exports of LangSmith and Langfuse, Parquet, CSV, or lines of text."
        ),
    ],
    output: Annotated[Path, typer.Option(help="JSONL that the prompts are written to, for collect.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Prompts to draw.")] = 200,
    prefer: PreferOption = "coverage",
    router: Annotated[
        str | None, typer.Option(help="Predictor for any pool whose network reads them; the embedded one if absent.")
    ] = None,
    redact: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION", help="Function that takes personal data out of a text before it is kept."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw; another one draws others.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw prompts that cover a log in proportion, without near-duplicates, and show what they cover.

    Nothing is sent anywhere. Answers of the log are not read, only what was asked.
    """
    require("sklearn", "eval")  # not after all the work
    if output.exists():
        raise ConfigurationError(
            f"{output} exists; go on with collect, which the sample was drawn for, or choose another file"
        )
    from lookahead_router.live.sample import sample as draw

    start = None
    clean = None if redact is None else function_of(redact, "--redact")
    if router is not None:
        from lookahead_router.router import Router

        start = Router.from_pretrained(router)
    with progress("reading the log") as update:
        found = draw(logs, n, prefer=prefer, router=start, redact=clean, seed=seed, on_progress=update)
        found.write(output)
    if as_json:
        show_json({"output": str(output), **_record(found)})
        return
    topics = [
        (f"{100 * each.share:.1f}", str(each.n_sampled), shortened(each.example, _CELLS)) for each in found.topics
    ]
    show_table(("log in %", "drawn", "such as"), topics, texts=(2,))
    unreadable = f", {found.n_unreadable:,} of them without a prompt" if found.n_unreadable else ""
    few = "" if len(found.questions) >= n else f"The log holds no {n:,} different prompts; all that it has were drawn. "
    show(
        f"{few}{len(found.questions):,} prompts of {found.n_different:,} different ones in {found.n_records:,} records"
        f"{unreadable}. Half of the log is nearer than a cosine of {found.nearness:.2f} to one of them "
        f"({found.nearness_random:.2f} had chance drawn them)."
    )
    show(f"Next: lookahead-router collect {shlex.quote(str(output))} --pool pool.yaml --output answers.jsonl")


def _record(found: "Sample") -> dict:
    return {
        "n_sampled": len(found.questions),
        "n_different": found.n_different,
        "n_records": found.n_records,
        "n_unreadable": found.n_unreadable,
        "nearness": round(found.nearness, 4),
        "nearness_random": round(found.nearness_random, 4),
        "topics": [
            {"share": round(each.share, 4), "n_sampled": each.n_sampled, "example": each.example}
            for each in found.topics
        ],
    }
