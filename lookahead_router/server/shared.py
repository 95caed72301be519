"""What replicas share: the process that keeps it, and how the others ask for it.

Any process may be lost at any time, and a call with it: then it is made again, and counts once.
"""

import asyncio
import itertools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from lookahead_router.backends.copies import map_weights
from lookahead_router.errors import LookaheadRouterError
from lookahead_router.server.app import report
from lookahead_router.server.commons import Commons, Note
from lookahead_router.server.figures import Figures
from lookahead_router.server.keys import Key
from lookahead_router.server.metrics import Metrics
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.service import Service

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from lookahead_router.server.ray import Options

logger = logging.getLogger(__name__)
MAX_CALLS = 10_000
"""Calls of which it is remembered that they were worked off."""
NEWS_SECONDS = 20.0
"""The longest wait for news in one call."""
COMMONS_SECONDS = 20.0
"""Time that a request waits for what is shared, while that is started anew."""
RECALL_SECONDS = 3.0
"""Time that a request waits to learn who answered before, if it can be answered without."""
CLOSE_SECONDS = 5.0
"""Time that a replica that ends tries to hand on what was learnt."""
FIGURES_SECONDS = 5.0
"""Time between two reports of a replica's figures."""
NOTE_SECONDS = 1.0
"""Time that an answer waits to be noted."""


class Version(NamedTuple):
    """Version of what was learnt."""

    n_changes: int
    process: str
    """That counted them; one that is started anew counts from what a replica gives back."""


