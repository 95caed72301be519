"""Routes that a chat model tells apart: what it is asked, and what its reply says.

The form of the prompt is Arch-Router's (arXiv 2506.16655, section 3): routes and conversation as JSON between tags, one
name back. The words are our own.
"""

import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Sequence
from numbers import Real

from lookahead_router.errors import ConfigurationError
from lookahead_router.files import parse_json
from lookahead_router.prompts import Request, estimate_tokens
from lookahead_router.prompts.tokens import cut_to_tokens
from lookahead_router.routes.definition import Match, Routes

CONVERSATION_TOKENS = 2048
"""Estimated tokens of the conversation that the chat model reads, the newest turns first; the paper's gateway's."""
NONE = "other"
"""What the chat model answers where no route fits."""
MAX_REPLY = 10_000
_NAME = re.compile(r"""["']?route["']?\s*[:=]\s*["'“]?([^"'”}\n]+)""", re.IGNORECASE)
_TASK = """You sort requests into routes. Below are the routes, and a conversation between a user and an assistant.

<routes>
{routes}
</routes>

<conversation>
{conversation}
</conversation>

Which route does the user's latest request belong to?
- Decide by what the user wants now. Earlier turns only say what the latest one refers to.
- Choose the route whose description fits best. Where no route is about this kind of task, one about its subject fits.
- Where no route fits, or nothing is left to do, the route is "{none}".
- Use a name exactly as it is written above, and do not carry out the request.

Answer with JSON alone: {{"route": "NAME"}}"""

logger = logging.getLogger(__name__)


class AskedRoutes:
    """Routes told apart by a chat model. A failure, a reply that names no route, or none in time counts as none."""

    def __init__(
        self, routes: Routes, complete: Callable[[str], str], timeout_seconds: float, local: bool = False
    ) -> None:
        """See `Routes.using`."""
        if not callable(complete):
            raise ConfigurationError(f"complete is a function from a prompt to a reply, got {type(complete).__name__}")
        is_number = isinstance(timeout_seconds, Real) and not isinstance(timeout_seconds, bool)
        if not is_number or not 0 < timeout_seconds < float("inf"):
            raise ConfigurationError(f"timeout_seconds must be a finite number above 0, got {timeout_seconds!r}")
        if NONE in (name.casefold() for name in routes.names):
            raise ConfigurationError(f"{NONE!r} is what a chat model answers for none; give that route another name")
        self.routes, self.complete, self.timeout_seconds = routes, complete, timeout_seconds
        self.asks_elsewhere = not local

    def match(self, requests: Sequence[Request]) -> list[Match]:
        """What the chat model says of each request, one after the other."""
        return [self._asked(request) for request in requests]

    def over(self, routes: Routes) -> "AskedRoutes":
        """This matcher for the same routes over candidates of other names."""
        return AskedRoutes(routes, self.complete, self.timeout_seconds, not self.asks_elsewhere)

    def prompt(self, request: Request) -> str:
        """What the chat model is asked."""
        described = [{"name": route.name, "description": route.description} for route in self.routes.routes]
        return _TASK.format(
            routes=json.dumps(described, ensure_ascii=False),
            conversation=json.dumps(_conversation(request), ensure_ascii=False).replace("</", "<\\/"),  # closes no tag
            none=NONE,
        )

    def _asked(self, request: Request) -> Match:
        try:
            reply = _in_time(lambda: self.complete(self.prompt(request)), self.timeout_seconds)
            if not isinstance(reply, str):
                raise TypeError("no text")
            name = read_reply(reply, self.routes.names)
        except Exception as error:
            kind = type(error).__name__  # not its message, which may quote the prompt
            logger.warning("no route was told: %s; the request counts as of none", kind)
            return Match(error=kind)
        return Match(name)


def read_reply(reply: str, names: Sequence[str]) -> str | None:
    """The route that a reply names, whatever stands around the name; `None` where it says that none fits.

    Raises:
        ValueError: it names no route that there is.
    """
    reply = reply[-MAX_REPLY:]
    by_name = {name.casefold(): name for name in names} | {NONE: None, "": None}
    for said in (*_of_json(reply), *reversed(_NAME.findall(reply)), reply):
        key = said.strip().strip("\"'`“”.").strip().casefold()
        if key in by_name:
            return by_name[key]
    raise ValueError("the reply names no route")


def _of_json(reply: str) -> list[str]:
    """What JSON in the reply says, or Python's way to write it."""
    start, end = reply.find("{"), reply.rfind("}")
    for text in (reply[start : end + 1], reply[start : end + 1].replace("'", '"')) if 0 <= start < end else ():
        try:
            said = parse_json(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict) and isinstance(said.get("route"), str):
            return [said["route"]]
    return []


def _conversation(request: Request) -> list[dict[str, str]]:
    """The newest turns of user and assistant that there is room for; what is routed where none are known."""
    turns = [(role, text) for role, text in request.sent if role in ("user", "assistant") and text.strip()]
    kept, room = [], CONVERSATION_TOKENS
    for role, text in reversed(turns or [("user", request.text)]):
        if not kept:
            text = cut_to_tokens(text, room)
        room -= estimate_tokens(text)
        if room < 0 and kept:
            break
        kept.insert(0, {"role": role, "content": text})
    return kept


def _in_time(call: Callable[[], str], seconds: float) -> str:
    """What the call returns.

    It runs on a thread of its own, which nobody waits for at exit: one that hangs cannot be ended.

    Raises:
        TimeoutError: nothing in time.
        Exception: what it raises.
    """
    said: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        try:
            said.put((call(), None))
        except BaseException as error:
            said.put((None, error))

    threading.Thread(target=run, name="lookahead-router-route", daemon=True).start()
    try:
        reply, error = said.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no reply within {seconds:g} seconds") from None
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(type(error).__name__)
    return reply
