"""`lookahead-router info`: what a saved predictor is."""

import json
from typing import Annotated

import typer


def info(
    router: Annotated[
        str | None, typer.Argument(help="Folder of a saved predictor; the embedded one if absent.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show a predictor's candidates, network, files and revision."""
    from pathlib import Path

    from lookahead_router.predictors.lookahead import EMBEDDED
    from lookahead_router.saved.folder import PredictorFolder

    folder = PredictorFolder(EMBEDDED if router is None else Path(router))
    folder.check()
    config, pool = folder.read_config(), folder.read_pool()
    network = {key: value for key, value in config.network.items() if key != "backbone_config"}
    record = {
        "name": config.name,
        "revision": folder.revision(config),
        "location": "embedded" if router is None else str(folder.path),
        "format_version": config.format_version,
        "library_version": config.library_version,
        "candidates": list(pool.names),
        "backbone": config.network.get("backbone_config", {}).get("model_type"),
        "network": network,
        "files": {path.relative_to(folder.path).as_posix(): path.stat().st_size for path in folder.files()},
    }
    if as_json:
        typer.echo(json.dumps(record, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for key in ("name", "revision", "location", "library_version", "backbone"):
        table.add_row(f"[bold]{key.replace('_', ' ')}[/]", escape(str(record[key])))
    table.add_row("[bold]candidates[/]", escape("\n".join(pool.names)))
    table.add_row("[bold]window[/]", f"{network.get('max_prompt_tokens')} prompt tokens")
    slots = f"{network['n_slots']} slots per candidate" if "n_slots" in network else "one token per candidate"
    table.add_row("[bold]lookahead[/]", slots)
    files = "\n".join(f"{name}  {size / 1e6:.2f} MB" for name, size in record["files"].items())
    table.add_row("[bold]files[/]", escape(files))
    Console().print(table, highlight=False)
