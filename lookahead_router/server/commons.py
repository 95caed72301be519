"""What all replicas of a server share: what keys have spent, who answered which conversation, and what waits for
feedback."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from lookahead_router.dispatch import RecentThreads
from lookahead_router.server.keys import Key, Rates, Spending
from lookahead_router.server.metrics import Metrics
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.settings import Settings

MAX_UNSCORED_CHARS = 20_000_000
"""Characters of the prompts that wait in memory for feedback."""
MAX_CONVERSATIONS = 30_000
"""Conversations of which it is remembered who answered last."""


@dataclass(frozen=True)
class Note:
    """An answer, as later requests may have to know of it."""

    candidate: str
    text: str
    """The prompt, for feedback."""
    whose: str = ""
    """Name of the client's key; what is one client's tells another one nothing."""
    conversations: tuple[str, ...] = ()
    """What the answer belongs to."""


class Unscored:
    """The latest answers, until somebody says how good they were. In memory only, since prompts are among it."""

    def __init__(self, max_count: int, max_chars: int = MAX_UNSCORED_CHARS) -> None:
        self._max_count, self._max_chars = max_count, max_chars
        self._kept: OrderedDict[str, Note] = OrderedDict()
        self._n_chars = 0

    def add(self, decision_id: str, note: Note) -> None:
        """Keeps an answer, and forgets the oldest ones where there are too many."""
        if not note.text or not self._max_count or len(note.text) > self._max_chars or decision_id in self._kept:
            return
        self._kept[decision_id] = note
        self._n_chars += len(note.text)
        while len(self._kept) > self._max_count or self._n_chars > self._max_chars:
            self._n_chars -= len(self._kept.popitem(last=False)[1].text)

    def take(self, decision_id: str, whose: str) -> Note:
        """What is known of a decision, for once.

        Raises:
            Refusal: 404, none of this key's decisions, too old, or scored before.
        """
        note = self._kept.get(decision_id)
        if note is None or note.whose != whose:
            raise Refusal(
                404,
                "no decision of this id waits for feedback: it is unknown, too old, or has its score already",
                code="decision_not_found",
                param="decision_id",
            )
        del self._kept[decision_id]
        self._n_chars -= len(note.text)
        return note


class Commons:
    """What a server of one process keeps for itself.

    Replicas on a cluster have one such object between them, in a process of its own; what each of them holds in its
    place (`RemoteCommons`) asks that one.
    """

    keeps_learnt = True
    """Whether this process writes down what was learnt."""

    def __init__(self, settings: Settings, learn: Callable[[str, str, float], Awaitable[None]]) -> None:
        """Reads what keys have spent.

        Args:
            settings: those of the server.
            learn: works in how good a candidate's answer to a prompt was.

        Raises:
            ConfigurationError: the file of what keys have spent is another one.
            FileError: it cannot be written.
        """
        self._spending = Spending(None if settings.keys is None else _spending_path(settings.keys))
        self._rates = Rates()
        self._unscored = Unscored(settings.feedback_prompts)
        self._answerers = RecentThreads(MAX_CONVERSATIONS)
        self._learn = learn

    async def check_rate(self, key: Key) -> None:
        """Counts a request.

        Raises:
            Refusal: 429, too many in the last minute.
        """
        self._rates.check(key, time.monotonic())

    async def reserve(self, call_id: str, key: Key, usd: float) -> None:
        """Counts dollars as spent while a call is under way.

        Raises:
            Refusal: 429, the key's budget does not allow them.
        """
        self._spending.reserve(call_id, key, usd)

    async def settle(self, call_id: str, key: Key, usd: float) -> None:
        """Counts the dollars that a call did cost, in place of those reserved."""
        self._spending.settle(call_id, key, usd)

    async def whom(self, *conversations: str, is_needed: bool = False) -> str | None:
        """The candidate that answered the first of these conversations of which that is known.

        Args:
            conversations: what they are called.
            is_needed: whether an error is better than no name where it cannot be found out.

        Raises:
            Refusal: 503, it is needed and cannot be found out.
        """
        return next(filter(None, map(self._answerers.get, conversations)), None)

    async def note(self, call_id: str, note: Note) -> None:
        """Keeps who answered what."""
        for conversation in note.conversations:
            self._answerers[conversation] = note.candidate
        self._unscored.add(call_id, note)

    async def feedback(self, call_id: str, whose: str, score: float) -> str:
        """Learns how good the answer of a call was; the candidate that gave it.

        Raises:
            Refusal: 404, no such decision waits for it; 409, its candidate has left the pool.
        """
        note = self._unscored.take(call_id, whose)
        await self._learn(note.text, note.candidate, score)
        return note.candidate

    async def figures(self, metrics: Metrics) -> bytes:
        """The figures of all processes, as Prometheus reads them; here those of this one.

        Raises:
            Refusal: 503, they cannot be asked for.
        """
        return metrics.text()

    async def follow(self, service: object) -> None:
        """Has a service learn what others have learnt, until it is cancelled; here there are no others."""

    async def close(self, service: object) -> None:
        """Hands on what a service that ends has learnt; here there is nobody to hand it to."""

    def save(self) -> None:
        """Writes what keys have spent.

        Raises:
            FileError: it cannot be written.
        """
        self._spending.save()


def _spending_path(keys: Path) -> Path:
    return keys.with_name(f"{keys.stem}.spent.json")
