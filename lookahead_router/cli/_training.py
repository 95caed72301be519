"""`fit --train`: a Lookahead network of the user's own, beside what else was fitted on the same prompts."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require

if TYPE_CHECKING:
    from lookahead_router.data.dataset import RoutingDataset
    from lookahead_router.evaluation.results import ComparisonReport
    from lookahead_router.router import Router
    from lookahead_router.training.recipe import Recipe

_TENTHS = 10


def read_training(path: Path) -> "Recipe":
    """The recipe, before any work.

    Raises:
        ConfigurationError: no such file, a setting that is unknown, or a recipe for any pool.
        MissingDependencyError: torch is not installed.
    """
    for module in ("torch", "transformers", "accelerate"):
        require(module, "train")
    from lookahead_router.training.demand_recipe import DemandRecipe, read_recipe

    recipe = read_recipe(path)
    if isinstance(recipe, DemandRecipe):
        raise ConfigurationError(f"{path} trains for any pool; --train takes a recipe for the pool of the answers")
    return recipe


def train_beside(
    dataset: "RoutingDataset", recipe: "Recipe", folder: Path, backbone: str | None, start: "Router | None"
) -> "ComparisonReport":
    """Trains on eight tenths of the prompts, selects on one, and compares on the last; near-duplicates stay together.

    Raises:
        DataError: too few prompts, or no responses.
        CheckpointError: the backbone cannot be loaded.
    """
    from lookahead_router.data.duplicates import folds_of
    from lookahead_router.evaluation.compare import Material, compare
    from lookahead_router.evaluation.entries import Entry
    from lookahead_router.evaluation.fit import PREDICTORS, PROFILES
    from lookahead_router.policies import BestQuality
    from lookahead_router.predictors.network_embedder import NetworkEmbedder
    from lookahead_router.predictors.open_pool import OpenPoolPredictor
    from lookahead_router.router import Router
    from lookahead_router.training.run import fit

    folds = folds_of(list(dataset.prompts), _TENTHS, 0)
    names = [recipe.data.train_split] * (_TENTHS - 2) + [recipe.data.validation_split, "held out"]
    dataset = replace(dataset, splits=np.array([names[fold] for fold in folds], dtype=object))
    fit(dataset, recipe, folder, backbone=backbone)
    train, validation, held = (dataset.filter(split=name) for name in names[-3:])
    known = OpenPoolPredictor.load() if start is None else start.predictor
    profiles = Router(known.with_candidates(list(dataset.pool)).onboard(train), policy=BestQuality())
    entries = [Entry("lookahead", locations=(str(folder / "predictor"),), backend="torch")]
    entries += [Entry(kind, router=profiles) if kind == PROFILES else Entry(kind, baseline=kind) for kind in PREDICTORS]
    material = Material("your prompts", "held out", held, train, validation)
    return compare(entries, [material], embedder=lambda: NetworkEmbedder(known))
