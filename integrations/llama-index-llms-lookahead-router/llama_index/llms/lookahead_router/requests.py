"""What a call asks, and what it wants of the router."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole

from llama_index.llms.lookahead_router.scope import Scope, current_scope
from lookahead_router import Request, read_request
from lookahead_router.errors import PromptError

Prompt = str | Sequence[ChatMessage]


@dataclass(frozen=True)
class Wishes:
    """The router's own options of a call."""

    forced: str | None
    thread: str | None
    scope: Scope

    @classmethod
    def taken_from(cls, kwargs: dict[str, Any], candidate: str | None) -> "Wishes":
        """Takes the options out of a call's arguments, since no provider knows them.

        `model=` is among them: it would name another model at whichever endpoint is chosen.

        Args:
            kwargs: the call's arguments, which lose them.
            candidate: who answers where the call names nobody.
        """
        named = [kwargs.pop(name, None) for name in ("candidate", "model")]
        thread, scope = kwargs.pop("thread_id", None), current_scope()
        forced = next((name for name in (*named, scope.candidate, candidate) if name is not None), None)
        return cls(forced, scope.thread if thread is None else str(thread), scope)


def read(
    prompt: Prompt,
    scope: Scope,
    *,
    route_on: Callable[[Any], str | None] | None,
    needs: Sequence[str],
    context_chars: int,
    may_be_empty: bool,
) -> Request:
    """The request as routing sees it.

    Args:
        prompt: what the candidate will get.
        scope: what LlamaIndex knows of the question.
        route_on: what the user says of it, which goes first.
        needs: what the call needs besides.
        context_chars: as for `read_request`.
        may_be_empty: whether a request without a question is one with an empty text.

    Raises:
        PromptError: no question.
    """

    def question(prompt: Prompt) -> str | None:
        given = None if route_on is None else route_on(prompt)
        return scope.question_in(_said_by_user(prompt)) if given is None else given

    try:
        return read_request(prompt, route_on=question, needs=needs, context_chars=context_chars)
    except PromptError:
        if not may_be_empty:
            raise
        return Request("", frozenset(needs))


def turn_of(prompt: Prompt, question: str) -> str | None:
    """A name for the turn of a conversation: what user and assistant said up to the question.

    In an agent's loop it stays the same while tools are called. `None` for a text, which has no turns.
    """
    if isinstance(prompt, str):
        return None
    asked = [i for i, message in enumerate(prompt) if message.role == MessageRole.USER]
    asking = [i for i in asked if question in (prompt[i].content or "")] or asked
    if not asking:
        return None
    said = [(m.role.value, m.content) for m in prompt[: asking[-1] + 1] if m.role != MessageRole.SYSTEM]
    return f"turn {hashlib.sha256(repr(said).encode('utf-8', 'surrogatepass')).hexdigest()}"


def _said_by_user(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message.content or "" for message in prompt if message.role == MessageRole.USER)
