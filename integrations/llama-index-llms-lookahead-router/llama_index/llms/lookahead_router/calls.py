"""One call on its way through the candidates, and the record that its response carries."""

from collections.abc import Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

from lookahead_router import Decision

RECORD_KEY = "lookahead_router"
"""Where a response's `additional_kwargs` holds the record."""

Response = TypeVar("Response", ChatResponse, CompletionResponse)


class RoutedCall:
    """Whom to ask now, whom next, and who failed. Belongs to one call, so nothing is shared."""

    def __init__(self, order: Sequence[str], decision: Decision | None, routing_error: Exception | None = None) -> None:
        """Starts with the first candidate.

        Args:
            order: names of those that may be asked, best first.
            decision: what put them into this order; `None` where the default candidate stands in.
            routing_error: why there is no decision.
        """
        self._order = tuple(order)
        self._decision = decision
        self._routing_error = routing_error
        self._failures: list[tuple[str, Exception]] = []

    @property
    def name(self) -> str:
        """The candidate to ask now."""
        return self._order[len(self._failures)]

    def fall_back(self, error: Exception) -> None:
        """Notes that the candidate failed, and goes on to the next one.

        Raises:
            Exception: what the first candidate raised, once there is no next one.
        """
        self._failures.append((self.name, error))
        if len(self._failures) == len(self._order):
            first = self._failures[0][1]
            if len(self._failures) > 1:
                others = ", ".join(f"{name} ({type(error).__name__})" for name, error in self._failures[1:])
                first.add_note(f"raised by the candidate {self._order[0]!r}; the next-best failed too: {others}")
            raise first

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
            "failed": [{"candidate": name, "error": type(error).__name__} for name, error in self._failures],
            "routing_error": self._routing_error and type(self._routing_error).__name__,
        }
