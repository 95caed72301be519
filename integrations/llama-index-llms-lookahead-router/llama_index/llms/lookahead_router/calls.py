"""One call on its way through the candidates, and the record that its response carries."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

from lookahead_router import Decision

RECORD_KEY = "lookahead_router"
"""Where a response's `additional_kwargs` holds the record."""

Response = TypeVar("Response", ChatResponse, CompletionResponse)


class RoutedCall:
    """Whom to ask now, whom next, and who failed. Belongs to one call, so nothing is shared."""

    def __init__(
        self,
        order: Sequence[str],
        decision: Decision | None,
        *,
        fallback_on: Callable[[Exception], bool],
        routing_error: Exception | None = None,
    ) -> None:
        """Starts with the first candidate.

        Args:
            order: names of those that may be asked, best first.
            decision: what put them into this order; `None` where the default candidate stands in.
            fallback_on: which errors are worth asking the next one.
            routing_error: why there is no decision.
        """
        self._order = tuple(order)
        self._decision = decision
        self._fallback_on = fallback_on
        self._routing_error = routing_error
        self._failed: list[dict[str, str]] = []

    @property
    def name(self) -> str:
        """The candidate to ask now."""
        return self._order[len(self._failed)]

    def fall_back(self, error: Exception) -> None:
        """Notes that the candidate failed, and goes on to the next one.

        Raises:
            Exception: the error itself, where there is no next one or it is not worth asking.
        """
        if len(self._failed) + 1 == len(self._order) or not self._fallback_on(error):
            if self._failed:
                before = ", ".join(f"{each['candidate']} ({each['error']})" for each in self._failed)
                error.add_note(f"raised by the candidate {self.name!r}, after others had failed: {before}")
            raise error
        self._failed.append({"candidate": self.name, "error": type(error).__name__})

    def stamp(self, response: Response) -> Response:
        """A copy with the record, so that what the candidate's own events hold stays as it was."""
        return response.model_copy(
            update={"additional_kwargs": {**response.additional_kwargs, RECORD_KEY: self.record()}}
        )

    def record(self) -> dict[str, Any]:
        """Who answered and why, in plain JSON types, with nothing of prompt or response.

        `candidate` answered; `decision` is `Decision.to_dict()`, or `None` where routing failed and the
        default candidate stood in, by the error named under `routing_error`; `failed` lists candidates
        asked before, with the types of their errors.
        """
        return {
            "candidate": self.name,
            "decision": self._decision and self._decision.to_dict(),
            "failed": [dict(each) for each in self._failed],
            "routing_error": self._routing_error and type(self._routing_error).__name__,
        }
