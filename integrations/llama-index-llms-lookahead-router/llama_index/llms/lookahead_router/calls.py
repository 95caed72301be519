"""One call on its way through the candidates, and the record that its response carries."""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, closing
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    TextBlock,
    ThinkingBlock,
)
from llama_index.core.llms.llm import LLM
from pydantic import ValidationError

from llama_index.llms.lookahead_router.history import remember_author
from llama_index.llms.lookahead_router.scope import RECORD_KEY, Scope
from lookahead_router import Attempts, Candidate, Dispatcher, Holdback, read_reply
from lookahead_router.errors import Failure, NoAnswerError, failure_of

Response = TypeVar("Response", ChatResponse, CompletionResponse)

_INPUT_TOKENS = ("prompt_tokens", "input_tokens", "prompt_token_count", "inputTokens", "prompt_eval_count")
_OUTPUT_TOKENS = ("completion_tokens", "output_tokens", "candidates_token_count", "outputTokens", "eval_count")


_STUMBLES = (AttributeError, LookupError, TypeError, ValidationError)
"""What an LLM's class raises over a body that is no answer. Where nothing at all was streamed, it is LlamaIndex's event
of the end that fails for want of a response."""

_IN_HAND = object()
"""Stands for what was not given, where a cascade has an earlier answer."""
Ask = Callable[[LLM], Any]
"""Asks a candidate: for a response, a stream, or an awaitable of one of them."""


class Call:
    """Who is asked now, and what the record says so far. Belongs to one call, so nothing is shared."""

    def __init__(
        self, llms: Mapping[str, LLM], dispatcher: Dispatcher, attempts: Attempts, scope: Scope, turn: str | None
    ) -> None:
        """Starts with the first candidate.

        Args:
            llms: the candidates by name.
            dispatcher: whose pool has the prices.
            attempts: the candidates in the order of asking.
            scope: who wants the record.
            turn: the turn that stays with whoever answers.
        """
        self._llms, self._dispatcher, self._attempts, self._scope, self._turn = llms, dispatcher, attempts, scope, turn
        self._usage: dict[str, int] = {}
        self._note()

    @property
    def llm(self) -> LLM:
        """The one to ask now."""
        return self._llms[self.name]

    @property
    def name(self) -> str:
        """The candidate to ask now."""
        return self._attempts.name

    def fall_back(self, error: Exception, *, has_begun: bool = False) -> None:
        """Notes that the candidate failed, and goes on to the next one.

        Args:
            error: the candidate's.
            has_begun: whether something of its answer was shown, so that nobody else can begin anew.

        Raises:
            Exception: the error itself, where there is no next one or it is not worth asking, and no answer in hand.
        """
        if not has_begun and isinstance(error, _STUMBLES) and failure_of(error) is Failure.NO_ANSWER:
            error = _no_answer(self.name, error)
        is_worth_it = self._attempts.move_on(error, has_begun=has_begun)
        self._usage = {}
        self._note()
        if not is_worth_it and (has_begun or not self.has_answer):
            raise error

    @property
    def has_answer(self) -> bool:
        """Whether an answer was taken: nobody else is to be asked."""
        return self._attempts.answer is not None

    @property
    def is_live(self) -> bool:
        """Whether the next answer may be shown while it comes, since it is the call's whatever it says."""
        return self._attempts.is_final

    def takes(self, responses: list[Any]) -> bool:
        """Takes in all that a candidate gave; true if the call has its answer, be it this one or an earlier one.

        Raises:
            NoAnswerError: nothing at all, and nobody left.
        """
        return self.settles(responses) if self.accepts(*responses) else self.has_answer

    def settles(self, responses: list[Any]) -> bool:
        """Notes an answer, as its responses or at least the last of them; true if the call has its own."""
        is_settled = self._attempts.settles(responses, lambda: reply_of(responses[-1]))
        if is_settled:
            last = self._attempts.answer[-1]
            self._usage = usage_of(last)
            self._remember(last)
        self._note()
        return is_settled

    def answers(self) -> list[Any]:
        """The accepted answer as it came: one response, or the chunks of a stream, with the record."""
        return [self.stamp(each) for each in self._attempts.answer]

    def accepts(self, *responses: ChatResponse | CompletionResponse) -> bool:
        """Whether the whole of what a candidate gave is an answer; if not, the next one is to be asked.

        An empty answer is one if tokens were spent on it, or if nobody is left to ask.

        Raises:
            NoAnswerError: nothing at all, and nobody left.
        """
        if any(shows(response) or usage_of(response).get("output_tokens") for response in responses):
            return True
        try:
            self.fall_back(NoAnswerError(self.name))
        except NoAnswerError:
            if responses:
                return True
            raise
        return False

    def stamp(self, response: Response) -> Response:
        """A copy with the record, so that what the candidate's own events hold stays as it was."""
        usage = usage_of(response)
        if usage and usage != self._usage:
            self._usage = usage
            self._note()
        return response.model_copy(
            update={"additional_kwargs": {**response.additional_kwargs, RECORD_KEY: self._record}}
        )

    def _remember(self, response: ChatResponse | CompletionResponse) -> None:
        """Notes who has answered, with the last of what was given."""
        if isinstance(response, ChatResponse):
            remember_author(response.message, self.name, self._dispatcher.threads)
        if self._turn is not None:
            self._dispatcher.threads[self._turn] = self.name

    def _note(self) -> None:
        """The record in plain JSON types: that of every adapter, with who failed, the usage and its price."""
        record = self._attempts.record
        failed = [attempt for attempt in record["attempts"] if attempt["error"] is not None]
        self._record = {**record, "failed": failed, **self._usage}
        cost = cost_of(self._dispatcher.router.pool[self.name], self._usage)
        cost = record.get("cascade", {}).get("usd", cost)  # of all answers that were paid
        if cost is not None:
            self._record["cost_usd"] = cost
        for records in self._scope.records:
            records.note(self, self._record)


