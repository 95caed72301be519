"""What the models and runnables here have in common: what they plan with is made of their fields, and learns."""

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from lookahead_router import Dispatcher
from lookahead_router.threads import off_loop

if TYPE_CHECKING:
    from lookahead_router import Router

T = TypeVar("T")


class MadeOfFields(Generic[T]):
    """Makes something of its fields, and makes it again when one of them was set or copied with another value.

    A class of pydantic's beside this one declares the fields, and `_made_by` as a private attribute, `None`.
    """

    _made_of: ClassVar[tuple[str, ...]]
    """The fields."""
    _made_by: tuple[tuple, T] | None

    @classmethod
    def _make(cls, **fields: Any) -> T:
        raise NotImplementedError

    @property
    def _made(self) -> T:
        if (made := self._made_already()) is not None:
            return made
        with Dispatcher.learning():  # which sets two fields
            if (made := self._made_already()) is None:
                values = self._values()
                made = self._make(**dict(zip(self._made_of, values, strict=True)))
                self._made_by = values, made
            return made

    def _made_already(self) -> T | None:
        if (made := self._made_by) is None:
            return None
        is_same = all(old is new for old, new in zip(made[0], self._values(), strict=True))
        return made[1] if is_same else None

    def _values(self) -> tuple:
        return tuple(getattr(self, name) for name in self._made_of)


class Learner:
    """Learns from feedback; what was learnt stands in the field `router`."""

    def observe(self, prompt: Any, candidate: str, score: float) -> None:
        """Learns how good an answer was; calls from now on know it, and so do copies made from now on.

        Safe under threads. What was learnt stands in `router`, whose `save` keeps it.

        Args:
            prompt: what was asked, as `invoke` takes it.
            candidate: who answered, as the routing record says.
            score: how good the answer was, in [0, 1].

        Raises:
            ConfigurationError: the predictor's pool is fixed.
            UnknownCandidateError: the name is no candidate.
            PromptError: the prompt cannot be routed.
            DataError: the score is no number in [0, 1].
        """
        with Dispatcher.learning():
            self.router, self.revision = self._learnt(prompt, candidate, score), None

    async def aobserve(self, prompt: Any, candidate: str, score: float) -> None:
        """Like `observe`, off the event loop."""
        await off_loop(self.observe, prompt, candidate, score)

    def _learnt(self, prompt: Any, candidate: str, score: float) -> "Router":
        """The router that has learnt, before aliases, choice of candidates and policy."""
        raise NotImplementedError
