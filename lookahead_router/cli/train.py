"""`lookahead-router train`: a recipe and data in, a saved predictor out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._output import progress, show
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require

if TYPE_CHECKING:
    from lookahead_router.training.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, YAML.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="Routing dataset: Parquet, JSONL, or org/name on the Hugging Face Hub. For a recipe of kind demands, "
            "also answers in long form; repeatable."
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME if absent.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Folder to load the backbone from.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.setting=value, repeatable.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Kind demands: the prompts that answers in long form name by prompt_id.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train a predictor. Run again after an interruption, it resumes at the last checkpoint."""
    from lookahead_router.training.recipe import Recipe, read_settings

    if read_settings(recipe).get("kind") == "demands":
        _train_demands(recipe, data, prompts, output, backbone, overrides or [], quiet)
        return
    if len(data) != 1 or prompts is not None:
        raise ConfigurationError("expected one --data and no --prompts: only recipes of kind demands take more")
    settings = Recipe.from_yaml(recipe, overrides or [])
    _train_predictor(settings, data[0], settings.run_folder if output is None else output, backbone, quiet)


def _train_predictor(settings: "Recipe", data: str, folder: Path, backbone: str | None, quiet: bool) -> None:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.hub import is_repo_id

    if is_repo_id(data):  # the card links to it
        settings = settings.model_copy(update={"card": settings.card.with_dataset(data)})
    with progress(f"reading {data}"):
        dataset = RoutingDataset.from_file(data)
    for split in (settings.data.train_split, settings.data.validation_split):
        dataset.filter(split=split)  # before torch and the backbone, which take their time
    _require_training()
    from lookahead_router.training.run import fit

    fit(dataset, settings, folder, backbone=backbone, show_progress=not quiet)
    _say(f"saved {folder / 'predictor'}; next: lookahead-router export {folder / 'predictor'} --data {data}")


def _train_demands(
    recipe: Path,
    data: list[str],
    prompts: Path | None,
    output: Path | None,
    backbone: str | None,
    overrides: list[str],
    quiet: bool,
) -> None:
    from lookahead_router.data.outcomes import OutcomeTable
    from lookahead_router.training.demand_recipe import DemandRecipe

    settings = DemandRecipe.from_yaml(recipe, overrides)
    with progress(f"reading {', '.join(data)}"):
        table = OutcomeTable.concatenate([OutcomeTable.from_file(path, prompts=prompts) for path in data])
    _require_training()
    from lookahead_router.training.demands import fit_demands

    _say(f"saved {fit_demands(table, settings, output, backbone=backbone, show_progress=not quiet)}")


def _require_training() -> None:
    for module in ("torch", "transformers", "accelerate"):
        require(module, "train")


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
        show(text)
