"""Ray Serve: the server as replicas on the machines of a cluster.

    serve run lookahead_router.server.ray:app pool=/shared/pool.yaml max_replicas=8

Every replica is a whole server. What they share, one process keeps, which Serve starts anew where it is lost.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator
from starlette.types import ASGIApp

from lookahead_router.backends.copies import map_weights
from lookahead_router.errors import LookaheadRouterError
from lookahead_router.extras import require
from lookahead_router.live.pool import PoolConfig
from lookahead_router.server.app import make_app
from lookahead_router.server.commons import Commons, Note
from lookahead_router.server.figures import Figures
from lookahead_router.server.keys import Key, KeyFile
from lookahead_router.server.metrics import Metrics
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.service import Service
from lookahead_router.server.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

logger = logging.getLogger(__name__)
NEWS_SECONDS = 20.0
"""The longest wait for news in one call."""
COMMONS_SECONDS = 20.0
"""For which a request waits for what is shared, while that is started anew."""
CLOSE_SECONDS = 5.0
"""For which a replica that ends tries to hand on what was learnt."""
FIGURES_SECONDS = 5.0
"""Between two times that a replica tells its figures."""
NOTE_SECONDS = 1.0
"""For which an answer waits until it is noted."""

_PATHS = ("pool", "keys", "decisions", "learnt")


class Options(Settings):
    """What an operator sets of the server on a cluster; where it listens is Serve's to say."""

    pool: Path
    """The pool file. This and all other files stand where every machine finds them."""
    router: str | None = None
    """Folder or Hub id of a predictor, in place of the pool file's."""
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    target_requests: float = Field(default=20.0, gt=0)
    """Requests at work and waiting, for each replica, that scaling aims at. Most of their time they wait for a
    candidate; what a request computes is some 7 ms of one core."""
    cores: float = Field(default=1.0, gt=0)
    """That Ray sets aside for a replica."""
    reading: int = 0
    """Of the pool file and the keys: deployed with another number, they are read anew."""

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"at most {self.max_replicas} replicas are fewer than at least {self.min_replicas}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _check_address(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and {"host", "port"} & given.keys():
            raise ValueError("host and port are Serve's: set http_options in its config file")
        return given

    @property
    def settings(self) -> Settings:
        """Those of one replica."""
        return Settings(**{name: getattr(self, name) for name in self.model_fields_set & set(Settings.model_fields)})


def app(args: Options) -> "Application":
    """The application, for `serve run` and the config files of Ray Serve.

    Deployed again with another `reading`, Serve replaces one replica after the other and drops no request.

    Raises:
        ConfigurationError: an option, the pool file or the keys, before anything is started.
        MissingDependencyError: Ray Serve is not installed.
    """
    serve = require("ray.serve", "ray")
    paths = {name: path.resolve() for name in _PATHS if (path := getattr(args, name)) is not None}
    args = args.model_copy(update=paths)  # replicas have other working folders
    PoolConfig.load(args.pool)
    if args.keys is not None:
        KeyFile.load(args.keys)
    quiet = {"enable_access_log": False}
    shared = serve.deployment(
        SharedCommons,
        name="Commons",
        num_replicas=1,
        max_ongoing_requests=10_000,
        ray_actor_options={"num_cpus": 0},
        logging_config=quiet,
    ).bind(args)
    scaling = {name: getattr(args, name) for name in ("min_replicas", "max_replicas")}
    replicas = serve.deployment(
        serve.ingress()(Replica),
        name="Router",
        autoscaling_config={**scaling, "target_ongoing_requests": args.target_requests},
        max_ongoing_requests=args.max_concurrency + args.max_queue,
        graceful_shutdown_timeout_s=args.drain_seconds,
        ray_actor_options={"num_cpus": args.cores},
        logging_config=quiet,
    )
    return replicas.bind(args, shared)


class SharedCommons:
    """The process that keeps what replicas share, and learns."""

    def __init__(self, options: Options) -> None:
        map_weights()
        settings = options.settings.model_copy(update={"decisions": None, "log_prompts": False})
        self._service = Service(options.pool, settings, router=options.router)
        self._version, self._changed = 0, asyncio.Condition()
        self._saving: asyncio.Task | None = None
        self._figures = Figures()

    async def ask(self, calls: list[tuple[str, tuple]]) -> list[tuple[bool, Any]]:
        """What methods of `Commons` give, by their names: whether it is a result, and the result or the error."""
        self._start_saving()
        return [await self._one(name, arguments) for name, arguments in calls]

    async def news(self, version: int) -> tuple[int, dict[str, Any]] | None:
        """The profiles, as soon as they are not those of this version; `None` where they still are, after a while."""
        self._start_saving()
        try:
            async with asyncio.timeout(NEWS_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._version != version)
        except TimeoutError:
            return None
        return self._version, self._service.serving.profiles()

    async def restore(self, version: int, profiles: Mapping[str, Any]) -> None:
        """Takes over what a replica knows, where this process was started anew and knows less."""
        if version > self._version:
            await self._service.compute(self._service.adopt, profiles)
            await self._changes_to(version)

    async def tell_figures(self, replica: str, number: int, text: bytes) -> None:
        """Takes the figures of a replica."""
        self._figures.tell(replica, number, text)

    async def figures(self, replica: str, number: int, text: bytes) -> bytes:
        """Takes the figures of a replica, and gives those of all."""
        self._figures.tell(replica, number, text)
        return await self._service.compute(self._figures.text)

    async def _one(self, name: str, arguments: tuple) -> tuple[bool, Any]:
        try:
            result = await getattr(self._service.commons, name)(*arguments)
        except (Refusal, LookaheadRouterError) as error:
            return False, error
        if name == "feedback":
            await self._changes_to(self._version + 1)
        return True, result

    async def _changes_to(self, version: int) -> None:
        async with self._changed:
            self._version = version
            self._changed.notify_all()

    def _start_saving(self) -> None:
        if self._saving is None:
            self._saving = asyncio.create_task(self._service.run_in_background())

    def __del__(self) -> None:
        service = getattr(self, "_service", None)
        if service is not None:  # its options were wrong otherwise
            service.save()


