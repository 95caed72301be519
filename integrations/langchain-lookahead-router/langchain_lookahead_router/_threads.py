"""Where predictions run in async code."""

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from langchain_core.runnables.config import run_in_executor
from lookahead_router.threads import compute_threads


async def off_loop(function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns, computed on a thread of ours in the caller's context."""
    return await run_in_executor(compute_threads(), copy_context().run, function, *args)
