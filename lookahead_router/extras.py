"""Importing what the base install leaves out."""

import importlib
from types import ModuleType

from lookahead_router.errors import MissingDependencyError


def require(module: str, extra: str) -> ModuleType:
    """The imported module.

    Raises:
        MissingDependencyError: it is not installed; the message holds the pip line with `extra`.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there, one of its own imports is not
        raise MissingDependencyError(module.partition(".")[0], extra) from error