class SharedCommons:
    """The process that keeps what replicas share, and learns."""

    def __init__(self, options: "Options") -> None:
        """Loads a router, to learn with.

        Args:
            options: those of the application.

        Raises:
            ConfigurationError, FileError, CheckpointError, HubError: as `Service` does.
        """
        map_weights()
        settings = options.settings.model_copy(update={"decisions": None, "log_prompts": False})
        self._service = Service(options.pool, settings, router=options.router)
        self._set_up()

    def _set_up(self) -> None:
        self._version, self._changed = Version(0, secrets.token_hex(8)), asyncio.Condition()
        self._learning = asyncio.Lock()
        self._saving: asyncio.Task | None = None
        self._figures = Figures()
        self._calls: OrderedDict[str, asyncio.Future] = OrderedDict()
        """The latest ones by their names, so that one that comes again is not worked off again."""

    async def ask(self, calls: list[tuple[str, str, tuple]]) -> list[tuple[bool, Any]]:
        """What methods of `Commons` give: whether it is a result, and the result or the error.

        Args:
            calls: of each a name of its own, the method and the arguments. They begin in this order.
        """
        self._start_saving()
        return await asyncio.gather(*(asyncio.shield(self._once(*call)) for call in calls))

    def _once(self, call: str, method: str, arguments: tuple) -> asyncio.Future:
        """A call at work or done. A replica asks again where it has no answer, though there may have been one."""
        if call not in self._calls:
            self._calls[call] = asyncio.ensure_future(self._work(method, arguments))
            if len(self._calls) > MAX_CALLS:
                self._calls.popitem(last=False)
        return self._calls[call]

    async def _work(self, method: str, arguments: tuple) -> tuple[bool, Any]:
        try:
            if method == "feedback":
                async with self._learning:
                    result = await self._service.commons.feedback(*arguments)
                    await self._change(1)
            else:
                result = await getattr(self._service.commons, method)(*arguments)
        except (Refusal, LookaheadRouterError) as error:
            return False, error
        except Exception as error:  # nobody else's call is to fail with it, or to be asked again
            report(error, method)
            return False, RuntimeError(f"{type(error).__name__} in {method} of what replicas share")
        return True, result

    async def news(self, version: Version) -> tuple[Version, dict[str, Any]] | None:
        """The profiles, as soon as they are not those of this version; `None` where they still are, after a while."""
        self._start_saving()
        try:
            async with asyncio.timeout(NEWS_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._version != version)
        except TimeoutError:
            return None
        return self._version, self._service.serving.profiles()

    async def restore(self, version: Version, profiles: Mapping[str, Any]) -> None:
        """Takes over what a replica knows, where this process was started anew and knows less."""
        async with self._learning:
            n_more = version.n_changes - self._version.n_changes
            if n_more > 0:
                await self._service.compute(self._service.adopt, profiles)
                await self._change(n_more)

    async def tell_figures(self, replica: str, number: int, text: bytes) -> None:
        """Takes the figures of a replica."""
        self._figures.tell(replica, number, text)

    async def figures(self, replica: str, number: int, text: bytes) -> bytes:
        """Takes the figures of a replica, and gives those of all."""
        self._figures.tell(replica, number, text)
        return await self._service.compute(self._figures.text)

    async def _change(self, n: int) -> None:
        async with self._changed:
            self._version = self._version._replace(n_changes=self._version.n_changes + n)
            self._changed.notify_all()

    def _start_saving(self) -> None:
        if self._saving is None:
            self._saving = asyncio.create_task(self._service.run_in_background())

    def __del__(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None:  # its options were wrong otherwise
            service.save()


class _Call(NamedTuple):
    """A question to the shared commons that waits for its answer."""

    name: str
    method: str
    arguments: tuple
    answered: asyncio.Future


class RemoteCommons(Commons):
    """What replicas share, asked over the cluster.

    One message is under way at a time, with all that has come up meanwhile: whatever the load, the process in the
    middle gets few of them from each replica, and in the order in which they were written.
    """

    keeps_learnt = False

    def __init__(self, handle: "DeploymentHandle") -> None:
        self._handle = handle
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task | None = None
        self._untold: set[asyncio.Task] = set()
        """Told, and not known yet to have arrived."""
        self._version = Version(-1, "")
        self._name, self._numbers = secrets.token_hex(8), itertools.count()

    async def check_rate(self, key: Key) -> None:
        """See `Commons`; nothing to ask where the key has no limit."""
        if key.requests_per_minute is not None:
            await self._ask("check_rate", key)

    async def reserve(self, call_id: str, key: Key, usd: float) -> None:
        """See `Commons`."""
        await self._ask("reserve", call_id, key, usd)

    async def settle(self, call_id: str, key: Key, usd: float) -> None:
        """See `Commons`; perhaps it is counted a little later."""
        await self._tell("settle", call_id, key, usd)

    async def whom(self, *conversations: str, is_needed: bool = False) -> str | None:
        """See `Commons`; where it is not needed, nothing waits long for it."""
        if is_needed:
            return await self._ask("whom", *conversations)
        try:
            return await self._ask("whom", *conversations, seconds=RECALL_SECONDS)
        except Refusal:
            return None

    async def note(self, call_id: str, note: Note) -> None:
        """See `Commons`; perhaps it is kept a little later."""
        await self._tell("note", call_id, note)

    async def feedback(self, call_id: str, whose: str, score: float) -> str:
        """See `Commons`."""
        if self._untold:  # the answer may be among it
            await asyncio.wait(tuple(self._untold))
        call = self._call("feedback", call_id, whose, score)
        delivery = asyncio.create_task(self._deliver([call]))  # by itself: others need not wait for what takes its time
        try:
            return await _answer_to(call, COMMONS_SECONDS)
        finally:
            delivery.cancel()

    def save(self) -> None:
        """Nothing: whoever keeps it writes it."""

    async def catch_up(self, service: Service) -> None:
        """Brings a new replica's profiles up to date."""
        self._version, profiles = await self._handle.news.remote(self._version)
        await service.compute(service.adopt, profiles)

    async def figures(self, metrics: Metrics) -> bytes:
        """See `Commons`: of all replicas."""
        try:
            async with asyncio.timeout(FIGURES_SECONDS):
                return await self._handle.figures.remote(self._name, next(self._numbers), metrics.text())
        except Exception as error:  # of Ray, as many as there are ways to lose a process
            logger.warning("the figures of all replicas cannot be asked for: %s", type(error).__name__)
            raise _away() from None

    async def follow(self, service: Service) -> None:
        """Keeps a replica's profiles up to date and tells its figures, until it is cancelled."""
        await asyncio.gather(self._learn_now_and_then(service), self._tell_figures_now_and_then(service))

    async def _tell_figures_now_and_then(self, service: Service) -> None:
        while True:
            await self._tell_figures(service)
            await asyncio.sleep(FIGURES_SECONDS)

    async def _tell_figures(self, service: Service) -> None:
        with suppress(Exception):  # of a process that is lost; it is told the next time
            async with asyncio.timeout(FIGURES_SECONDS):
                await self._handle.tell_figures.remote(self._name, next(self._numbers), service.metrics.text())

    async def _learn_now_and_then(self, service: Service) -> None:
        """Takes over what others have learnt; a process in the middle that was started anew gets it back."""
        while True:
            before, known = self._version, service.serving.profiles()
            try:
                found = await self._handle.news.remote(before)
                if found is None:
                    continue
                version, profiles = found
                if version.n_changes < before.n_changes:
                    await self._handle.restore.remote(before, known)
                else:
                    await service.compute(service.adopt, profiles)
                    self._version = version
            except Exception as error:  # see `figures`
                logger.warning("what replicas share cannot be asked: %s", type(error).__name__)
                await asyncio.sleep(1.0)

    async def close(self, service: Service) -> None:
        """Hands on what was learnt: where a deployment replaces all processes, the new one knows nothing yet."""
        await self._tell_figures(service)
        if self._version.n_changes > 0:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._handle.restore.remote(self._version, service.serving.profiles())

    async def _tell(self, method: str, *arguments: Any) -> None:
        """Asks, and waits a moment only; what takes longer is asked all the same."""
        asked = asyncio.ensure_future(self._ask(method, *arguments))
        self._untold.add(asked)
        asked.add_done_callback(self._told)
        done, _ = await asyncio.wait((asked,), timeout=NOTE_SECONDS)
        if not done or asked.exception() is not None:
            logger.warning("what replicas share was not told of an answer in time")

    def _told(self, asked: asyncio.Task) -> None:
        self._untold.discard(asked)
        if not asked.cancelled():
            asked.exception()  # looked at, so that nothing complains

    def _call(self, method: str, *arguments: Any) -> _Call:
        answered = asyncio.get_running_loop().create_future()
        return _Call(f"{self._name}-{next(self._numbers)}", method, arguments, answered)

    async def _ask(self, method: str, *arguments: Any, seconds: float | None = None) -> Any:
        call = self._call(method, *arguments)
        self._waiting.append(call)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        return await _answer_to(call, COMMONS_SECONDS if seconds is None else seconds)

    async def _send(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            await self._deliver(calls)

    async def _deliver(self, calls: list[_Call]) -> None:
        """Asks until each call has its answer, or nobody waits for it any more."""
        while calls := [call for call in calls if not call.answered.done()]:
            try:
                results = await self._handle.ask.remote([call[:3] for call in calls])
            except Exception as error:  # see `figures`
                logger.warning("what replicas share cannot be asked: %s", type(error).__name__)
                await asyncio.sleep(0.2)
                continue
            for call, (is_result, result) in zip(calls, results, strict=True):
                if not call.answered.done():
                    (call.answered.set_result if is_result else call.answered.set_exception)(result)


async def _answer_to(call: _Call, seconds: float) -> Any:
    """What a call gives.

    Raises:
        Refusal: the method's own; 503, there was no answer in this time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await call.answered
    except TimeoutError:
        raise _away() from None


def _away() -> Refusal:
    message = "what the replicas share is away"
    return Refusal(503, message, kind="server_error", code="commons_away", retry_after=5.0)
