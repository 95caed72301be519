"""The log of calls beside an output: what was begun, at which cost at most, and what failed.

A line says that a call is about to be made before it is made, and another that it failed; what came of it stands in
the output. A call that was begun and of which neither says more was under way when a run was killed. Nobody knows
whether it was paid, so that its highest cost counts as spent.

The log survives the end of the process, whatever ends it. A loss of power may take the last moments of it, which cost
the budget what was under way then; answers are safe from that too.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError
from lookahead_router.live.journal import Journal

Call = tuple[str, str]
"""A task and the candidate that it is for."""


@dataclass(frozen=True)
class Spent:
    """What earlier runs on an output spent."""

    usd: float = 0.0
    uncertain_usd: float = 0.0
    """How much of it nobody is sure of: calls that were under way when a run was killed, or that broke off."""
    n_calls: int = 0
    n_unfinished: int = 0
    """Calls that were under way when a run was killed."""


class CallLog(Journal):
    """The log of one output, or one in memory."""

    def __init__(self, output: Path | None) -> None:
        """Opens the log beside an output.

        Raises:
            DataError: the file is no log.
        """
        super().__init__(None if output is None else output.with_name(f"{output.name}.calls"), is_synced=False)
        self._failed: Counter[Call] = Counter()
        self._begun: Counter[Call] = Counter()
        self._most_usd: dict[Call, float] = {}
        self._failed_usd = 0.0
        self._settings: dict[str, str] = {}
        self._salt = ""
        for record in self.records:
            self._read(record)

    async def start(self, settings: Mapping[str, Any], output: Path | None) -> None:
        """Notes with which settings each candidate is asked.

        Raises:
            ConfigurationError: a candidate was asked with other ones before.
        """
        prints = {name: hashlib.sha256(repr(value).encode()).hexdigest()[:16] for name, value in settings.items()}
        changed = [name for name, value in prints.items() if self._settings.get(name, value) != value]
        if changed:
            raise ConfigurationError(
                f"{output} holds answers of {', '.join(changed)} with another model, address, system prompt or "
                "parameters; choose another output, or another name for the candidate"
            )
        if not self._salt:
            await self._note({"output": secrets.token_hex(8)})
        for name, value in prints.items():
            if name not in self._settings:
                await self._note({"candidate": name, "settings": value})

    def spent(self, results: Mapping[Call, float | None]) -> Spent:
        """What was spent so far.

        Args:
            results: dollars of what stands in the output, by call.
        """
        unfinished = self._begun - self._failed
        for call in results:
            unfinished[call] -= 1
        lost = {call: count for call, count in unfinished.items() if count > 0}
        lost_usd = sum(self._most_usd[call] * count for call, count in lost.items())
        return Spent(
            sum(usd or 0.0 for usd in results.values()) + self._failed_usd + lost_usd,
            self._failed_usd + lost_usd,
            max(self._begun.total(), len(results)),
            sum(lost.values()),
        )

    def key(self, call: Call) -> str:
        """An idempotency key: the same when a call is made again of which nobody knows how it ended."""
        text = "\n".join((self._salt, *call, str(self._failed[call])))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    async def begin(self, call: Call, most_usd: float) -> None:
        """Notes that a call is about to be made, and what it costs at most."""
        await self._note({"task": call[0], "candidate": call[1], "most_usd": most_usd})

    async def fail(self, call: Call, failure: str, usd: float) -> None:
        """Notes that a call failed, and what it may have cost."""
        await self._note({"task": call[0], "candidate": call[1], "failure": failure, "usd": usd})

    async def _note(self, record: dict[str, Any]) -> None:
        await self.append(record)
        self._read(record)

    def _read(self, record: Mapping[str, Any]) -> None:
        if "output" in record:
            self._salt = str(record["output"])
        elif "settings" in record:
            self._settings[str(record["candidate"])] = str(record["settings"])
        elif "task" in record:
            call = (str(record["task"]), str(record.get("candidate")))
            if "failure" in record:
                self._failed[call] += 1
                self._failed_usd += float(record["usd"])
            else:
                self._begun[call] += 1
                self._most_usd[call] = max(self._most_usd.get(call, 0.0), float(record["most_usd"]))
