"""`LookaheadRouter`: a Runnable from a prompt to a decision."""

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSerializable
from lookahead_router import Dispatcher, read_request
from lookahead_router.errors import PromptError
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_lookahead_router._messages import CONTEXT_CHARS, QUERY_KEY, check_route_on, query_of, to_messages
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
    loaded when this is built, once per process."""
    revision: str | None = None
    """Commit or tag of a Hub repository."""
    candidates: list[str] | None = None
    """Names to decide among; the whole pool when absent."""
    aliases: dict[str, Any] | None = None
    """`{name in the pool: the name here, or a Candidate with prices}`."""
    policy: Any = None
    """Scores to utilities; the router's own, `BestQuality()` as a rule, when absent."""
    route_on: Any = Field(default=None, exclude=True, repr=False)
    """From the messages to the text to route on; the user's last question where it is absent or gives `None`.
    `config["configurable"]["lookahead_query"]` goes before it."""
    context_chars: int = Field(default=CONTEXT_CHARS, ge=0)
    """Characters of the conversation that are read at most; 0 reads the last question only."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _dispatched_by: tuple[tuple, Dispatcher] | None = PrivateAttr(default=None)

    def __init__(self, router: Any = None, **fields: Any) -> None:
        """Takes the fields above; `router` may stand first.

        Raises:
            ConfigurationError: a value out of its domain.
            UnknownCandidateError: a candidate or an alias that the pool does not hold.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        check_route_on(fields.get("route_on"))
        super().__init__(router=router, **fields)
        _ = self._dispatcher

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """The decision for one prompt.

        Raises:
            PromptError: nothing to route on.
        """
        return self._call_with_config(self._decide, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Like `invoke`, with the prediction off the event loop."""

        async def decide(value: Any, config: RunnableConfig) -> dict[str, Any]:
            return await off_loop(self._decide, value, config)

        return await self._acall_with_config(decide, input, config)

    def _decide(self, value: Any, config: RunnableConfig) -> dict[str, Any]:
        query = query_of(config)
        request = read_request(
            to_messages(value),
            route_on=self.route_on if query is None else lambda _: query,
            context_chars=self.context_chars,
        )
        record = self._dispatcher.plan(request.text).record
        return {key: value for key, value in record.items() if key not in ("reason", "attempts", "excluded")}

    @property
    def _dispatcher(self) -> Dispatcher:
        """Made again when a field was set or copied with another value."""
        values = (self.router, self.candidates, self.revision, self.aliases, self.policy)
        made = self._dispatched_by
        if made is None or any(old is not new for old, new in zip(made[0], values, strict=True)):
            router, candidates, revision, aliases, policy = values
            dispatcher = Dispatcher(router, candidates, revision=revision, aliases=aliases, policy=policy)
            made = self._dispatched_by = (values, dispatcher)
        return made[1]

    def __deepcopy__(self, memo: dict | None = None) -> "LookaheadRouter":
        return self.model_copy()  # the weights are shared


def route_on_query(chain: Runnable, key: str | None = None) -> Runnable:
    """The chain, with every router in it deciding on the question alone.

    A retrieval chain writes documents and instructions into the prompt, which would move the decision.

    Args:
        chain: whatever leads to the router, such as `prompt | llm`.
        key: name of the question in the chain's input; the input itself is the question when absent.

    Raises:
        PromptError: at a call, an input without the question.

    Example:
        ```python
        answer = route_on_query(prompt | llm | StrOutputParser(), "question")
        rag = RunnablePassthrough.assign(context=itemgetter("question") | retriever) | answer
        ```
    """

    def with_query(value: Any) -> Runnable:
        query = value if key is None else value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(query, str):
            place = "the input" if key is None else f"{key!r} in the input"
            raise PromptError(f"expected the question as text as {place}, got {type(query).__name__}")
        return chain.with_config(configurable={QUERY_KEY: query})

    return RunnableLambda(with_query, name="route_on_query")


__all__ = ["LookaheadRouter", "route_on_query"]