class RemoteCommons(Commons):
    """What replicas share, asked over the cluster: one call at a time, with all that has come up meanwhile."""

    keeps_learnt = False

    def __init__(self, handle: "DeploymentHandle") -> None:
        self._handle = handle
        self._waiting: list[tuple[str, tuple, asyncio.Future]] = []
        self._sender: asyncio.Task | None = None
        self._version = -1
        self._name, self._n_told = secrets.token_hex(8), itertools.count()

    async def check_rate(self, key: Key) -> None:
        """As there; nothing to ask where the key has no limit."""
        if key.requests_per_minute is not None:
            await self._ask("check_rate", key)

    async def reserve(self, call_id: str, key: Key, usd: float) -> None:
        """As there."""
        await self._ask("reserve", call_id, key, usd)

    async def settle(self, call_id: str, key: Key, usd: float) -> None:
        """As there, though perhaps a little later."""
        await self._tell("settle", call_id, key, usd)

    async def whom(self, *conversations: str) -> str | None:
        """As there."""
        return await self._ask("whom", *conversations)

    async def note(self, call_id: str, note: Note) -> None:
        """As there, though perhaps a little later."""
        await self._tell("note", call_id, note)

    async def feedback(self, call_id: str, whose: str, score: float) -> str:
        """As there."""
        return await self._ask("feedback", call_id, whose, score)

    def save(self) -> None:
        """Nothing: whoever keeps it writes it."""

    async def catch_up(self, service: Service) -> None:
        """Brings a new replica's profiles up to date."""
        self._version, profiles = await self._handle.news.remote(-1)
        await service.compute(service.adopt, profiles)

    async def figures(self, metrics: Metrics) -> bytes:
        """As there: of all replicas."""
        try:
            async with asyncio.timeout(FIGURES_SECONDS):
                return await self._handle.figures.remote(self._name, next(self._n_told), metrics.text())
        except Exception as error:  # see `_learn_now_and_then`
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
                await self._handle.tell_figures.remote(self._name, next(self._n_told), service.metrics.text())

    async def _learn_now_and_then(self, service: Service) -> None:
        """Takes over what others have learnt; a process in the middle that was started anew gets it back."""
        while True:
            before, known = self._version, service.serving.profiles()
            try:
                found = await self._handle.news.remote(before)
                if found is not None and found[0] < before:
                    await self._handle.restore.remote(before, known)
                elif found is not None:
                    await service.compute(service.adopt, found[1])
                    self._version = found[0]
            except Exception as error:  # of Ray, as many as there are ways to lose a process
                logger.warning("what replicas share cannot be asked: %s", type(error).__name__)
                await asyncio.sleep(1.0)

    async def close(self, service: Service) -> None:
        """Hands on what was learnt: where a deployment replaces all processes, the new one knows nothing yet."""
        await self._tell_figures(service)
        if self._version > 0:
            with suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._handle.restore.remote(self._version, service.serving.profiles())

    async def _tell(self, name: str, *arguments: Any) -> None:
        """Asks, and waits a moment only; what takes longer is asked all the same."""
        asked = asyncio.ensure_future(self._ask(name, *arguments))
        done, _ = await asyncio.wait((asked,), timeout=NOTE_SECONDS)
        if not done or asked.exception() is not None:
            logger.warning("what replicas share was not told of an answer in time")
            asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())

    async def _ask(self, name: str, *arguments: Any) -> Any:
        answered = asyncio.get_running_loop().create_future()
        self._waiting.append((name, arguments, answered))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        try:
            async with asyncio.timeout(COMMONS_SECONDS):
                return await answered
        except TimeoutError:
            raise _away() from None

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            batch = [each for each in batch if not each[2].done()]
            try:
                results = await self._handle.ask.remote([(name, arguments) for name, arguments, _ in batch])
            except Exception as error:  # see `follow`
                logger.warning("what replicas share cannot be asked: %s", type(error).__name__)
                self._waiting = batch + self._waiting
                await asyncio.sleep(0.2)
                continue
            for (_, _, answered), (is_result, result) in zip(batch, results, strict=True):
                if not answered.done():
                    (answered.set_result if is_result else answered.set_exception)(result)


class Replica:
    """A whole server, which Serve's proxies hand their requests to."""

    def __init__(self, options: Options, shared: "DeploymentHandle") -> None:
        map_weights()
        settings = options.settings
        if settings.decisions is not None:
            named = settings.decisions.with_stem(f"{settings.decisions.stem}-{_replica_name()}")
            settings = settings.model_copy(update={"decisions": named})
        self._commons = RemoteCommons(shared)
        self._service = Service(options.pool, settings, router=options.router, commons=self._commons)

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application, when the profiles are up to date."""
        await self._commons.catch_up(self._service)
        return make_app(self._service)


def _away() -> Refusal:
    message = "what the replicas share is away"
    return Refusal(503, message, kind="server_error", code="commons_away", retry_after=5.0)


def _replica_name() -> str:
    from ray import serve

    return serve.get_replica_context().replica_id.unique_id
