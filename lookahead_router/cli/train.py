"""`lookahead-router train`: a recipe and a dataset in, a saved predictor out."""

import os
from pathlib import Path
from typing import Annotated

import typer

from lookahead_router.extras import require


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, YAML.")],
    data: Annotated[str, typer.Option(help="Routing dataset: Parquet, JSONL, or org/name on the Hugging Face Hub.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME if absent.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Folder to load the backbone from.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.setting=value, repeatable.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train a predictor. Run again after an interruption, it resumes at the last checkpoint."""
    for module in ("torch", "transformers", "accelerate", "yaml"):
        require(module, "train")
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.hub import is_repo_id
    from lookahead_router.training.recipe import Recipe
    from lookahead_router.training.run import fit

    settings = Recipe.from_yaml(recipe, overrides or [])
    if is_repo_id(data):  # the card links to it
        settings = settings.model_copy(update={"card": settings.card.with_dataset(data)})
    folder = settings.run_folder if output is None else output
    fit(RoutingDataset.from_file(data), settings, folder, backbone=backbone, show_progress=not quiet)
    if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
        typer.echo(f"saved {folder / 'predictor'}; next: lookahead-router export {folder / 'predictor'} --data {data}")
