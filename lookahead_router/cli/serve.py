"""`lookahead-router serve`: one OpenAI-compatible address for all candidates of a pool file."""

from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.cli._output import note, show
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require

_PACKAGES = ("uvicorn", "fastapi", "httptools", "aiohttp", "prometheus_client", "yaml")

PoolArgument = Annotated[Path | None, typer.Argument(help="Pool file: the candidates and where they answer.")]
PredictorOption = Annotated[
    str | None,
    typer.Option("--router", help="Folder of a saved predictor, or org/name on the Hub, in place of the pool file's."),
]
NewKeyOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Add a key to the file of --keys, show it once, and end.")
]
RateOption = Annotated[int | None, typer.Option(min=1, help="Most requests a minute by the new key.")]
BudgetOption = Annotated[float | None, typer.Option(min=0, help="Dollars that the new key may cost in a period.")]
DecisionsOption = Annotated[
    Path | None, typer.Option(help="Log of decisions, without prompts: JSONL, or SQLite by the suffix .sqlite.")
]
LearntOption = Annotated[
    Path | None, typer.Option(help="Folder that keeps over restarts what feedback taught the router.")
]
StickyOption = Annotated[
    str,
    typer.Option(
        help="What stays with its candidate: turn (a tool loop), adaptive (a conversation too, unless another one is "
        "foreseen to be better), thread or none."
    ),
]
QueueOption = Annotated[int, typer.Option(min=0, help="Requests that may wait; others are told to come again.")]


def serve(
    pool: PoolArgument = None,
    router: PredictorOption = None,
    host: Annotated[str, typer.Option(help="Address to bind to; any but a loopback one needs --keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to bind to; 0 takes a free one.")] = 8400,
    keys: Annotated[Path | None, typer.Option(help="File of the clients' keys, hashed.")] = None,
    new_key: NewKeyOption = None,
    requests_per_minute: RateOption = None,
    budget: BudgetOption = None,
    period: Annotated[str | None, typer.Option(help="Period of the new key's budget: day, month or total.")] = None,
    decisions: DecisionsOption = None,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write the PROMPTS' TEXT to that log.")] = False,
    learnt: LearntOption = None,
    sticky: StickyOption = "turn",
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of one prediction; one prediction runs on each core.")
    ] = 1,
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="Largest body of a request, in megabytes.")] = 20.0,
    max_concurrency: Annotated[int, typer.Option(min=1, help="Requests at work at one time.")] = 100,
    max_queue: QueueOption = 200,
    header_seconds: Annotated[float, typer.Option(help="Longest time for the head of a request to arrive.")] = 10.0,
    queue_seconds: Annotated[float, typer.Option(help="Longest time that a request may wait.")] = 30.0,
    drain_seconds: Annotated[
        float, typer.Option(help="Longest time for requests under way, when the server ends.")
    ] = 30.0,
    log_level: Annotated[str, typer.Option(help="Lowest level that is logged: error, warning or info.")] = "info",
) -> None:
    """Serve the candidates of a pool file as one OpenAI-compatible address, with a page to try it on.

    Clients ask for the model auto, auto:best, auto:cheap, auto:0.95 (share of quality to keep) or a candidate's name.
    SIGHUP reads the pool file and the keys anew; SIGTERM ends the server when the requests under way are answered.
    """
    limits = {"requests_per_minute": requests_per_minute, "budget_usd": budget, "period": period}
    settings = {"host": host, "port": port, "keys": keys, "decisions": decisions, "log_prompts": log_prompts}
    settings |= {"learnt": learnt, "sticky": None if sticky == "none" else sticky, "threads": threads}
    settings |= {"max_body_bytes": round(max_body_mb * 1e6), "max_concurrency": max_concurrency, "max_queue": max_queue}
    settings |= {"header_seconds": header_seconds, "queue_seconds": queue_seconds, "drain_seconds": drain_seconds}
    for package in _PACKAGES:
        require(package, "serve")
    if new_key is not None:
        _add_key(keys, new_key, limits)
    else:
        _serve(pool, router, limits, settings, log_level)


def _serve(pool: Path | None, router: str | None, limits: dict, settings: dict, log_level: str) -> None:
    from lookahead_router.server.run import run
    from lookahead_router.server.service import Service
    from lookahead_router.server.settings import Settings

    if pool is None:
        raise ConfigurationError("name a pool file: lookahead-router serve pool.yaml")
    if any(limit is not None for limit in limits.values()):
        raise ConfigurationError("limits are those of a key: give them with --new-key NAME")
    if log_level not in ("error", "warning", "info"):
        raise ConfigurationError(f"--log-level: expected error, warning or info, got {log_level!r}")
    run(Service(pool, Settings(**settings), router=router), log_level=log_level)


def _add_key(keys: Path | None, name: str, limits: dict) -> None:
    from lookahead_router.server.keys import new_key

    if keys is None:
        raise ConfigurationError("--new-key adds to the file of --keys; name it, such as --keys keys.json")
    show(new_key(keys, name, **limits))
    note(f"This is the key {name!r}, which is kept nowhere: {keys} holds its hash.")
