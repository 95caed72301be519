"""`LookaheadRouterMiddleware`: chooses the model of an agent, per run or per model call."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from langchain_core.runnables.config import var_child_runnable_config
from lookahead_router import Attempts, Cooldowns
from lookahead_router.errors import ConfigurationError, NoAnswerError, PrivacyError
from lookahead_router.threads import off_loop

from langchain_lookahead_router._candidates import EXTRA_HINT, chat_models
from langchain_lookahead_router._messages import (
    CANDIDATE_KEY,
    POLICY_KEY,
    RECORD_KEY,
    RouteOn,
    check_route_on,
    context_of,
    is_no_answer,
    query_of,
    stamp,
)
from langchain_lookahead_router._planner import Fallbacks, Planner

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
        TracePolicy,
        omit_payload,
    )
    from langgraph.types import Command
except ImportError as error:
    raise ImportError(f"LookaheadRouterMiddleware needs langchain 1.4 or newer: {EXTRA_HINT}") from error

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from langgraph.runtime import Runtime
    from lookahead_router import Candidate, Privacy, Router, Routes


class _RouterState(AgentState):
    """The record in plain JSON, which any checkpointer can store."""

    lookahead_router: NotRequired[dict[str, Any] | None]


class LookaheadRouterMiddleware(AgentMiddleware[_RouterState]):
    """Has an agent's calls answered by the candidate that is predicted to answer best.

    Tools and response format are bound to the chosen model afterwards, so every candidate uses its own
    way of calling tools and of structured output. The routing record stands in the agent's state under
    `lookahead_router` and in the `response_metadata` of the messages. A run's
    `config["configurable"]["lookahead_candidate"]` names the candidate that answers all of it, and
    `lookahead_policy` there holds for it in place of the router's.

    Example:
        ```python
        router = LookaheadRouterMiddleware(candidates={"small": small, "large": large}, router=my_router)
        agent = create_agent(small, tools, middleware=[router])
        ```
    """

    state_schema = _RouterState
    trace_policy = TracePolicy(process_inputs=omit_payload)  # the model's own run shows the messages already

    def __init__(
        self,
        *,
        candidates: Mapping[str, Any],
        router: "Router | str | Path | None" = None,
        revision: str | None = None,
        aliases: "Mapping[str, str | Candidate] | None" = None,
        profiles: Mapping[str, str] | None = None,
        policy: Any = None,
        quality: float | None = None,
        prices: Mapping[str, Any] | None = None,
        default: str | None = None,
        fallbacks: Fallbacks = None,
        fallback_on: Callable[[Exception], bool] | None = None,
        cooldowns: Cooldowns | None = None,
        per: Literal["run", "call"] = "run",
        route_on: RouteOn = None,
        context_chars: int | None = None,
        sticky: Literal["adaptive"] | None = None,
        switch_gain: float | None = None,
        routes: "Routes | None" = None,
        privacy: "Privacy | None" = None,
    ) -> None:
        """Chooses among candidates.

        Args:
            candidates: chat models, or strings for `init_chat_model`, by name. The embedded predictor, as any for open
                pools, takes whatever names you use; another one must know them.
            router: a `Router`, a folder, a Hub id, or `None` for the embedded predictor. Locations are
                loaded here, once per process.
            revision: commit or tag of a Hub repository.
            aliases: `{name in the pool: the name in candidates, or a Candidate with prices}`.
            profiles: `{name in candidates: known name}`: whose profile a candidate starts from that nobody knows.
            policy: scores to utilities; the router's own when absent.
            quality: in place of a policy, the share of the best candidate's expected quality to keep, as cheaply as
                that allows.
            prices: `{name in candidates: dollars of a call}`, or `{name: (dollars per million prompt tokens, dollars
                per million response tokens)}`.
            default: answers when there is nothing to route on or the predictor fails; the agent's own
                model when absent.
            fallbacks: `"next-best"` asks the next candidate in the ranking when one fails.
            fallback_on: which exceptions are worth another candidate; goes before the core's rules.
            cooldowns: who is asked last for a while after failures; may be shared with other routers.
            per: `"run"` decides once, before the first model call of a run; `"call"` before every one.
            route_on: from the messages to the text to route on; the user's last question where it is absent or
                gives `None`. `lookahead_query` in the run's config goes before it.
            context_chars: characters, at least 0, of earlier turns that go along with a question which cannot stand
                alone; 0 for none, and the core's own budget when absent.
            sticky: `"adaptive"` stays with the candidate that answered in the history last, unless another one's
                predicted score is higher by more than `switch_gain`; a greeting holds nothing.
            switch_gain: score in [0, 1] that a switch must add; 0.02 when absent, and more, up to all of it, the
                likelier the question goes on with its topic.
            routes: kinds of requests in plain words with their candidates, fitted or not.
            privacy: which requests only local candidates may see. With it nothing is left to the agent's own model.

        Raises:
            ConfigurationError: a value out of its domain.
            UnknownCandidateError: `default` is none of the candidates, one of these is not in the router's pool and
                that is fixed, or a profile is of a name that is not known.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        super().__init__()
        if per not in ("run", "call"):
            raise ConfigurationError(f"per must be 'run' or 'call', not {per!r}")
        if context_chars is not None and (type(context_chars) is not int or context_chars < 0):
            raise ConfigurationError(f"context_chars must be a whole number, at least 0, not {context_chars!r}")
        if sticky not in ("adaptive", None):
            raise ConfigurationError(f"sticky must be 'adaptive' or None, not {sticky!r}; per= keeps a run together")
        check_route_on(route_on)
        self.per = per
        self._planner = Planner(
            candidates=chat_models(candidates),
            router=router,
            revision=revision,
            aliases=aliases,
            profiles=profiles,
            policy=policy,
            quality=quality,
            prices=prices,
            default=default,
            fallbacks=fallbacks,
            fallback_on=fallback_on,
            cooldowns=Cooldowns() if cooldowns is None else cooldowns,
            route_on=route_on,
            context_chars=context_chars,
            sticky=sticky,
            switch_gain=switch_gain,
            routes=routes,
            privacy=privacy,
        )

    def observe(self, prompt: Any, candidate: str, score: float) -> None:
        """Learns how good an answer was; runs that begin from now on know it. Safe under threads.

        Args:
            prompt: what was asked: text, messages, or the agent's state.
            candidate: who answered, as the routing record says.
            score: how good the answer was, in [0, 1].

        Raises:
            ConfigurationError: the predictor's pool is fixed.
            UnknownCandidateError: the name is no candidate.
            PromptError: the prompt cannot be routed.
            DataError: the score is no number in [0, 1].
        """
        self._planner.observe(prompt, candidate, score)

    @property
    def router(self) -> "Router":
        """The router over the candidates, with what it has learnt."""
        return self._planner.dispatcher.router

    def before_agent(self, state: _RouterState, runtime: "Runtime") -> dict[str, Any]:
        """Forgets the decision of the run before; it may have been kept with the thread."""
        return {RECORD_KEY: None}

    async def abefore_agent(self, state: _RouterState, runtime: "Runtime") -> dict[str, Any]:
        """Like `before_agent`."""
        return {RECORD_KEY: None}

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> Any:
        """Gives the call to the chosen candidate, and to the next where that fails."""
        attempts = self._attempts(request)
        if attempts is None:
            return handler(request)
        while True:
            try:
                response = handler(self._routed(request, attempts))
            except Exception as error:
                if not attempts.move_on(error):
                    raise
                continue
            if _is_taken(response, attempts):
                return _recorded(response, self._record(request, attempts))

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> Any:
        """Like `wrap_model_call`, with the prediction off the event loop."""
        attempts = await off_loop(self._attempts, request)
        if attempts is None:
            return await handler(request)
        while True:
            try:
                response = await handler(self._routed(request, attempts))
            except Exception as error:
                if not attempts.move_on(error):
                    raise
                continue
            if _is_taken(response, attempts):
                return _recorded(response, self._record(request, attempts))

    def _attempts(self, request: ModelRequest) -> Attempts | None:
        """The candidates for the call; `None` leaves it to the agent's own model."""
        decided, config = self._decided(request), _config()
        configurable = config.get("configurable") or {}
        needs = ["structured output"] if request.response_format and not request.tools else []
        try:
            return self._planner.plan(
                request.messages,
                query=query_of(config),
                context=context_of(config),
                needs=needs,
                tools=request.tools,
                keep=decided and decided["candidate"],
                forced=configurable.get(CANDIDATE_KEY),
                policy=configurable.get(POLICY_KEY),
            )
        except (ConfigurationError, PrivacyError):
            raise
        except Exception as error:
            if self.router.privacy is not None:  # nobody knows whether the agent's own model may see it
                raise
            logger.warning("the predictor failed with %s; the agent's own model answers", type(error).__name__)
            return None

    def _decided(self, request: ModelRequest) -> dict[str, Any] | None:
        """The record of this run's decision, where it holds for all of its calls."""
        return request.state.get(RECORD_KEY) if self.per == "run" else None

    def _record(self, request: ModelRequest, attempts: Attempts) -> dict[str, Any]:
        record, decided = attempts.record, self._decided(request)
        if not decided or record["reason"] != "sticky":
            return record
        # The run's decision still holds; the call adds who was asked.
        return {**decided, **{key: record[key] for key in ("candidate", "attempts", "cooling") if key in record}}

    def _routed(self, request: ModelRequest, attempts: Attempts) -> ModelRequest:
        messages = list(self._planner.portable(request.messages, attempts.name))
        return request.override(model=self._planner.candidates[attempts.name], messages=messages)


def _config() -> Mapping[str, Any]:
    """The config of the agent's run."""
    return var_child_runnable_config.get() or {}


def _is_taken(response: ModelResponse, attempts: Attempts) -> bool:
    """Whether the response is the call's: it holds something, or nobody else is to be asked."""
    if response.structured_response is None and all(map(is_no_answer, response.result)):
        return not attempts.move_on(NoAnswerError(attempts.name))
    attempts.answered()
    return True


def _recorded(response: ModelResponse, record: dict[str, Any]) -> ExtendedModelResponse:
    """The response with the record in its messages and in the agent's state."""
    stamped = replace(response, result=[stamp(message, record) for message in response.result])
    return ExtendedModelResponse(stamped, command=Command(update={RECORD_KEY: record}))
