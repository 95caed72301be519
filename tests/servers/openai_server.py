"""An OpenAI-compatible chat server on a loopback port, on the standard library.

It answers `POST /v1/chat/completions`, streamed or not, with tool calls and token usage. What a model
says is scripted by a function of the request; the default repeats the last user message under the
model's name. Every request is recorded. Failures come on demand: errors with and without Retry-After, slow
answers, bodies that are cut or malformed, refusals.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What a model answers."""

    content: str = ""
    tool_calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Names and arguments."""
    status: int = 200
    """Another status sends an error in OpenAI's format."""
    retry_after_seconds: float | None = None
    delay_seconds: float = 0.0
    breaks_after: int | None = None
    """Streaming: the connection is closed after this many chunks of content; else after so many bytes of the body."""
    body: str | None = None
    """What is sent in place of the JSON, such as a gateway's page."""
    finish_reason: str | None = None
    """`length`, `content_filter`, ...; as the content has it when absent."""
    refusal: str | None = None
    usage: dict[str, int] | None = None
    """Token counts in place of a word a token; an empty one is left out."""
    logprob: float | None = None
    """Of every token, for those who ask for log-probabilities."""


Script = Callable[[dict[str, Any]], Reply]


def repeat_last_message(request: dict[str, Any]) -> Reply:
    """The model's name and the text of the last user message."""
    texts = [text_of(m) for m in request["messages"] if m["role"] == "user"]
    return Reply(f"{request['model']}: {texts[-1] if texts else ''}")


def text_of(message: dict[str, Any]) -> str:
    """The text of a message whose content is a string or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


class OpenAIServer:
    """A server for the length of a `with` block.

    Example:
        with OpenAIServer() as server:
            ChatOpenAI(model="small", base_url=server.url, api_key="test")
    """

    def __init__(self, script: Script = repeat_last_message) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        """Bodies received, oldest first, with the headers `Authorization` and `Idempotency-Key` under
        `_authorization` and `_idempotency_key`."""
        self.answered: list[dict[str, Any]] = []
        """Those of them that a whole answer of status 200 was sent to, with its `_usage`."""
        self.n_active = 0
        """Requests that are being answered."""
        self.most_active = 0
        """The most that ever were at one time."""
        self._lock = threading.Lock()
        self._server = _QuietServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """Base URL, which ends in `/v1`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def models_called(self) -> list[str]:
        """The model of each request, oldest first."""
        return [request["model"] for request in self.requests]

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Counts a request as being answered."""
        with self._lock:
            self.n_active += 1
            self.most_active = max(self.most_active, self.n_active)
        try:
            yield
        finally:
            with self._lock:
                self.n_active -= 1

    def __enter__(self) -> "OpenAIServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # hundreds of clients at once must not be refused
    owner: OpenAIServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of some tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _QuietServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def do_POST(self) -> None:
        """Answers one completion request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        owner = self.server.owner
        names = {"_authorization": "Authorization", "_idempotency_key": "Idempotency-Key"}
        record = {**body, **{name: self.headers.get(header) for name, header in names.items()}}
        with owner.counted():
            owner.requests.append(record)
            if self.path != "/v1/chat/completions":
                self._send_error(Reply(f"no such path {self.path}", status=404))
                return
            reply = owner.script(body)
            time.sleep(reply.delay_seconds)
            if reply.status != 200:
                self._send_error(reply)
            elif body.get("stream"):
                self._send_stream(body, reply)
            else:
                content = json.dumps(_completion(body, reply)) if reply.body is None else reply.body
                self._send(200, content.encode(), breaks_after=reply.breaks_after)
            if reply.status == 200 and reply.body is None and reply.breaks_after is None:
                owner.answered.append({**record, "_usage": _usage(body, reply)})

    def _send_error(self, reply: Reply) -> None:
        error = {"message": reply.content or "scripted error", "type": "scripted", "code": str(reply.status)}
        headers = {} if reply.retry_after_seconds is None else {"Retry-After": str(reply.retry_after_seconds)}
        self._send_json(reply.status, {"error": error}, headers)

    def _send_json(self, status: int, record: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(record).encode(), headers)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        breaks_after: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:breaks_after])
        if breaks_after is not None:
            self.close_connection = True

    def _send_stream(self, body: dict[str, Any], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for n, chunk in enumerate(_chunks(body, reply)):
            if reply.breaks_after is not None and n > reply.breaks_after:
                return  # without the empty chunk: the client sees a stream that was cut off
            self._send_event(json.dumps(chunk))
        self._send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.flush()


def _usage(body: dict[str, Any], reply: Reply) -> dict[str, int]:
    """A word is a token."""
    if reply.usage is not None:
        return reply.usage
    prompt = sum(len(text_of(m).split()) for m in body["messages"])
    completion = len(reply.content.split()) + len(reply.tool_calls)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _tool_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "index": i,
            "id": f"call_{i}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for i, (name, arguments) in enumerate(reply.tool_calls)
    ]


def _envelope(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 0, "model": body["model"]}


def _completion(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content or None}
    if reply.tool_calls:
        message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in _tool_calls(reply)]
    if reply.refusal is not None:
        message["refusal"] = reply.refusal
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(reply)}
    choice["logprobs"] = _logprobs(body, reply, reply.content)
    usage = _usage(body, reply)
    return {**_envelope(body, "chat.completion"), "choices": [choice], **({"usage": usage} if usage else {})}


def _chunks(body: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    envelope = _envelope(body, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        told = _logprobs(body, reply, delta.get("content"))
        more = {"logprobs": told} if told else {}
        return {**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, **more}]}

    yield chunk({"role": "assistant", "content": ""})
    for i, word in enumerate(reply.content.split(" ") if reply.content else ()):
        yield chunk({"content": word if i == 0 else f" {word}"})
    for call in _tool_calls(reply):
        yield chunk({"tool_calls": [call]})
    yield chunk({}, _finish_reason(reply))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield {**envelope, "choices": [], "usage": _usage(body, reply)}


def _logprobs(body: dict[str, Any], reply: Reply, text: str | None) -> dict[str, Any] | None:
    if not body.get("logprobs") or reply.logprob is None or not text:
        return None
    tokens = [{"token": word, "logprob": reply.logprob, "top_logprobs": []} for word in text.split()]
    return {"content": tokens, "refusal": None}


def _finish_reason(reply: Reply) -> str:
    return reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
