"""What may be spent: a call is reserved at the most that it may cost before it is made, and settled after."""

import asyncio
import math

from lookahead_router.errors import ConfigurationError

_UNIT = 10**12
"""Trillionths of a dollar, so that sums are exact."""


class Budget:
    """Dollars and calls, of all the runs on one output together.

    The dollars spent and those reserved never exceed the limit together, so neither do the dollars spent, as long as no
    call costs more than was reserved for it.
    """

    def __init__(
        self, usd: float | None = None, calls: int | None = None, *, spent_usd: float = 0.0, n_calls: int = 0
    ) -> None:
        """Starts from what earlier runs spent.

        Args:
            usd: limit in US dollars, >= 0; none when absent.
            calls: limit in calls, >= 0, every try counting; none when absent.
            spent_usd: dollars spent before.
            n_calls: calls made before.

        Raises:
            ConfigurationError: a limit out of range.
        """
        if usd is not None and not 0 <= usd < math.inf:
            raise ConfigurationError(f"a budget in dollars is at least 0, got {usd}")
        if calls is not None and (calls != int(calls) or calls < 0):
            raise ConfigurationError(f"a budget in calls is a whole number, at least 0, got {calls}")
        self.calls, self.n_calls = calls, n_calls
        self._limit = None if usd is None else round(usd * _UNIT)
        self._spent, self._reserved = round(spent_usd * _UNIT), 0
        self._n_open = 0
        self._waiting: list[asyncio.Future] = []

    @property
    def spent_usd(self) -> float:
        """Dollars of the calls that have ended."""
        return self._spent / _UNIT

    @property
    def has_dollars(self) -> bool:
        """Whether dollars are limited."""
        return self._limit is not None

    async def reserve(self, usd: float) -> bool:
        """Reserves a call that costs at most so much; waits for calls under way where these may leave enough.

        Returns:
            Whether it may be made; where not, it never may.
        """
        needed = math.ceil(usd * _UNIT)
        while self.calls is None or self.n_calls < self.calls:
            if self._limit is None or self._spent + self._reserved + needed <= self._limit:
                self._reserved += needed
                self._n_open += 1
                self.n_calls += 1
                return True
            if not self._n_open:
                return False
            settled = asyncio.get_running_loop().create_future()
            self._waiting.append(settled)
            await settled
        return False

    def settle(self, reserved_usd: float, usd: float) -> None:
        """Puts what a call did cost in the place of what was reserved for it."""
        self._reserved -= math.ceil(reserved_usd * _UNIT)
        self._spent += round(usd * _UNIT)
        self._n_open -= 1
        waiting, self._waiting = self._waiting, []
        for settled in waiting:
            if not settled.done():
                settled.set_result(None)
