"""`lookahead-router train`: a recipe and data in, a saved predictor out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookahead_router.cli._output import progress, show
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.data.outcomes import OutcomeTable
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
    from lookahead_router.training.demand_recipe import DemandRecipe, read_recipe

    settings = read_recipe(recipe, overrides or [])
    folder = settings.run_folder if output is None else output
    if isinstance(settings, DemandRecipe):
        table = _read_outcomes(data, prompts)
        _require_training()
        from lookahead_router.training.demands import fit_demands

        _say(f"saved {fit_demands(table, settings, folder, backbone=backbone, show_progress=not quiet)}")
        return
    if len(data) != 1 or prompts is not None:
        raise ConfigurationError("expected one --data and no --prompts: only recipes of kind demands take more")
    dataset, settings = _read_dataset(data[0], settings)
    _require_training()
    from lookahead_router.training.run import fit

    fit(dataset, settings, folder, backbone=backbone, show_progress=not quiet)
    _say(f"saved {folder / 'predictor'}; next: lookahead-router export {folder / 'predictor'} --data {data[0]}")


def _read_dataset(data: str, settings: "Recipe") -> "tuple[RoutingDataset, Recipe]":
    """The dataset, with the splits that the recipe names, and the recipe, whose card links to a dataset of the Hub."""
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.hub import is_repo_id

    if is_repo_id(data):
        settings = settings.model_copy(update={"card": settings.card.with_dataset(data)})
    with progress(f"reading {data}"):
        dataset = RoutingDataset.from_file(data)
    for split in (settings.data.train_split, settings.data.validation_split):
        dataset.filter(split=split)  # before torch and the backbone, which take their time
    return dataset, settings


def _read_outcomes(data: list[str], prompts: Path | None) -> "OutcomeTable":
    from lookahead_router.data.outcomes import OutcomeTable

    with progress(f"reading {', '.join(data)}"):
        return OutcomeTable.concatenate([OutcomeTable.from_file(path, prompts=prompts) for path in data])


def _require_training() -> None:
    for module in ("torch", "transformers", "accelerate"):
        require(module, "train")


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":  # one of several processes speaks
        show(text)
