"""`LookaheadRouter`: a Runnable from a prompt to a decision."""

from typing import Any

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field

from langchain_lookahead_router._loading import check_source, resolve_router
from langchain_lookahead_router._messages import CONTEXT_CHARS, routing_text, to_messages
from langchain_lookahead_router._planning import decision_record
from langchain_lookahead_router._threads import off_loop


class LookaheadRouter(RunnableSerializable[Any, dict[str, Any]]):
    """Decides which candidate should answer, and asks none.

    The input is a string, a prompt value, messages, or a mapping with `messages` such as the state of a
    graph. The output is plain JSON: `candidate` (a name), `scores` and `utilities` by name, `ranking`
    (names, best first), `margin`, `policy`, `predictor`, `revision`, `latency_seconds`.

    Example:
        ```python
        name = LookaheadRouter().pick("candidate").invoke("What is 2 + 2?")
        ```
    """

    router: Any = Field(default=None, exclude=True, repr=False)
    """A `Router`, the folder or Hub id of a saved predictor, or `None` for the embedded one. Locations are
    loaded at the first call."""
    revision: str | None = None
    """Commit or tag of a Hub repository."""
    candidates: list[str] | None = None
    """Names to decide among; the whole pool when absent."""
    aliases: dict[str, Any] | None = None
    """`{name in the pool: the name here, or a Candidate with prices}`."""
    policy: Any = None
    """Scores to utilities; the router's own, `BestQuality()` as a rule, when absent."""
    context_chars: int = Field(default=CONTEXT_CHARS, ge=0)
    """Characters of the conversation that are read at most; 0 reads the last human message only."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(self, router: Any = None, **fields: Any) -> None:
        """Takes the fields above; `router` may stand first.

        Raises:
            ConfigurationError: `router` is of another type, or has no revisions.
        """
        check_source(router, fields.get("revision"))
        super().__init__(router=router, **fields)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """The decision for one prompt.

        Raises:
            PromptError: nothing to route on.
            UnknownCandidateError: a candidate or an alias that the pool does not hold.
        """
        return self._call_with_config(self._decide, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Like `invoke`, with the prediction off the event loop."""

        async def decide(value: Any) -> dict[str, Any]:
            return await off_loop(self._decide, value)

        return await self._acall_with_config(decide, input, config)

    def _decide(self, value: Any) -> dict[str, Any]:
        router = resolve_router(
            self.router, revision=self.revision, aliases=self.aliases, names=self.candidates, policy=self.policy
        )
        return decision_record(router.route(routing_text(to_messages(value), self.context_chars)))

    def __deepcopy__(self, memo: dict | None = None) -> "LookaheadRouter":
        return self.model_copy()  # the weights are shared


__all__ = ["LookaheadRouter"]