# Four shapes of a call: one response or a stream of them, each with its async twin.


def answer(call: Call, ask: Ask) -> Any:
    """The first answer that a candidate gives."""
    while True:
        found = _ask(call, ask)
        if found is _IN_HAND or call.takes([found]):
            return call.answers()[0]


async def aanswer(call: Call, ask: Ask) -> Any:
    """Like `answer`."""
    while True:
        found = await _aask(call, ask)
        if found is _IN_HAND or call.takes([found]):
            return call.answers()[0]


def stream(call: Call, ask: Ask) -> Generator[Any, None, None]:
    """The chunks of the first candidate that shows something; a failure after that is raised.

    Where a cascade may still ask somebody else, the chunks wait until the answer is accepted.
    """
    first = _ask(call, ask)  # now and not on first use, as in a direct call

    def responses() -> Generator[Any, None, None]:
        opened = first
        while opened is not _IN_HAND:
            held, kept, response, is_live = Holdback(), [], None, call.is_live
            try:
                with closing(opened):
                    for response in opened:
                        if not is_live:
                            kept.append(response)
                            continue
                        for each in held.add(response, shows=shows(response)):
                            yield call.stamp(each)
            except Exception as error:
                call.fall_back(error, has_begun=held.has_begun)
            else:
                rest = held.rest()
                if is_live and (held.has_begun or call.accepts(*rest)):
                    yield from map(call.stamp, rest)
                    call.settles([response])
                    return
                if not is_live and call.takes(kept):
                    break
            opened = _IN_HAND if call.has_answer else _ask(call, ask)
        yield from call.answers()

    return responses()


