"""A server on a loopback port that sends exactly the bytes that a function gives, at its pace."""

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Raw:
    """What is sent."""

    chunks: Iterable[bytes]
    status: int = 200
    content_type: str = "application/json"


def as_json(record: Any, status: int = 200) -> Raw:
    """A JSON body."""
    return Raw([json.dumps(record).encode()], status)


def as_events(*records: Any) -> Raw:
    """A stream of events; text is sent as it stands."""
    texts = (record if isinstance(record, str) else f"data: {json.dumps(record)}\n\n" for record in records)
    return Raw([text.encode() for text in texts], content_type="text/event-stream")


class RawServer:
    """A server for the length of a `with` block."""

    def __init__(self, script: Callable[[str, dict[str, Any]], Raw]) -> None:
        self.script = script
        """From the path below `/v1` and the body to what is sent."""
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        """Path, body and headers."""
        self.n_sent = 0
        """Bytes that a reader took, or a buffer on the way to it."""
        self.n_gone = 0
        """Readers that went away before the end."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.request_queue_size = 512
        self._server.handle_error = lambda *_: None
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL, which ends in `/v1`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "RawServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(owner: RawServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.removeprefix("/v1")
            owner.requests.append((path, body, dict(self.headers)))
            raw = owner.script(path, body)
            self.send_response(raw.status)
            self.send_header("Content-Type", raw.content_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for chunk in raw.chunks:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    owner.n_sent += len(chunk)
                self.wfile.write(b"0\r\n\r\n")
            except OSError:
                owner.n_gone += 1
                self.close_connection = True

    return Handler
