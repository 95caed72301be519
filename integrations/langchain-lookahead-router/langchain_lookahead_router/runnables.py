"""`LookaheadRouter`: a Runnable from a prompt to a decision."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableSerializable
from lookahead_router import Dispatcher, Request, read_request
from lookahead_router.errors import PromptError, describing
from lookahead_router.threads import off_loop
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_lookahead_router._learning import Learner, MadeOfFields
from langchain_lookahead_router._messages import (
    CONTEXT_KEY,
    QUERY_KEY,
    check_route_on,
    context_of,
    query_of,
    to_messages,
)

if TYPE_CHECKING:
    from lookahead_router import Router


class LookaheadRouter(Learner, MadeOfFields[Dispatcher], RunnableSerializable[Any, dict[str, Any]]):
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
    """Names to decide among; the whole pool when absent. The embedded predictor, as any for open pools, takes whatever
    names you use."""
    aliases: dict[str, Any] | None = None
    """`{name in the pool: the name here, or a Candidate with prices}`."""
    profiles: dict[str, str] | None = None
    """`{name in candidates: known name}`: whose profile a candidate starts from that nobody knows."""
    policy: Any = None
    """Scores to utilities; the router's own when absent."""
    quality: float | None = None
    """In place of a policy, the share of the best candidate's expected quality to keep, as cheaply as that allows."""
    prices: dict[str, Any] | None = None
    """`{name in candidates: dollars of a call}`, or `{name: (dollars per million prompt tokens, dollars per million
    response tokens)}`; those of the aliases or of what is known of the name where it is not there."""
    route_on: Any = Field(default=None, exclude=True, repr=False)
    """From the messages to the text to route on; the user's last question where it is absent or gives `None`.
    `config["configurable"]["lookahead_query"]` goes before it."""
    context_chars: int | None = Field(default=None, ge=0, strict=True)
    """Characters of earlier turns that go along with a question which cannot stand alone; 0 for none, and the core's
    own budget when absent."""
    routes: Any = Field(default=None, exclude=True, repr=False)
    """Kinds of requests in plain words with their candidates: `Routes`, fitted or not. Within the one that a request
    belongs to, the policy decides among its candidates."""
    privacy: Any = Field(default=None, exclude=True, repr=False)
    """`Privacy(local=[names])`: requests with personal data or secrets go to local candidates alone."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _made_of: ClassVar = (
        *("router", "candidates", "revision", "aliases", "profiles"),
        *("policy", "quality", "prices", "routes", "privacy"),
    )
    _make: ClassVar = Dispatcher
    _made_by: tuple[tuple, Dispatcher] | None = PrivateAttr(default=None)

    def __init__(self, router: Any = None, **fields: Any) -> None:
        """Takes the fields above; `router` may stand first.

        Raises:
            ConfigurationError: a value out of its domain.
            UnknownCandidateError: a candidate or an alias that the pool does not hold, or a profile of a name that is
                not known.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        check_route_on(fields.get("route_on"))
        with describing():
            super().__init__(router=router, **fields)
        _ = self._made

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
        record = self._made.plan(self._request(value, query_of(config), context_of(config))).record
        return {key: value for key, value in record.items() if key not in ("reason", "attempts", "excluded")}

    def _learnt(self, prompt: Any, candidate: str, score: float) -> "Router":
        dispatcher = self._made
        dispatcher.observe(self._request(prompt, None, ()).text, candidate, score)
        return dispatcher.base

    def _request(self, value: Any, query: str | None, context: Sequence[Any]) -> Request:
        """What is routed on."""
        route_on = self.route_on if query is None else lambda _: query
        return read_request(to_messages(value), context=context, route_on=route_on, context_chars=self.context_chars)

    def __deepcopy__(self, memo: dict | None = None) -> "LookaheadRouter":
        return self.model_copy()  # the weights are shared


def route_on_query(
    chain: Runnable[Any, Any], key: str | None = None, *, context: str | None = None
) -> Runnable[Any, Any]:
    """The chain, with every router in it deciding on the question alone.

    A retrieval chain writes documents and instructions into the prompt, which would move the decision.

    Args:
        chain: whatever leads to the router, such as `prompt | llm`.
        key: name of the question in the chain's input; the input itself is the question when absent.
        context: name of the retriever's documents there, or of their texts. A predictor that reads passages gets them;
            others count them.

    Raises:
        PromptError: at a call, an input without the question, or without the documents that are named.

    Example:
        ```python
        answer = route_on_query(prompt | llm | StrOutputParser(), "question", context="context")
        rag = RunnablePassthrough.assign(context=itemgetter("question") | retriever) | answer
        ```
    """

    def with_query(value: Any) -> Runnable[Any, Any]:
        query = value if key is None else value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(query, str):
            place = "the input" if key is None else f"{key!r} in the input"
            raise PromptError(f"expected the question as text as {place}, got {type(query).__name__}")
        known = {QUERY_KEY: query}
        if context is not None:
            if not isinstance(value, Mapping) or context not in value:
                raise PromptError(f"expected the retrieved documents as {context!r} in the input, got none")
            documents = value[context] or ()
            known[CONTEXT_KEY] = read_request(query, context=documents).passages
        return chain.with_config(configurable=known)

    return RunnableLambda(with_query, name="route_on_query")


__all__ = ["LookaheadRouter", "route_on_query"]
