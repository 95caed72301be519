"""The three protocols of OpenAI that are served: how each asks, answers, streams, and counts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lookahead_router.errors import PromptError
from lookahead_router.live.pool import LIMITS, CandidateConfig
from lookahead_router.prompts import Request, read_request

_SHOWN = ("content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "audio", "images")
"""Parts of a chat message that a user or an agent sees."""
_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")


@dataclass(frozen=True)
class Usage:
    """Tokens of a call, as the candidate counted them."""

    input_tokens: int
    output_tokens: int


class Protocol:
    """One of OpenAI's protocols. Bodies are plain JSON objects; what is not known is passed on as it is."""

    path: str
    """Below the base URL of a candidate."""
    is_offered_by_all: bool = False
    """Whether every candidate speaks it."""

    def prompt(self, body: Mapping[str, Any]) -> Any:
        """The text or the messages of a request.

        Raises:
            PromptError: there is none, or it is of the wrong type.
        """
        raise NotImplementedError

    def needs(self, body: Mapping[str, Any]) -> Iterator[str]:
        """What the request needs beside what its messages do."""
        form = body.get("response_format")
        if isinstance(form, Mapping) and form.get("type") in ("json_schema", "json_object"):
            yield "structured output"
        modalities = body.get("modalities")
        if isinstance(modalities, list) and "audio" in modalities:
            yield "audio"

    def read(self, body: Mapping[str, Any]) -> Request:
        """The request as routing sees it; its text is empty where there is nothing to route on.

        Raises:
            PromptError: no prompt, or one that is no conversation.
        """
        tools = body.get("tools") or body.get("functions")
        return read_request(self.prompt(body), needs=self.needs(body), tools=tools, allow_empty=True)

    def body_for(self, body: Mapping[str, Any], candidate: CandidateConfig) -> dict[str, Any]:
        """The body that a candidate gets: the client's, with the candidate's own model and defaults."""
        defaults = {**candidate.parameters, **(candidate.parameters.get("extra_body") or {})}
        defaults.pop("extra_body", None)
        if any(name in body for name in LIMITS):
            defaults = {name: value for name, value in defaults.items() if name not in LIMITS}
        asked = {**defaults, **body, "model": candidate.model_name}
        if candidate.system_prompt is not None:
            self._instruct(asked, candidate.system_prompt)
        return asked

    def shows(self, event: Mapping[str, Any]) -> bool:
        """Whether an event of a stream holds anything that is seen."""
        raise NotImplementedError

    def answers(self, answer: Mapping[str, Any]) -> bool:
        """Whether a whole answer holds anything that is seen, or tokens at least."""
        raise NotImplementedError

    def ends(self, event: Mapping[str, Any]) -> bool:
        """Whether an event says that the answer is whole."""
        choices = event.get("choices")
        return isinstance(choices, list) and any(
            isinstance(choice, Mapping) and choice.get("finish_reason") is not None for choice in choices
        )

    def error(self, event: Mapping[str, Any]) -> Any:
        """The failure that a body or an event of status 200 tells of; `None` where there is none."""
        return event.get("error")

    def usage(self, event: Mapping[str, Any]) -> Usage | None:
        """Tokens, where an answer or an event tells them."""
        return _usage(event.get("usage"), "prompt_tokens", "completion_tokens")

    def answer_id(self, event: Mapping[str, Any]) -> str | None:
        """The id by which later requests name this answer, whose candidate keeps it."""
        return None

    def previous(self, body: Mapping[str, Any]) -> str | None:
        """The earlier answer that a request goes on from."""
        return None

    def is_one_text(self, body: Mapping[str, Any]) -> bool:
        """Whether a cascade may look at what is answered: one text, which nothing else goes on from."""
        return False

    def broken(self, message: str) -> dict[str, Any]:
        """The last event of a stream that cannot go on."""
        return {"error": {"message": message, "type": "server_error", "param": None, "code": "stream_interrupted"}}

    def _instruct(self, body: dict[str, Any], text: str) -> None:
        """Puts in a system prompt where the client has none."""


class Chat(Protocol):
    """`/chat/completions`."""

    path = "/chat/completions"
    is_offered_by_all = True

    def prompt(self, body: Mapping[str, Any]) -> Any:
        """The messages."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise PromptError("messages must be a list of at least one message")
        for message in messages:
            if not isinstance(message, Mapping):
                raise PromptError(f"a message is an object with role and content, not {_kind(message)}")
        return messages

    def shows(self, event: Mapping[str, Any]) -> bool:
        """Whether a choice's delta holds content, reasoning, a refusal or a tool call."""
        return any(_shows(part) for part in _parts(event, "delta"))

    def answers(self, answer: Mapping[str, Any]) -> bool:
        """Whether a choice's message does, or tokens were counted."""
        usage = self.usage(answer)
        return any(_shows(part) for part in _parts(answer, "message")) or bool(usage and usage.output_tokens)

    def is_one_text(self, body: Mapping[str, Any]) -> bool:
        """Whether one choice is asked for, in words."""
        modalities = body.get("modalities")
        return body.get("n") in (None, 1) and not (isinstance(modalities, list) and modalities != ["text"])

    def _instruct(self, body: dict[str, Any], text: str) -> None:
        if not any(message.get("role") in ("system", "developer") for message in body["messages"]):
            body["messages"] = [{"role": "system", "content": text}, *body["messages"]]


