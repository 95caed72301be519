"""What a router asks of a predictor."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from lookahead_router.errors import PromptError
from lookahead_router.prompts import Prompt, Request, prompt_text, read_request
from lookahead_router.types import CandidatePool, Prediction

Read = TypeVar("Read")
_ONE = (str, bytes, bytearray, Mapping)
"""What is a single prompt where a list of them is wanted."""


@runtime_checkable
class Predictor(Protocol):
    """Foresees how well the pool's candidates will answer. Safe under threads."""

    pool: CandidatePool
    """The candidates, in column order."""
    name: str
    revision: str | None

    def predict(self, prompts: Sequence[Prompt]) -> Prediction:
        """What it foresees for the prompts, over its pool. Row `i` depends on prompt `i` only.

        Raises:
            PromptError: a prompt that cannot be routed; says which.
            PredictionError: the weights give no prediction.
        """
        ...


def prompt_texts(prompts: Iterable[Prompt | Request]) -> list[str]:
    """The text of every prompt.

    Raises:
        PromptError: a prompt that cannot be routed, with its index; or a lone string.
    """
    return _each(prompts, prompt_text)


def read_requests(prompts: Iterable[Prompt | Request]) -> list[Request]:
    """Every prompt as a request; of a text, which is sent as it is routed, the tokens are not counted.

    Raises:
        PromptError: as `prompt_texts`.
    """
    return _each(prompts, _request)


def _request(prompt: Prompt | Request) -> Request:
    if isinstance(prompt, Request):
        return prompt
    return Request(prompt_text(prompt)) if isinstance(prompt, str) else read_request(prompt)


def _each(prompts: Iterable[Prompt | Request], read: Callable[[Prompt | Request], Read]) -> list[Read]:
    if type(prompts) is not list and isinstance(prompts, _ONE):
        raise PromptError("expected a list of prompts, got a single one; use route, or wrap it in a list")
    if type(prompts) is not list and not isinstance(prompts, Iterable):
        raise PromptError(f"expected a list of prompts, got {type(prompts).__name__}")
    found = []
    for index, prompt in enumerate(prompts):
        try:
            found.append(read(prompt))
        except PromptError as error:
            raise PromptError(str(error), index=index) from error
    return found
