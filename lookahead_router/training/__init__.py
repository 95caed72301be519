"""Training of predictors: recipe, sampler, curriculum, objectives, trainer. Needs the `train` extra."""

from importlib import import_module
from typing import Any

__all__ = ["Recipe", "fit"]


def __getattr__(name: str) -> Any:
    homes = {"Recipe": "recipe", "fit": "run"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{homes[name]}"), name)
