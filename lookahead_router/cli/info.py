"""`lookahead-router info`: what a saved predictor is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookahead_router.cli._options import REVISION_HELP, ROUTER_HELP, JsonOption
from lookahead_router.cli._output import UNKNOWN, show_json, show_table, size
from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from lookahead_router.saved.folder import PredictorFolder


def info(
    router: Annotated[str | None, typer.Argument(help=ROUTER_HELP)] = None,
    revision: Annotated[str | None, typer.Option(help=REVISION_HELP)] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a predictor's candidates, network, files and revision.

    Of a repository only the small files are fetched, not the weights.
    """
    from lookahead_router.hub import is_repo_id
    from lookahead_router.predictors.fitted import FITTED
    from lookahead_router.saved.fetch import fetch
    from lookahead_router.saved.find import EMBEDDED, OPEN_EMBEDDED
    from lookahead_router.saved.folder import PredictorFolder

    is_remote = is_repo_id(router)
    if revision is not None and not is_remote:
        raise ConfigurationError("--revision: only for a repository of the Hub")
    if is_remote:
        folder = fetch(router, [], {"revision": revision})  # no weights
    elif router is None:
        folder = PredictorFolder(EMBEDDED)
    else:
        folder = PredictorFolder(Path(router))
    kind = folder.kind()
    record = _about_fitted(folder) if kind in FITTED else _about_network(folder, is_remote)
    if kind == "open-pool":
        record |= _about_profiles(folder)
    record = {"location": "embedded" if router is None else router, **record}
    if router is None:  # routes among other names than those of this pool
        other = PredictorFolder(OPEN_EMBEDDED)
        record["other_names"] = {**_about_network(other, False), **_about_profiles(other)}
    if as_json:
        show_json(record)
    else:
        _show(record)


def _about_network(folder: "PredictorFolder", is_remote: bool) -> dict[str, Any]:
    folder.check(needs_weights=not is_remote)
    config = folder.read_config()
    here = {path.relative_to(folder.path).as_posix(): path.stat().st_size for path in folder.files()}
    return {
        "name": config.name,
        "revision": folder.revision(config),
        "predictor": config.predictor,
        "format_version": config.format_version,
        "library_version": config.library_version,
        "candidates": list(folder.read_pool().names),
        "backbone": config.network.get("backbone_config", {}).get("model_type"),
        "network": {key: value for key, value in config.network.items() if key != "backbone_config"},
        "files": {name: file.size_bytes for name, file in config.files.items()} if is_remote else here,
    }


def _about_profiles(folder: "PredictorFolder") -> dict[str, Any]:
    from lookahead_router.predictors.open_pool_folder import read_profiles

    _, catalogue, members = read_profiles(folder)
    profiles = {
        member.candidate.name: {
            "taken_for": member.match.entry and member.match.entry.name,
            "how": member.match.how,
            "n_answers": member.profile.n_answers,
            "words": member.about,
        }
        for member in members
    }
    return {"profiles": profiles, "n_known": len(catalogue), "prices_as_of": catalogue.prices_as_of or None}


def _about_fitted(folder: "PredictorFolder") -> dict[str, Any]:
    config = folder.read_json(folder.config)
    return {
        "name": config["predictor"],
        "revision": config.get("revision"),
        "predictor": config["predictor"],
        "format_version": config.get("format_version"),
        "candidates": list(folder.read_pool().names),
        "embedder": (config.get("embedder") or {}).get("location"),
        "settings": config.get("settings"),
        "files": {path.name: path.stat().st_size for path in sorted(folder.path.iterdir()) if path.is_file()},
    }


def _show(record: dict[str, Any]) -> None:
    rows = [(key.replace("_", " "), record.get(key)) for key in ("name", "revision", "location", "library_version")]
    rows.append(("kind", record["predictor"]))
    if profiles := record.get("profiles"):
        rows.append(("candidates", [f"{name}: {about['words']}" for name, about in profiles.items()]))
        rows.append(("catalogue", f"{record['n_known']:,} known candidates"))
        rows.append(("list prices", record["prices_as_of"] and f"as of {record['prices_as_of']}"))
    else:
        rows.append(("candidates", record["candidates"]))
    if other := record.get("other_names"):
        rows.append(("other names", [other["name"], f"{other['n_known']:,} known candidates"]))
    if network := record.get("network"):
        rows.append(("backbone", record["backbone"]))
        rows.append(("window", f"{network.get('max_prompt_tokens')} prompt tokens"))
        if record["predictor"] == "lookahead":
            n_slots = network.get("n_slots")
            rows.append(("lookahead", f"{n_slots} slots per candidate" if n_slots else "one token per candidate"))
    else:
        rows.append(("embedder", record.get("embedder")))
        rows += [(name, str(value)) for name, value in (record.get("settings") or {}).items()]
    show_table(("", ""), [(key, value or UNKNOWN) for key, value in rows], texts=(0, 1), is_plain=True)
    show_table(("file", "size"), [(name, size(n_bytes)) for name, n_bytes in record["files"].items()])
