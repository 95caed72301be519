"""`Attempts`: one call on its way through the candidates."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lookahead_router.failures import Failure, failure_of, retry_after

if TYPE_CHECKING:
    from lookahead_router.dispatch.checks import Reply
    from lookahead_router.dispatch.dispatcher import Dispatcher


class Attempts:
    """One call on its way through the candidates: who is asked now, and who failed before."""

    is_final = True
    """Whether the next answer is the call's, whatever it says, and may be shown while it comes."""

    def __init__(
        self,
        dispatcher: "Dispatcher",
        order: Iterable[str],
        facts: Mapping[str, Any],
        *,
        thread: str | None = None,
    ) -> None:
        """Starts with the first of the order; made by `Dispatcher.plan`."""
        self._dispatcher = dispatcher
        self._facts = dict(facts)
        self._thread = thread
        self.name: str
        self.name, *self._others = order
        """The candidate to ask now."""
        self._failed: list[dict[str, Any]] = []
        self._is_over = False
        self.answer: Any = None
        """What `settles` took as the call's answer."""

    def settles(self, answer: Any, reply: Callable[[], "Reply"]) -> bool:
        """Notes an answer of `name`; true if the call has its own, in `answer`. A cascade may want another first.
        `reply` gives it as checks see it, and is called where one looks."""
        self.answered()
        self.answer = answer
        return True

    @property
    def record(self) -> dict[str, Any]:
        """The routing record as of now: plain JSON, with nothing of prompt or answer.

        `candidate` is asked now or has answered, by the `reason` `routed`, `forced`, `sticky` or `default`. A
        decision adds `scores`, `utilities`, `ranking`, `margin`, `policy`, `predictor`, `revision`, `latency_seconds`
        and, where they are known, `probabilities`, `standard_errors` and `expected_usd`. Routes add `route`, a name or
        `None`, `similarity` to the most similar one and, where none could be told, `route_error`, the type of the
        failure. `attempts` lists whom was
        asked, each with `error`, the type of the error, and `failure`, its class; both are `None` for whoever
        answered. `stickiness` says what spoke for staying or leaving: `held`, `instead`, `gain`, `switch_gain`,
        `stays`, `cache_usd`. `excluded` (who could not take the request, and why), `cooling` (who
        is asked last, and after which failure) and `error` (type of the predictor's failure, where the default
        answered) are there only if there is something to say.
        """
        asked = [] if self._is_over else [{"candidate": self.name, "error": None, "failure": None}]
        attempts = [dict(each) for each in self._failed] + asked
        return {**self._facts, "candidate": self.name, "attempts": attempts}

    def move_on(self, error: Exception, *, has_begun: bool = False) -> bool:
        """Notes that the candidate failed; true if another one is to be asked, whose name is in `name` then.

        Where false, the error is to be raised; it says in a note who had failed before.

        Args:
            error: the client's.
            has_begun: whether something of the answer was shown, so that nobody else can begin anew.
        """
        failure = failure_of(error)
        self._dispatcher.cooldowns.failed(self.name, failure, retry_after(error))
        if failure is Failure.CONTEXT_OVERFLOW:
            self._others = self._dispatcher.with_larger_windows(self._others, self.name)
        if has_begun or not self._others or not self._dispatcher.is_worth_another(error, failure):
            if self._failed:
                before = ", ".join(f"{each['candidate']} ({each['failure']})" for each in self._failed)
                error.add_note(f"raised by the candidate {self.name!r}, after others had failed: {before}")
            self._note(error, failure)
            self._is_over = True
            return False
        self._note(error, failure)
        self.name, *self._others = self._others
        return True

    def answered(self) -> None:
        """Notes that the candidate answered: it is healthy, and its thread may stay with it."""
        self._dispatcher.cooldowns.answered(self.name)
        self._dispatcher.remember(self._thread, self.name)

    def _note(self, error: Exception, failure: Failure) -> None:
        self._failed.append({"candidate": self.name, "error": type(error).__name__, "failure": failure.value})
