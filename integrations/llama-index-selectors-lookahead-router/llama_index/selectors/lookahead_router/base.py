"""`LookaheadSelector`: picks the tool whose LLM will answer the query best."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.schema import QueryBundle
from llama_index.core.tools.types import ToolMetadata

from llama_index.selectors.lookahead_router.choices import Choices, Group
from llama_index.selectors.lookahead_router.events import LookaheadSelectionEvent, sha256
from llama_index.selectors.lookahead_router.result import LookaheadSelectorResult, NoSuitableChoiceError, best_of
from lookahead_router import Decision, Dispatcher, Router
from lookahead_router.errors import ConfigurationError, LookaheadRouterWarning
from lookahead_router.threads import off_loop

dispatcher = get_dispatcher(__name__)


@dataclass(frozen=True)
class _Verdict:
    """What the router says of a group."""

    group: Group
    decision: Decision | None
    """`None` for a lone tool that stands for no candidate."""
    likely: tuple[str, ...]
    """Those that are likely enough, best first."""


class LookaheadSelector(BaseSelector):
    """Selects among tools that are served by different candidates of a router.

    Each choice stands for one candidate. It is recognised by its name or, failing that, by its
    description: either a key of `candidates` or a candidate's own name. The router decides among the
    candidates of the choices only, on the query alone.

    The router knows LLMs, not data. Where tools hold different data, another selector chooses by their
    descriptions first (`by_description`), and the router among the tools that share the one it took.

    Safe under threads. Selecting asynchronously runs the predictor off the event loop.

    Example:
        ```python
        selector = LookaheadSelector(router, candidates={"guide_fast": "chat-8b", "guide_code": "coder-7b"})
        engine = RouterQueryEngine(selector=selector, query_engine_tools=tools)
        ```
    """

    def __init__(
        self,
        router: Router | str | Path | None = None,
        *,
        candidates: Mapping[str, str] | None = None,
        profiles: Mapping[str, str] | None = None,
        by_description: BaseSelector | None = None,
        max_selections: int = 1,
        min_probability: float | None = None,
        default: str | None = None,
        route_on: Callable[[QueryBundle], str | None] | None = None,
    ) -> None:
        """Joins a router and the tools' names.

        Args:
            router: a `Router`, the folder of a saved predictor, or a Hub id; the embedded predictor when absent.
            candidates: `{tool name: candidate name}`; tools that are left out go by their own name. The embedded
                predictor, as any for open pools, takes whatever candidates are named here; another one must know
                them.
            profiles: `{candidate name: known name}`: whose profile a candidate starts from that nobody knows.
            by_description: a selector, such as `EmbeddingSingleSelector`, that chooses among the tools'
                different descriptions; the router then decides among the tools of the chosen one. A tool
                whose description no other shares needs no candidate, and tools of different descriptions
                may stand for the same one.
            max_selections: how many choices at most, of each chosen description, >= 1; best first.
            min_probability: in [0, 1]; choices whose answer is less likely to be good are left out. It does not
                order the others: those still come by utility, which tells candidates apart better. Needs a
                calibrated predictor.
            default: name of the tool to take when no choice reaches `min_probability`; it need not stand for
                a candidate. `NoSuitableChoiceError` when absent.
            route_on: a function from the query to the text that is routed; the query itself when absent, and where
                the function gives `None`.

        Raises:
            ConfigurationError: an option outside its domain, or `default` without `min_probability`.
            UnknownCandidateError: `candidates` names one that is not in the router's pool where that is fixed, or a
                profile is of a name that is not known.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        if isinstance(max_selections, bool) or not isinstance(max_selections, int) or max_selections < 1:
            raise ConfigurationError(f"max_selections must be a whole number >= 1, got {max_selections!r}")
        if min_probability is not None and not _is_probability(min_probability):
            raise ConfigurationError(f"min_probability must be a number in [0, 1], got {min_probability!r}")
        if default is not None and min_probability is None:
            raise ConfigurationError("a default tool is only taken below min_probability; set min_probability too")
        if by_description is not None and not isinstance(by_description, BaseSelector):
            raise ConfigurationError(f"by_description must be a selector, got {type(by_description).__name__}")
        if route_on is not None and not callable(route_on):
            raise ConfigurationError(f"route_on must be a function of the query, got {type(route_on).__name__}")
        if candidates is not None and not isinstance(candidates, Mapping):
            raise ConfigurationError(f"candidates must be a mapping of names to names, got {type(candidates).__name__}")
        if wrong := [each for each in (candidates or {}).values() if not isinstance(each, str)]:
            raise ConfigurationError(f"candidates must be named by strings, got {type(wrong[0]).__name__}")
        self.candidates = dict(candidates or {})
        self.router = _load(router, self.candidates.values(), profiles)
        self.by_description = by_description
        self.max_selections = max_selections
        self.min_probability = min_probability
        self.default = default
        self.route_on = route_on
        self._has_warned = False

    def _select(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> LookaheadSelectorResult:
        """The selection for one query.

        Raises:
            ConfigurationError: no choices, or choices that nothing tells apart.
            NoSuitableChoiceError: none is likely enough, and there is no default tool.
            PromptError: an empty query.
        """
        known = self._read(choices)
        if self.by_description is None:
            groups = known.groups
        else:
            groups = _selected(known, self.by_description.select(_spokesmen(known), query))
        return self._result(known, *self._judge(groups, query))

    async def _aselect(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> LookaheadSelectorResult:
        known = self._read(choices)
        if self.by_description is None:
            groups = known.groups
        else:
            groups = _selected(known, await self.by_description.aselect(_spokesmen(known), query))
        return self._result(known, *await off_loop(self._judge, groups, query))

    def _read(self, choices: Sequence[ToolMetadata]) -> Choices:
        by_description = self.by_description is not None
        known = Choices(
            choices, self.candidates, self.router.pool.names, default=self.default, by_description=by_description
        )
        if not by_description and not known.have_one_description and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                "the tools' descriptions differ and play no part: the router chooses among LLMs, not among data. If "
                "the tools hold different data, choose by description, with by_description=; if they differ by LLM "
                "only, give them one description (said once)",
                LookaheadRouterWarning,
                stacklevel=2,
            )
        return known

    def _judge(self, groups: Sequence[Group], query: QueryBundle) -> tuple[list[_Verdict], str]:
        text = self._text(query)
        return [self._verdict(group, text) for group in groups], text

    def _text(self, query: QueryBundle) -> str:
        given = None if self.route_on is None else self.route_on(query)
        if given is not None and not isinstance(given, str):
            raise ConfigurationError(
                f"route_on must give the text to route on, or None; it gave {type(given).__name__}"
            )
        return query.query_str if given is None else given

    def _verdict(self, group: Group, text: str) -> _Verdict:
        if group.lone is not None:
            return _Verdict(group, None, ())
        decision = self.router.restrict_to(group.indices).route(text)
        if self.min_probability is None:
            return _Verdict(group, decision, decision.ranking)
        probabilities = decision.probabilities
        if probabilities is None:
            raise ConfigurationError("min_probability needs a calibrated predictor; this one predicts scores only")
        likely = tuple(name for name in decision.ranking if probabilities[name] >= self.min_probability)
        return _Verdict(group, decision, likely)

    def _result(self, known: Choices, verdicts: Sequence[_Verdict], text: str) -> LookaheadSelectorResult:
        selected = [each for verdict in verdicts for each in self._selections(verdict)]
        decisions = [verdict.decision for verdict in verdicts if verdict.decision is not None]
        scores = _united(decision.scores for decision in decisions)
        thresholded = self.min_probability is not None
        probabilities = _united(decision.probabilities for decision in decisions) if thresholded else None
        is_default = not selected
        if is_default:
            if self.default is None:
                raise NoSuitableChoiceError(probabilities, self.min_probability)
            index = known.labels.index(self.default)
            reason = f"default tool: no candidate reaches {self.min_probability:g}; {best_of(probabilities)}"
            selected = [(known.names[index], SingleSelection(index=index, reason=reason))]
        names = [name for name, _ in selected]
        predictor = self.router.predictor
        dispatcher.event(
            LookaheadSelectionEvent(
                candidates=names,
                scores=scores,
                predictor=predictor.name,
                revision=predictor.revision,
                prompt_sha256=sha256(text),
            )
        )
        return LookaheadSelectorResult(
            selections=[selection for _, selection in selected],
            candidate_names=names,
            scores=scores,
            probabilities=probabilities,
            is_default=is_default,
            predictor=predictor.name,
            revision=predictor.revision,
        )

    def _selections(self, verdict: _Verdict) -> list[tuple[str | None, SingleSelection]]:
        if verdict.decision is None:
            return [(None, SingleSelection(index=verdict.group.lone, reason="the only tool of its description"))]
        return [
            (name, SingleSelection(index=verdict.group.indices[name], reason=self._reason(name, verdict.decision)))
            for name in verdict.likely[: self.max_selections]
        ]

    def _reason(self, name: str, decision: Decision) -> str:
        place = f"{name!r} ranks {decision.ranking.index(name) + 1} of {len(decision.ranking)} candidates"
        chance = ""
        if self.min_probability is not None:
            chance = f" and probability {decision.probabilities[name]:.3f} of a good answer"
        return f"{place} with predicted score {decision.scores[name]:.3f}{chance}"

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        """There are none: nothing is asked of an LLM."""


def _load(router: Router | str | Path | None, names: Iterable[str], profiles: Mapping[str, str] | None) -> Router:
    """The router with the named candidates; the others of its pool may be tools' own names."""
    return Dispatcher(router, [*names] or None, profiles=profiles).base


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _spokesmen(known: Choices) -> list[ToolMetadata]:
    return [known.tools[group.first] for group in known.groups]


def _selected(known: Choices, result: SelectorResult) -> list[Group]:
    return [known.groups[index] for index in result.inds]


def _united(mappings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    return {name: value for mapping in mappings for name, value in mapping.items()}
