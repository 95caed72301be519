"""Who answered a conversation last."""

from collections import UserDict
from typing import Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.threads import ProcessLock


class RecentThreads(UserDict[str, str]):
    """Candidate by conversation id, of the conversations used last. Safe under threads.

    Belongs to its process: a pickled copy is empty, a deep copy is the same object.
    """

    def __init__(self, max_threads: int = 10_000) -> None:
        if type(max_threads) is not int or max_threads < 1:
            raise ConfigurationError(f"max_threads must be a whole number from 1 on, got {max_threads!r}")
        super().__init__()
        self.max_threads = max_threads
        self._lock = ProcessLock()

    def __setitem__(self, thread: str, name: str) -> None:
        with self._lock:
            self.data.pop(thread, None)
            self.data[thread] = name
            if len(self.data) > self.max_threads:
                del self.data[next(iter(self.data))]

    def __deepcopy__(self, memo: dict[int, Any]) -> "RecentThreads":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return RecentThreads, (self.max_threads,)
