"""Ray Serve: the server as replicas on the machines of a cluster.

    serve run lookahead_router.server.ray:app pool=/shared/pool.yaml max_replicas=8

Every replica is a whole server. What they share, one process keeps (shared.py), which Serve starts anew if
it is lost.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator
from starlette.types import ASGIApp

from lookahead_router.backends.copies import map_weights
from lookahead_router.extras import require
from lookahead_router.live.pool import PoolConfig
from lookahead_router.server.app import make_app
from lookahead_router.server.keys import KeyFile
from lookahead_router.server.service import Service
from lookahead_router.server.settings import Settings
from lookahead_router.server.shared import RemoteCommons, SharedCommons

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

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
    """Number of the reading: deployed with another one, the pool file and the keys are read anew."""

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


def _replica_name() -> str:
    from ray import serve

    return serve.get_replica_context().replica_id.unique_id
