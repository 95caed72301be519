"""What commands share: options and their help, a policy by its name, a router from its options."""

import gc
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router.policies import BestQuality, CostAware, Policy, Threshold, WithinMargin
    from lookahead_router.router import Router

ROUTER_HELP = "Folder of a saved predictor, or org/name on the Hugging Face Hub; the embedded one if absent."
REVISION_HELP = "Branch, tag or commit of org/name."
POLICY_HELP = "best-quality, workhorse:NAME, within-margin:SCORE, cost-aware:SCORE_PER_USD or threshold:PROBABILITY."
BACKEND_HELP = "Runtime of the network: auto, onnx-int8, onnx, torch, or static, which is fast and runs none."
DATA_HELP = "Routing dataset: Parquet, JSONL, or org/name on the Hugging Face Hub."

RouterOption = Annotated[str | None, typer.Option("--router", help=ROUTER_HELP)]
RevisionOption = Annotated[str | None, typer.Option("--revision", help=REVISION_HELP)]
PolicyOption = Annotated[str | None, typer.Option("--policy", help=POLICY_HELP)]
BackendOption = Annotated[str, typer.Option("--backend", help=BACKEND_HELP)]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of one pass; those that this process may use if absent.")
]
CandidatesOption = Annotated[
    str | None,
    typer.Option(
        "--candidates", help="Whom to decide among: names, comma-separated; NAME=KNOWN starts from a known profile."
    ),
]
QualityOption = Annotated[
    float | None,
    typer.Option("--quality", help="Share of the best candidate's expected quality to keep, as cheaply as it allows."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_router(
    location: str | None, *, revision: str | None, backend: str, threads: int | None = None, **options
) -> "Router":
    """The router that a command's options name; `options` are those of `Router.from_pretrained`."""
    # What is imported and opened stays: looking for garbage in it takes a tenth of a start.
    gc.disable()
    try:
        from lookahead_router.router import Router

        return Router.from_pretrained(location, revision=revision, backend=backend, n_threads=threads, **options)
    finally:
        gc.freeze()
        gc.enable()


def parse_policy(text: str) -> "Policy":
    """The policy that a command names.

    Raises:
        ConfigurationError: an unknown name, or a number that is missing, malformed or out of range.
    """
    from lookahead_router.policies import BestQuality, CostAware, Threshold, WithinMargin

    kinds = {"within-margin": WithinMargin, "cost-aware": CostAware, "threshold": Threshold}
    name, _, value = text.partition(":")
    if text == "best-quality":
        return BestQuality()
    if name == "workhorse" and value:
        from lookahead_router.workhorse import Workhorse

        return Workhorse(value)
    try:
        number = float(value)
    except ValueError:
        number = None
    if number is None or name not in kinds:
        raise ConfigurationError(f"--policy: expected {POLICY_HELP.rstrip('.')}, got {text!r}")
    return kinds[name](number)


def policy_words(policy: "BestQuality | WithinMargin | CostAware | Threshold") -> str:
    """What `parse_policy` reads as that policy."""
    from lookahead_router.policies import CostAware, Threshold, WithinMargin

    if isinstance(policy, CostAware):
        return f"cost-aware:{policy.score_per_usd:.6g}"
    if isinstance(policy, WithinMargin):
        return f"within-margin:{policy.margin:.6g}"
    return f"threshold:{policy.minimum_probability:.6g}" if isinstance(policy, Threshold) else "best-quality"


def split_names(names: str) -> list[str]:
    """Names with commas between."""
    return [name.strip() for name in names.split(",")]


def parse_candidates(text: str) -> dict[str, str]:
    """`{name: known name}` of names with commas between; a name by itself is known by itself.

    Raises:
        ConfigurationError: an empty name, or one that stands twice.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, separator, known = (each.strip() for each in part.partition("="))
        if not name or (separator and not known):
            raise ConfigurationError(f"--candidates: expected NAME,NAME=KNOWN,..., got {text!r}")
        if name in found:
            raise ConfigurationError(f"--candidates: {name!r} stands there twice")
        found[name] = known or name
    return found
