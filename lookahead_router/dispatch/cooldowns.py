"""What follows from each class of failure, and who is asked last for a while because of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.failures import Failure
from lookahead_router.threads import ProcessLock


@dataclass(frozen=True)
class Rule:
    """What follows from a class of failure."""

    asks_next: bool
    """Whether another candidate may answer."""
    cooldown_seconds: float = 0.0
    """How long the candidate is asked last; doubles with every further failure. 0 for none."""
    failures: int = 1
    """So many failures in a row start the cooldown."""


RULES: Mapping[Failure, Rule] = {
    Failure.RATE_LIMIT: Rule(True, 10.0),
    Failure.OVERLOAD: Rule(True, 10.0),
    Failure.SERVER_ERROR: Rule(True, 10.0, failures=2),
    Failure.TIMEOUT: Rule(True, 30.0),
    Failure.CONNECTION: Rule(True, 10.0, failures=2),
    Failure.NO_ANSWER: Rule(True, 10.0, failures=3),
    Failure.AUTHENTICATION: Rule(True, 300.0),
    Failure.NOT_FOUND: Rule(True, 300.0),
    Failure.CONTEXT_OVERFLOW: Rule(True),
    Failure.CONTENT_FILTER: Rule(True),
    Failure.UNSUPPORTED: Rule(True),
    Failure.BAD_REQUEST: Rule(False),
    Failure.UNKNOWN: Rule(False),
}
"""One rule for each class of failure."""


class Cooldowns:
    """Who is asked last for a while, because they failed. Safe under threads.

    Belongs to its process: a pickled copy is empty, a deep copy is the same object.
    """

    def __init__(
        self,
        *,
        max_seconds: float = 600.0,
        max_retry_after_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts with nobody.

        Args:
            max_seconds: bound of a cooldown that grows, > 0.
            max_retry_after_seconds: bound of what providers may ask for, >= 0.
            clock: seconds that never go back.

        Raises:
            ConfigurationError: a bound out of its range, or a clock that is no function.
        """
        for name, value, is_fit in (
            ("max_seconds", max_seconds, lambda bound: bound > 0),
            ("max_retry_after_seconds", max_retry_after_seconds, lambda bound: bound >= 0),
        ):
            if isinstance(value, bool) or not isinstance(value, Real) or not is_fit(value):
                raise ConfigurationError(f"{name} must be a number of seconds within its range, got {value!r}")
        if not callable(clock):
            raise ConfigurationError(f"clock must be a function, got {type(clock).__name__}")
        self.max_seconds = max_seconds
        self.max_retry_after_seconds = max_retry_after_seconds
        self._clock = clock
        self._lock = ProcessLock()
        self._until: dict[str, float] = {}
        self._in_a_row: dict[str, int] = {}
        self._why: dict[str, Failure] = {}

    def failed(self, name: str, failure: Failure, retry_after: float | None = None) -> None:
        """Notes a failure.

        Args:
            name: the candidate.
            failure: its class; classes without a cooldown count for nothing.
            retry_after: seconds, at least 0, that the provider asked to wait.
        """
        rule = RULES[failure]
        if not rule.cooldown_seconds:
            return
        with self._lock:
            now = self._clock()
            until = self._until.get(name, now)
            if until <= now:  # calls that were under way when a cooldown began tell nothing new
                n = self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
                if n >= rule.failures:
                    doublings = min(n - rule.failures, 32)
                    until = now + min(rule.cooldown_seconds * 2**doublings, self.max_seconds)
            if retry_after is not None:
                until = max(until, now + min(retry_after, self.max_retry_after_seconds))
            if until > now:
                self._until[name], self._why[name] = until, failure

    def answered(self, name: str) -> None:
        """Forgets the candidate's failures."""
        with self._lock:
            for noted in (self._until, self._in_a_row, self._why):
                noted.pop(name, None)

    def seconds_left(self, name: str) -> float:
        """Seconds, at least 0, for which the candidate is still asked last."""
        with self._lock:
            return max(0.0, self._until.get(name, 0.0) - self._clock())

    def why(self, name: str) -> Failure | None:
        """The failure for which the candidate is in its cooldown; `None` where it is in none."""
        with self._lock:
            return self._why.get(name) if self._until.get(name, 0.0) > self._clock() else None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Cooldowns":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_cooldowns, (self.max_seconds, self.max_retry_after_seconds)


def _new_cooldowns(max_seconds: float, max_retry_after_seconds: float) -> Cooldowns:
    return Cooldowns(max_seconds=max_seconds, max_retry_after_seconds=max_retry_after_seconds)
