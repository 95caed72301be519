"""The process of a server: its socket, its signals, and its log."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lookahead_router.errors import ConfigurationError
from lookahead_router.escaping import to_terminal
from lookahead_router.server.app import make_app
from lookahead_router.server.service import Service

logger = logging.getLogger(__name__)
MAX_HEAD_BYTES = 65_536


class Gathered:
    """A transport that sends at one time what is written in one step: a head with its body, in one packet."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Takes what is to be sent."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Ends the connection when everything is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which does not wait for ever for the head of a request, nor for one without end."""

    header_seconds = 10.0

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(Gathered(transport, self.loop))
        self._head_bytes = 0
        self._clock = self.loop.call_later(self.header_seconds, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Counts what comes before a request's body."""
        is_between = self.cycle is None or self.cycle.response_complete
        if is_between and self._clock is None:  # the next request of a connection
            self._head_bytes = 0
            self._clock = self.loop.call_later(self.header_seconds, self._give_up)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._clock is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._give_up()

    def on_headers_complete(self) -> None:
        """Stops the clock."""
        self._stop_clock()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _stop_clock(self) -> None:
        self._head_bytes = 0
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up(self) -> None:
        self._clock = None
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn's server, which says that it is ending, and reads its files anew on SIGHUP."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: Any = None) -> None:
        """Listens, and says where."""
        await super().startup(sockets)
        if not self.started:
            return
        gc.collect()
        gc.freeze()  # what was loaded stays, so that the collector need not look through it again and again
        if hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, self._reload))
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"serving {len(self._service.serving.models())} models at http://{shown}:{port}/v1", flush=True)
        if self._service.settings.log_prompts:
            logger.warning("PROMPTS ARE LOGGED: their text is written to %s", self._service.settings.decisions)

    def _reload(self) -> None:
        gc.unfreeze()  # what was loaded before may go
        self._service.reload()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes no more work; what is under way has its time."""
        self._service.is_draining = True
        self._service.metrics.is_draining.set(1)
        super().handle_exit(sig, frame)


class _Lines(logging.Formatter):
    """Lines in which a name does nothing to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return to_terminal(super().format(record))


def _allow_connections() -> None:
    """Lets the process have as many open connections as it may; the usual limit is that of a shell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _check_address(host: str, port: int) -> None:
    """Raises `ConfigurationError` unless the address can be listened at."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        if os.name == "posix":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigurationError(
                f"cannot listen at {host}:{port} ({why}); choose another --port or --host"
            ) from error


def run(service: Service, *, log_level: str = "info") -> None:
    """Serves until it is told to end.

    Raises:
        ConfigurationError: the address is taken, or not this machine's.
    """
    settings = service.settings
    _check_address(settings.host, settings.port)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=log_level.upper(), handlers=[handler])
    _allow_connections()
    for name in ("aiohttp", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    config = uvicorn.Config(
        make_app(service),
        host=settings.host,
        port=settings.port,
        http=type("TimedProtocol", (Protocol,), {"header_seconds": settings.header_seconds}),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        backlog=2048,
    )
    Server(config, service).run()
