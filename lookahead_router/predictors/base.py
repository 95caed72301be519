"""What a router asks of a predictor."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from lookahead_router.errors import PromptError
from lookahead_router.prompts import Prompt, prompt_text
from lookahead_router.types import CandidatePool, Prediction


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


def prompt_texts(prompts: Iterable[Prompt]) -> list[str]:
    """The text of every prompt.

    Raises:
        PromptError: a prompt that cannot be routed, with its index; or a lone string.
    """
    if isinstance(prompts, str | bytes | bytearray | Mapping):
        raise PromptError("expected a list of prompts, got a single one; use route, or wrap it in a list")
    if not isinstance(prompts, Iterable):
        raise PromptError(f"expected a list of prompts, got {type(prompts).__name__}")
    texts = []
    for index, prompt in enumerate(prompts):
        try:
            texts.append(prompt_text(prompt))
        except PromptError as error:
            raise PromptError(str(error), index=index) from error
    return texts
