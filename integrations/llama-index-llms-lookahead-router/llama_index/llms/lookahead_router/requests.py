"""What a call asks, and what it wants of the router."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools.types import BaseTool

from llama_index.llms.lookahead_router.scope import Scope, current_scope
from lookahead_router import Request, read_request

Prompt = str | Sequence[ChatMessage]


@dataclass(frozen=True)
class Wishes:
    """The router's own options of a call."""

    forced: str | None
    thread: str | None
    scope: Scope
    tools: Sequence[Any] = ()
    """Definitions in OpenAI's form."""
    needs: Sequence[str] = ()

    @classmethod
    def taken_from(cls, kwargs: dict[str, Any], candidate: str | None, tools: Sequence[BaseTool] = ()) -> "Wishes":
        """Takes the options out of a call's arguments, since no provider knows them.

        `model=` is among them: it would name another model at whichever endpoint is chosen.

        Args:
            kwargs: the call's arguments, which lose them.
            candidate: who answers where the call names nobody.
            tools: those that the call hands over; a call's arguments may hold others, in a provider's own form.
        """
        named = [kwargs.pop(name, None) for name in ("candidate", "model")]
        thread, scope = kwargs.pop("thread_id", None), current_scope()
        forced = next((name for name in (*named, scope.candidate, candidate) if name is not None), None)
        given = kwargs.get("tools") or kwargs.get("functions")
        definitions = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
        return cls(
            forced,
            scope.thread if thread is None else str(thread),
            scope,
            definitions or (given if isinstance(given, list | tuple) else ()),
            _needs_of(kwargs.get("response_format")),
        )


def read(
    prompt: Prompt,
    wishes: Wishes,
    *,
    route_on: Callable[[Any], str | None] | None,
    context_chars: int | None,
    may_be_empty: bool,
) -> Request:
    """The request as routing sees it.

    Args:
        prompt: what the candidate will get.
        wishes: what LlamaIndex knows of the question, and what the call needs.
        route_on: what the user says of the question, which goes first.
        context_chars: as for `read_request`.
        may_be_empty: whether a request without a question is one with an empty text.

    Raises:
        PromptError: no question.
    """

    def question(prompt: Prompt) -> str | None:
        given = None if route_on is None else route_on(prompt)
        return wishes.scope.question_in(_said_by_user(prompt)) if given is None else given

    return read_request(
        prompt,
        context=wishes.scope.context,
        route_on=question,
        needs=wishes.needs,
        tools=wishes.tools,
        context_chars=context_chars,
        allow_empty=may_be_empty,
    )


def _needs_of(form: Any) -> Sequence[str]:
    """What a call with this `response_format` needs."""
    is_text = isinstance(form, Mapping) and form.get("type") == "text"
    return ("structured output",) if form is not None and not is_text else ()


def turns_of(prompt: Prompt, request: Request) -> list[str]:
    """Names for the turns of a conversation, oldest first: what user and assistant said up to each question.

    In an agent's loop the last one stays the same while tools are called. None for a text, which has no turns.
    """
    if isinstance(prompt, str):
        return []
    said, names, places = hashlib.sha256(), [], set(request.turn_starts)
    for place, message in enumerate(prompt):
        if message.role != MessageRole.SYSTEM:
            said.update(repr((message.role.value, message.content)).encode("utf-8", "surrogatepass"))
        if place in places:
            names.append(f"turn {said.hexdigest()}")
    return names


def _said_by_user(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(message.content or "" for message in prompt if message.role == MessageRole.USER)
