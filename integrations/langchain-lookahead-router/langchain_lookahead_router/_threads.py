"""Where predictions run in async code."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from langchain_core.runnables.config import run_in_executor

# Predicting is compute, so more threads than cores would only keep the event loop from its turn. The loop's own
# executor is left to what waits, such as candidates without async methods.
_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
_threads = ThreadPoolExecutor(_cores, thread_name_prefix="lookahead-router")


async def off_loop(function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns, computed on a thread of ours in the caller's context."""
    return await run_in_executor(_threads, copy_context().run, function, *args)
