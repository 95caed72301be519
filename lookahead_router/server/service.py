"""What one server holds: the pool at work, its client, its limits, and what it tells of itself."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookahead_router.errors import ConfigurationError, LookaheadRouterError
from lookahead_router.live.pool import check_prices
from lookahead_router.predictors.profiles import Profile
from lookahead_router.server.commons import Commons
from lookahead_router.server.decisions import DecisionLog
from lookahead_router.server.gate import Gate
from lookahead_router.server.keys import Key, KeyFile, Keys
from lookahead_router.server.metrics import Metrics
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.serving import Memory, Serving
from lookahead_router.server.settings import Settings
from lookahead_router.server.upstream import Upstream
from lookahead_router.threads import ProcessLock, compute_threads

logger = logging.getLogger(__name__)
SAVE_SECONDS = 15.0


@dataclass
class Visit:
    """One HTTP request on its way through the server."""

    endpoint: str
    stack: AsyncExitStack
    """Whatever the request holds; given back when it is over, however that comes about."""
    started: float = field(default_factory=time.perf_counter)
    status: int = 499
    """Status of the response; 499 where the client was gone before there was one."""
    first_seconds: float | None = None
    """Time until the answer began."""
    key: Key | None = None
    is_reported: bool = False
    """Whether its error is in the log already."""
    spent_usd: float = 0.0
    """What its calls did cost."""
    decision: dict[str, Any] | None = None
    """Decision on a request that was routed; what the log gets."""


class Service:
    """The state behind the endpoints."""

    def __init__(
        self, pool: Path, settings: Settings, *, router: str | None = None, commons: Commons | None = None
    ) -> None:
        """Loads everything.

        Args:
            pool: the pool file.
            settings: what the operator sets.
            router: folder or Hub id of a predictor, in place of the pool file's.
            commons: what the replicas of a server share; a server of one process has its own.

        Raises:
            ConfigurationError: the pool file, the keys, or a candidate without a price where a key has a budget.
            FileError: a log or a folder that cannot be written.
            CheckpointError, HubError: no router at its location.
        """
        self.pool_path, self.settings, self._location = pool, settings, router
        self.memory = Memory()
        self.keys: Keys | None = self._read_keys()
        self.serving = self._read_pool(None)
        self._check_prices(self.serving, self.keys)
        self.gate = Gate(settings.max_concurrency, settings.max_queue, settings.queue_seconds)
        self.metrics = Metrics(self.gate)
        self.commons = Commons(settings, self.learn) if commons is None else commons
        self.upstream = Upstream()
        self.log: DecisionLog | None = None
        if settings.decisions is not None:
            self.log = DecisionLog(
                settings.decisions,
                max_bytes=settings.decisions_max_bytes,
                kept=settings.decisions_kept,
                lost=self.metrics.lost.inc,
            )
        self.serving.router.route("the first prediction takes longer than the others")
        self.is_draining = False
        self.semaphores: dict[tuple[str, int], asyncio.Semaphore] = {}
        self.call_seconds: dict[str, float] = {}
        """Running means of what a candidate took, by name."""
        self._has_learnt = False
        self._learning = ProcessLock()

    async def run_in_background(self) -> None:
        """Writes what changed, every now and then, and learns what others have learnt, until it is cancelled."""
        await asyncio.gather(self._save_now_and_then(), self.commons.follow(self))

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await asyncio.get_running_loop().run_in_executor(None, self.save)

    def save(self) -> None:
        """Writes what keys have spent, and what was learnt."""
        try:
            self.commons.save()
            with self._learning:
                if self._has_learnt and self.settings.learnt is not None and self.commons.keeps_learnt:
                    self.serving.dispatcher.base.save(self.settings.learnt)
                    self._has_learnt = False
        except (LookaheadRouterError, OSError) as error:
            logger.error("what the server knows cannot be written: %s", error)

    async def close(self) -> None:
        """Ends everything, when no request is under way."""
        await self.upstream.close()
        await self.commons.close(self)
        self.save()
        if self.log is not None:
            self.log.close()

    def reload(self) -> None:
        """Reads the pool file and the keys anew; requests under way go on as they began.

        Where they cannot be used, everything stays as it was. Computes.
        """
        try:
            with self._learning, self.serving.dispatcher.learning():  # feedback that comes meanwhile waits
                keys, serving = self._read_keys(), self._read_pool(self.serving)
                self._check_prices(serving, keys)
                self.keys, self.serving = keys, serving
        except LookaheadRouterError as error:
            self.metrics.reloads.labels("failed").inc()
            logger.error("the pool file was not read anew, the former one stays: %s", error)
        else:
            self.metrics.reloads.labels("done").inc()
            logger.info("read %s anew: %s", self.pool_path, ", ".join(serving.router.pool.names))

    async def compute(self, function: Any, *arguments: Any) -> Any:
        """Calls what computes, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(compute_threads(), function, *arguments)

    async def learn(self, text: str, candidate: str, score: float) -> None:
        """Learns from one scored answer.

        Raises:
            Refusal: 409, the candidate has left the pool.
        """
        if candidate not in self.serving.dispatcher.candidates:
            raise Refusal(409, f"{candidate!r} has left the pool", code="candidate_left")
        await self.compute(self._observe, text, candidate, score)

    def adopt(self, profiles: Mapping[str, Profile]) -> None:
        """Takes over profiles that were learnt elsewhere, of candidates that are here. Computes."""
        with self._learning:
            self.serving.adopt(profiles)
            self._has_learnt = True

    def _observe(self, text: str, candidate: str, score: float) -> None:
        # Whoever reads the pool file anew, or writes what was learnt, does so before or after.
        with self._learning, self.serving.dispatcher.learning():
            self.serving.dispatcher.observe(text, candidate, score)
            self._has_learnt = True

    def place_at(self, name: str, max_concurrency: int) -> asyncio.Semaphore:
        """Places for calls of a candidate."""
        return self.semaphores.setdefault((name, max_concurrency), asyncio.Semaphore(max_concurrency))

    def took(self, name: str, seconds: float) -> None:
        """Notes how long a candidate's answer took."""
        before = self.call_seconds.get(name, seconds)
        self.call_seconds[name] = 0.9 * before + 0.1 * seconds
        self.metrics.call_seconds.labels(name).observe(seconds)

    def finish(self, visit: Visit) -> None:
        """Counts and notes a request that is over."""
        seconds = time.perf_counter() - visit.started
        self.metrics.requests.labels(visit.endpoint, str(visit.status)).inc()
        self.metrics.seconds.labels(visit.endpoint).observe(seconds)
        if visit.first_seconds is not None and visit.decision is not None:
            self.metrics.first_seconds.labels(visit.endpoint).observe(visit.first_seconds)
        if visit.decision is None:
            return
        visit.decision |= {"status": visit.status, "seconds": round(seconds, 6)}
        logger.info(
            "%s %s %s %s %.3f s",
            visit.endpoint,
            visit.status,
            visit.decision["id"],
            visit.decision.get("candidate"),
            seconds,
        )
        if self.log is not None:
            self.log.add(visit.decision)

    def _read_pool(self, before: Serving | None) -> Serving:
        settings = self.settings
        return Serving.load(
            self.pool_path,
            self.memory,
            router=self._location,
            learnt=settings.learnt,
            sticky=settings.sticky,
            n_threads=settings.threads,
            before=before,
        )

    def _read_keys(self) -> Keys | None:
        if self.settings.keys is None:
            return None
        keys = KeyFile.load(self.settings.keys).keys
        if not keys:
            raise ConfigurationError(f"{self.settings.keys} holds no key; make one with --new-key NAME")
        return Keys(keys)

    @staticmethod
    def _check_prices(serving: Serving, keys: Keys | None) -> None:
        if keys is not None and keys.has_budget:
            check_prices(serving.router.pool, "a key has a budget")
