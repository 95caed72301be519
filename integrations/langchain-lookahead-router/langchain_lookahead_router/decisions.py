"""`LookaheadDecisionModel`: the router as a decision model of LangChain (langchain-core 1.8 or newer).

It answers `Choice` questions, so it can be the classifier of LangChain's own `ModelRouterMiddleware`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from langchain_core.messages import BaseMessage
from lookahead_router import Dispatcher, read_request
from lookahead_router.errors import ConfigurationError, PromptError, UnknownCandidateError, describing
from lookahead_router.threads import off_loop
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_lookahead_router._learning import MadeOfFields
from langchain_lookahead_router._messages import check_route_on

try:
    from langchain_core.decisions import BaseDecisionModel, Choice, ClassifierResponse, Question, State
except ImportError as error:
    raise ImportError(
        "LookaheadDecisionModel needs langchain-core 1.8 or newer; with an older one use LookaheadRouterMiddleware"
    ) from error


class LookaheadDecisionModel(MadeOfFields[Dispatcher], BaseDecisionModel):
    """Answers the question which of some labels a prompt should go to.

    A label is the name of a candidate, or its criteria name one: `{"candidate": "gpt-5-mini"}`.

    The `choice` is the router's decision. `probabilities` are the labels' predicted scores, made to sum to
    1, with 0 for whom the policy excludes, and `confidence` is the predicted score of the choice itself, in [0, 1].

    Example:
        ```python
        ModelRouterMiddleware(
            choices={"fast": ModelChoice(model=small, criteria={"candidate": "small"}), ...},
            instructions="Who answers best?",
            classifier=LookaheadDecisionModel(router=my_router),
        )
        ```
    """

    model: str = "lookahead-router"
    """The name that traces and responses show."""
    router: Any = Field(default=None, exclude=True, repr=False)
    """A `Router`, the folder or Hub id of a saved predictor, or `None` for the embedded one. Locations are
    loaded when this is built, once per process."""
    revision: str | None = None
    """Commit or tag of a Hub repository."""
    candidates: list[str] | None = None
    """Names that labels may stand for; the router's pool when absent. The embedded predictor, as any for open pools,
    takes whatever names you use."""
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
    """From the state to the text to route on; what the state holds of a conversation where it is absent or gives
    `None`."""
    context_chars: int | None = Field(default=None, ge=0, strict=True)
    """Characters of earlier turns that go along with a question which cannot stand alone; 0 for none, and the core's
    own budget when absent."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    _made_of: ClassVar = ("router", "candidates", "revision", "profiles", "policy", "quality", "prices")
    _make: ClassVar = Dispatcher
    _made_by: tuple[tuple, Dispatcher] | None = PrivateAttr(default=None)

    def __init__(self, **fields: Any) -> None:
        """Takes the fields above.

        Raises:
            ConfigurationError: a value out of its domain.
            UnknownCandidateError: a candidate that the pool does not hold, or a profile of a name that is not known.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        check_route_on(fields.get("route_on"))
        with describing():
            super().__init__(**fields)
        _ = self._made

    @property
    def _provider(self) -> str:
        return "lookahead_router"

    def _classify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        text = self.route_on(state) if self.route_on else None
        if text is None:
            text = _state_text(state, self.context_chars)
        answers = {name: self._answer(name, question, text) for name, question in questions.items()}
        return ClassifierResponse(model=self.model, answers=answers)

    async def _aclassify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        return await off_loop(self._classify, state, questions)

    def _answer(self, name: str, question: Question, text: str) -> dict[str, Any]:
        if not isinstance(question, Choice):
            raise ConfigurationError(
                f"question {name!r} is a {type(question).__name__}; the router answers Choice only"
            )
        router = self._made.router
        labels = {
            _candidate(label, criteria, router.pool.names): label for label, criteria in question.criteria.items()
        }
        if len(labels) < len(question.criteria):
            raise ConfigurationError(f"question {name!r}: two labels stand for the same candidate")
        decision = router.restrict_to(labels).route(text)
        admitted = [candidate for candidate in labels if candidate in decision.utilities]
        scores = {labels[candidate]: decision.scores[candidate] for candidate in admitted}
        total = sum(scores.values())
        return {
            "type": "choice",
            "choice": labels[decision.name],
            "probabilities": dict.fromkeys(labels.values(), 0.0)
            | {label: score / total if total > 0 else 1 / len(scores) for label, score in scores.items()},
            "confidence": min(1.0, max(0.0, decision.scores[decision.name])),
        }

    def __deepcopy__(self, memo: dict | None = None) -> "LookaheadDecisionModel":
        return self.model_copy()  # the weights are shared


def _candidate(label: str, criteria: Any, known: Sequence[str]) -> str:
    name = criteria["candidate"] if isinstance(criteria, Mapping) and "candidate" in criteria else label
    if name not in known:
        raise UnknownCandidateError(name, known, hint="Name every label's candidate in candidates=.")
    return name


def _state_text(state: Any, context_chars: int | None) -> str:
    """The conversation inside the state, or its strings where it holds none."""
    messages = list(_leaves(state, BaseMessage))
    if messages:
        text = read_request(messages, context_chars=context_chars, allow_empty=True).text
        if text:
            return text
    texts = [str(message.text) for message in messages] or list(_leaves(state, str))
    text = "\n".join(texts).strip()
    if not text:
        raise PromptError("the state holds no text to route on")
    return text


def _leaves(state: Any, kind: type) -> Iterator[Any]:
    if isinstance(state, kind):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _leaves(value, kind)
    elif isinstance(state, Sequence) and not isinstance(state, str | bytes):
        for value in state:
            yield from _leaves(value, kind)


__all__ = ["LookaheadDecisionModel"]