class Completions(Protocol):
    """`/completions`, which continues a text."""

    path = "/completions"

    def prompt(self, body: Mapping[str, Any]) -> Any:
        """The text; of several the first, and none where they are tokens."""
        prompt = body.get("prompt")
        if isinstance(prompt, list) and prompt and all(isinstance(text, str) for text in prompt):
            return "\n\n".join(prompt)
        if isinstance(prompt, list) and prompt:
            return ""  # tokens, which nobody here can read
        if not isinstance(prompt, str):
            raise PromptError(f"prompt must be a text, texts or tokens, not {_kind(prompt)}")
        return prompt

    def shows(self, event: Mapping[str, Any]) -> bool:
        """Whether a choice holds text."""
        return any(choice.get("text") for choice in _choices(event))

    def answers(self, answer: Mapping[str, Any]) -> bool:
        """Whether a choice holds text, or tokens were counted."""
        usage = self.usage(answer)
        return self.shows(answer) or bool(usage and usage.output_tokens)


class Responses(Protocol):
    """`/responses`, for candidates that offer it; an answer may be gone on from later, at the same candidate."""

    path = "/responses"

    def prompt(self, body: Mapping[str, Any]) -> Any:
        """The input: a text or items, of which those of tools count as such."""
        given = body.get("input")
        if isinstance(given, str):
            return given
        if not isinstance(given, list) or not given or not all(isinstance(item, Mapping) for item in given):
            raise PromptError(f"input must be a text or a list of items, not {_kind(given)}")
        return [{"role": item.get("type") or "user", **item} for item in given]

    def needs(self, body: Mapping[str, Any]) -> Iterator[str]:
        """What chats need; the form of the answer stands in `text`."""
        yield from super().needs(body)
        text = body.get("text")
        form = text.get("format") if isinstance(text, Mapping) else None
        if isinstance(form, Mapping) and form.get("type") in ("json_schema", "json_object"):
            yield "structured output"

    def body_for(self, body: Mapping[str, Any], candidate: CandidateConfig) -> dict[str, Any]:
        """The client's body; a limit of the candidate has another name here."""
        asked = super().body_for(body, candidate)
        limits = [asked.pop(name) for name in LIMITS if name not in body and name in asked]
        if limits:
            asked.setdefault("max_output_tokens", limits[0])
        return asked

    def shows(self, event: Mapping[str, Any]) -> bool:
        """Whether it is a piece of the answer."""
        return ".delta" in str(event.get("type")) or _is_call(event.get("item"))

    def answers(self, answer: Mapping[str, Any]) -> bool:
        """Whether there is output, or the answer is made in the background."""
        usage = self.usage(answer)
        in_background = answer.get("status") in ("queued", "in_progress")
        return bool(answer.get("output")) or in_background or bool(usage and usage.output_tokens)

    def ends(self, event: Mapping[str, Any]) -> bool:
        """Whether it is the last event."""
        return event.get("type") in _RESPONSE_ENDS

    def error(self, event: Mapping[str, Any]) -> Any:
        """The failure that an answer or an event tells of."""
        if event.get("type") == "error":
            return event.get("error") or event
        return event.get("error") or _response(event).get("error")

    def usage(self, event: Mapping[str, Any]) -> Usage | None:
        """Tokens, where an answer or the last event tells them."""
        return _usage(_response(event).get("usage") or event.get("usage"), "input_tokens", "output_tokens")

    def answer_id(self, event: Mapping[str, Any]) -> str | None:
        """Id of the response."""
        name = _response(event).get("id") or (event.get("id") if event.get("object") == "response" else None)
        return name if isinstance(name, str) else None

    def previous(self, body: Mapping[str, Any]) -> str | None:
        """`previous_response_id`."""
        name = body.get("previous_response_id")
        return name if isinstance(name, str) else None

    def broken(self, message: str) -> dict[str, Any]:
        """An event of the type `error`."""
        return {"type": "error", "code": "stream_interrupted", "message": message, "param": None}

    def _instruct(self, body: dict[str, Any], text: str) -> None:
        body.setdefault("instructions", text)


def _choices(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = event.get("choices")
    yield from ((choice for choice in choices if isinstance(choice, Mapping)) if isinstance(choices, list) else ())


def _parts(event: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    yield from (part for choice in _choices(event) if isinstance(part := choice.get(name), Mapping))


def _shows(part: Mapping[str, Any]) -> bool:
    return any(part.get(name) for name in _SHOWN)


def _response(event: Mapping[str, Any]) -> Mapping[str, Any]:
    response = event.get("response")
    return response if isinstance(response, Mapping) else {}


def _is_call(item: Any) -> bool:
    return isinstance(item, Mapping) and str(item.get("type")).endswith("_call")


def _usage(usage: Any, asked: str, answered: str) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    counts = [usage.get(asked), usage.get(answered) or 0]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return None
    return Usage(*counts)


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