async def astream(call: Call, ask: Ask) -> AsyncGenerator[Any, None]:
    """Like `stream`."""
    first = await _aask(call, ask)

    async def responses() -> AsyncGenerator[Any, None]:
        opened = first
        while opened is not _IN_HAND:
            held, kept, response, is_live = Holdback(), [], None, call.is_live
            try:
                async with aclosing(opened):
                    async for response in opened:
                        if not is_live:
                            kept.append(response)
                            continue
                        for each in held.add(response, shows=shows(response)):
                            yield call.stamp(each)
            except Exception as error:
                call.fall_back(error, has_begun=held.has_begun)
            else:
                rest = held.rest()
                if is_live and (held.has_begun or call.accepts(*rest)):
                    for each in rest:
                        yield call.stamp(each)
                    call.settles([response])
                    return
                if not is_live and call.takes(kept):
                    break
            opened = _IN_HAND if call.has_answer else await _aask(call, ask)
        for each in call.answers():
            yield each

    return responses()


def _ask(call: Call, ask: Ask) -> Any:
    while True:
        try:
            return ask(call.llm)
        except Exception as error:
            call.fall_back(error)
            if call.has_answer:
                return _IN_HAND


async def _aask(call: Call, ask: Ask) -> Any:
    while True:
        try:
            return await ask(call.llm)
        except Exception as error:
            call.fall_back(error)
            if call.has_answer:
                return _IN_HAND


def shows(response: ChatResponse | CompletionResponse) -> bool:
    """Whether there is anything in a response, or in a chunk of one, that its reader would see or act upon."""
    if _is_visible(response.delta) or (isinstance(response, CompletionResponse) and _is_visible(response.text)):
        return True
    if isinstance(response, CompletionResponse):
        return False
    message: ChatMessage = response.message
    if message.additional_kwargs.get("tool_calls") or message.additional_kwargs.get("function_call"):
        return True
    return _is_visible(response.additional_kwargs.get("thinking_delta")) or any(map(_block_shows, message.blocks))


def _block_shows(block: ContentBlock) -> bool:
    if isinstance(block, TextBlock | ThinkingBlock):
        return _is_visible(block.text if isinstance(block, TextBlock) else block.content)
    return True


def _is_visible(text: str | None) -> bool:
    """Whether there is anything but white space."""
    return bool(text and text.strip())


def _no_answer(name: str, cause: Exception) -> NoAnswerError:
    error = NoAnswerError(name)
    error.__cause__ = cause
    return error


def reply_of(response: ChatResponse | CompletionResponse) -> Any:
    """A response as the checks of a cascade see it."""
    raw, usage = response.raw, usage_of(response)
    choices = _field(raw, "choices")
    place = choices[0] if isinstance(choices, list) and choices else raw
    told = {name: _field(place, name) for name in ("finish_reason", "stop_reason", "done_reason")}
    probable = [token[0] if isinstance(token, list) and token else token for token in response.logprobs or ()]
    told["logprobs"] = {"content": [{"logprob": _field(token, "logprob")} for token in probable]}
    text = response.text if isinstance(response, CompletionResponse) else response.message.content
    return read_reply(text or "", told, **usage)


def usage_of(response: ChatResponse | CompletionResponse) -> dict[str, int]:
    """Tokens of the call as its provider counted them: `input_tokens`, `output_tokens`, if it says so."""
    raw = response.raw
    places = [response.additional_kwargs, raw]
    places += [_field(raw, name) for name in ("usage", "usage_metadata", "usageMetadata")]
    for place in places:
        counts = [_count(place, names) for names in (_INPUT_TOKENS, _OUTPUT_TOKENS)]
        if None not in counts:
            return dict(zip(("input_tokens", "output_tokens"), counts, strict=True))
    return {}


def cost_of(candidate: Candidate, usage: Mapping[str, int]) -> float | None:
    """Dollars of a call by the candidate's token prices; `None` where one of the figures is not known."""
    prices = candidate.input_usd_per_million_tokens, candidate.output_usd_per_million_tokens
    if not usage or None in prices:
        return None
    return (prices[0] * usage["input_tokens"] + prices[1] * usage["output_tokens"]) / 1e6


def _count(place: Any, names: tuple[str, ...]) -> int | None:
    values = (_field(place, name) for name in names)
    return next((value for value in values if isinstance(value, int) and not isinstance(value, bool)), None)


def _field(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)
