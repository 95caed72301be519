"""Cores that this process may use, and what a forked child must not inherit: threads and locks.

A child has one thread, whatever its parent had. Locks that another thread held stay shut in it, and
work that waits for threads of the parent waits for ever. So both are made anew there.
"""

import math
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lookahead_router.errors import ConfigurationError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")


class ProcessLock:
    """A lock for `with`, which is open in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self._open()
        _locks.add(self)

    def _open(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


_locks: "weakref.WeakSet[ProcessLock]" = weakref.WeakSet()


def _open_locks() -> None:
    for lock in list(_locks):
        lock._open()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_locks)


class PerProcess(Generic[T]):
    """A value that every process makes for itself, when it is first asked for it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._values: list[T] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def __call__(self) -> T:
        """The value of this process."""
        with self._lock:
            if not self._values:
                self._values.append(self._make())
            return self._values[0]

    def _forget(self) -> None:
        self._lock, self._values = threading.Lock(), []


class computed_once(Generic[T]):
    """A property that is computed when it is first asked for, and kept.

    `functools.cached_property` has a lock before Python 3.12, one for all objects, which a forked child finds shut if
    another thread computed meanwhile.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


def allowed_cores() -> int:
    """Physical cores that this process may use, at least 1: those of its affinity mask, within the CPU quota of its
    control groups."""
    if hasattr(os, "sched_getaffinity"):
        cores = len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def check_n_threads(n_threads: object) -> None:
    """Raises `ConfigurationError` unless it is `None` or a whole number from 1 on."""
    if n_threads is not None and (type(n_threads) is not int or n_threads < 1):
        raise ConfigurationError(
            f"n_threads must be a whole number from 1 on, or None for the cores; got {n_threads!r}"
        )


def _executor() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(allowed_cores(), thread_name_prefix="lookahead-router")


compute_threads = PerProcess(_executor)
"""The executor that predictions of async code run on. They are compute, so more threads than cores would only keep
the event loop from its turn; and the loop's own executor is left to what waits."""


async def off_loop(compute: Callable[..., T], *args: Any) -> T:
    """What a function that computes returns, on one of these threads, in the caller's context."""
    import asyncio
    from contextvars import copy_context

    return await asyncio.get_running_loop().run_in_executor(compute_threads(), copy_context().run, compute, *args)


def _siblings(cpu: int) -> str:
    """What the hardware threads of one core have in common."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def _quota(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float:
    """Cores' worth of time that the control groups of this process grant; infinite without a limit."""
    quotas = [math.inf]
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return math.inf
    for line in lines:
        controllers, _, name = line.partition(":")[2].partition(":")
        if controllers == "" or "cpu" in controllers.split(","):
            # In a container the group that is named may lie above what is mounted.
            top = root / controllers
            folder = top / name.lstrip("/")
            quotas += [_granted(each) for each in (folder, *folder.parents) if each == top or top in each.parents]
    return min(quotas)


def _granted(folder: Path) -> float:
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        try:
            quota, period = " ".join((folder / name).read_text() for name in files).split()
            if quota not in ("max", "-1"):
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return math.inf
