"""`LookaheadSelector`: picks the tool whose LLM will answer the query best."""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.base_selector import BaseSelector, SingleSelection
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools.types import ToolMetadata

from llama_index.selectors.lookahead_router.choices import contenders, label_of
from llama_index.selectors.lookahead_router.result import LookaheadSelectorResult, NoSuitableChoiceError, best_of
from llama_index.selectors.lookahead_router.routing import LookaheadRoutingEvent, RouterLike, load_router
from lookahead_router import Decision
from lookahead_router.errors import ConfigurationError, UnknownCandidateError

dispatcher = get_dispatcher(__name__)

Context = BaseRetriever | Callable[[QueryBundle], str]
"""Where the text that goes before the query comes from."""


class LookaheadSelector(BaseSelector):
    """Selects among tools that are served by different candidates of a router.

    Each choice stands for one candidate. It is recognised by its name or, failing that, by its
    description: either a key of `candidates` or a candidate's own name. If no choice has a name and none
    is recognised, they stand for candidates in order: those of `candidates`, else those of the router's
    pool, and there must be as many. The router decides among the candidates of the choices only.

    Safe under threads. Selecting asynchronously runs the predictor off the event loop.

    Example:
        selector = LookaheadSelector(router, candidates={"python_docs": "coder-7b", "faq": "chat-8b"})
        engine = RouterQueryEngine(selector=selector, query_engine_tools=tools)
    """

    def __init__(
        self,
        router: RouterLike = None,
        *,
        candidates: Mapping[str, str] | None = None,
        max_selections: int = 1,
        min_probability: float | None = None,
        default: str | None = None,
        context: Context | None = None,
    ) -> None:
        """Joins a router and the tools' names.

        Args:
            router: a `Router`, the folder of a saved predictor, or a Hub id; the embedded predictor when absent.
            candidates: `{tool name: candidate name}`; tools that are left out go by their own name.
            max_selections: how many choices at most, >= 1; they come in the order of their utility.
            min_probability: in [0, 1]; choices whose answer is less likely to be good are left out. Needs
                a calibrated predictor.
            default: name of the tool to take when no choice reaches `min_probability`; it need not stand for
                a candidate. `NoSuitableChoiceError` when absent.
            context: a retriever, or a function from the query to text. What it finds is routed together
                with the query, for tools whose LLM sees it too.

        Raises:
            ConfigurationError: an option outside its domain, or `default` without `min_probability`.
            UnknownCandidateError: `candidates` names one that is not in the router's pool.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        if not isinstance(max_selections, int) or max_selections < 1:
            raise ConfigurationError(f"max_selections must be a whole number >= 1, got {max_selections!r}")
        if min_probability is not None and not 0 <= min_probability <= 1:
            raise ConfigurationError(f"min_probability must lie in [0, 1], got {min_probability!r}")
        if default is not None and min_probability is None:
            raise ConfigurationError("a default tool is only taken below min_probability; set min_probability too")
        if context is not None and not isinstance(context, BaseRetriever) and not callable(context):
            raise ConfigurationError(f"context must be a retriever or a function, got {type(context).__name__}")
        self.router = load_router(router)
        self.candidates = dict(candidates or {})
        self.max_selections = max_selections
        self.min_probability = min_probability
        self.default = default
        self.context = context
        for name in self.candidates.values():
            if name not in self.router.pool.names:
                raise UnknownCandidateError(name, self.router.pool.names)

    def _select(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> LookaheadSelectorResult:
        """The selection for one query.

        Raises:
            ConfigurationError: choices that are none, stand for no candidate, or share one.
            NoSuitableChoiceError: none is likely enough, and there is no default tool.
            PromptError: an empty query.
        """
        indices = self._indices(choices)
        prompt = self._prompt(query)
        decision, probabilities = self._decide(indices, prompt)
        return self._result(choices, indices, prompt, decision, probabilities)

    async def _aselect(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> LookaheadSelectorResult:
        indices = self._indices(choices)
        prompt = await self._aprompt(query)
        decision, probabilities = await asyncio.to_thread(self._decide, indices, prompt)
        return self._result(choices, indices, prompt, decision, probabilities)

    def _indices(self, choices: Sequence[ToolMetadata]) -> dict[str, int]:
        return contenders(choices, self.candidates, self.router.pool.names, self.default)

    def _prompt(self, query: QueryBundle) -> str:
        if isinstance(self.context, BaseRetriever):
            return _joined(self.context.retrieve(_copy(query)), query)
        return _joined(self.context(_copy(query)) if self.context else "", query)

    async def _aprompt(self, query: QueryBundle) -> str:
        if isinstance(self.context, BaseRetriever):
            return _joined(await self.context.aretrieve(_copy(query)), query)
        return await asyncio.to_thread(self._prompt, query) if self.context else query.query_str

    def _decide(self, indices: Mapping[str, int], prompt: str) -> tuple[Decision, dict[str, float] | None]:
        router = self.router.restrict_to(indices)
        decision = router.route(prompt)
        if self.min_probability is None:
            return decision, None
        if decision.probabilities is None:
            raise ConfigurationError("min_probability needs a calibrated predictor; this one predicts scores only")
        return decision, decision.probabilities

    def _result(
        self,
        choices: Sequence[ToolMetadata],
        indices: Mapping[str, int],
        prompt: str,
        decision: Decision,
        probabilities: dict[str, float] | None,
    ) -> LookaheadSelectorResult:
        dispatcher.event(LookaheadRoutingEvent.of(decision, prompt))
        likely = [n for n in decision.ranking if probabilities is None or probabilities[n] >= self.min_probability]
        selected = likely[: self.max_selections]
        selections = [SingleSelection(index=indices[n], reason=_reason(n, decision, probabilities)) for n in selected]
        if not selected:
            index = self._default_index(choices, probabilities)
            selected = [name for name in indices if indices[name] == index] or [None]
            reason = f"default tool: no candidate reaches {self.min_probability:g}; {best_of(probabilities)}"
            selections = [SingleSelection(index=index, reason=reason)]
        return LookaheadSelectorResult(
            selections=selections,
            candidate_names=selected,
            scores=decision.scores,
            probabilities=probabilities,
            is_default=not likely,
            predictor=decision.predictor,
            revision=decision.revision,
        )

    def _default_index(self, choices: Sequence[ToolMetadata], probabilities: Mapping[str, float]) -> int:
        if self.default is None:
            raise NoSuitableChoiceError(probabilities, self.min_probability)
        return [label_of(choice) for choice in choices].index(self.default)

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        """There are none: nothing is asked of an LLM."""


# The SQL query engines assert one of LlamaIndex's own single selectors, of which they only call `select`.
LLMSingleSelector.register(LookaheadSelector)


def _copy(query: QueryBundle) -> QueryBundle:
    """Retrievers leave their embedding in the query, which an engine with another embedding would take."""
    return dataclasses.replace(query)


def _joined(context: str | Sequence[NodeWithScore], query: QueryBundle) -> str:
    """The query last: of a text beyond the window, predictors keep the end."""
    text = context if isinstance(context, str) else "\n\n".join(node.get_content() for node in context)
    return f"{text}\n\n{query.query_str}" if text else query.query_str


def _reason(name: str, decision: Decision, probabilities: Mapping[str, float] | None) -> str:
    place = f"{name!r} ranks {decision.ranking.index(name) + 1} of {len(decision.ranking)} candidates"
    chance = "" if probabilities is None else f" and probability {probabilities[name]:.3f} of a good answer"
    return f"{place} with predicted score {decision.scores[name]:.3f}{chance}"
