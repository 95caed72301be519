"""LangChain pieces that send each prompt to the candidate that will answer it best.

Importing this package loads neither LangChain nor the predictor: names are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lookahead_router.errors import is_transient

    from langchain_lookahead_router.chat_models import ChatLookaheadRouter
    from langchain_lookahead_router.decisions import LookaheadDecisionModel
    from langchain_lookahead_router.middleware import LookaheadRouterMiddleware
    from langchain_lookahead_router.runnables import LookaheadRouter, route_on_query

_HOMES = {
    "ChatLookaheadRouter": f"{__name__}.chat_models",
    "LookaheadDecisionModel": f"{__name__}.decisions",
    "LookaheadRouter": f"{__name__}.runnables",
    "LookaheadRouterMiddleware": f"{__name__}.middleware",
    "is_transient": "lookahead_router.errors",
    "route_on_query": f"{__name__}.runnables",
}

__all__ = [
    "ChatLookaheadRouter",
    "LookaheadDecisionModel",
    "LookaheadRouter",
    "LookaheadRouterMiddleware",
    "__version__",
    "is_transient",
    "route_on_query",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
