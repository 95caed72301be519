"""`LookaheadRouterMiddleware`: chooses the model of an agent, per run or per model call."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NotRequired

from lookahead_router.errors import ConfigurationError, is_transient

from langchain_lookahead_router._candidates import EXTRA_HINT, chat_models
from langchain_lookahead_router._loading import check_source
from langchain_lookahead_router._messages import CONTEXT_CHARS, RECORD_KEY
from langchain_lookahead_router._planning import Attempts, Fallbacks, Plan, Planner, stamp
from langchain_lookahead_router._threads import off_loop

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
    from lookahead_router import Candidate, Router


class _RouterState(AgentState):
    """The record in plain JSON, which any checkpointer can store."""

    lookahead_router: NotRequired[dict[str, Any] | None]


class LookaheadRouterMiddleware(AgentMiddleware[_RouterState]):
    """Has an agent's calls answered by the candidate that is predicted to answer best.

    Tools and response format are bound to the chosen model afterwards, so every candidate uses its own
    way of calling tools and of structured output. The routing record stands in the agent's state under
    `lookahead_router` and in the `response_metadata` of the messages.

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
        policy: Any = None,
        default: str | None = None,
        fallbacks: Fallbacks = None,
        fallback_on: Callable[[Exception], bool] = is_transient,
        per: Literal["run", "call"] = "run",
        context_chars: int = CONTEXT_CHARS,
    ) -> None:
        """Chooses among candidates.

        Args:
            candidates: chat models, or strings for `init_chat_model`, by their names in the router's pool.
            router: a `Router`, a folder, a Hub id, or `None` for the embedded predictor. Locations are
                loaded at the first call.
            revision: commit or tag of a Hub repository.
            aliases: `{name in the pool: the name in candidates, or a Candidate with prices}`.
            policy: scores to utilities; the router's own when absent.
            default: answers when there is nothing to route on or the predictor fails; the agent's own
                model when absent.
            fallbacks: `"next-best"` asks the next candidate in the ranking when one fails.
            fallback_on: which exceptions are worth another candidate.
            per: `"run"` decides once, before the first model call of a run; `"call"` before every one.
            context_chars: characters, at least 0, of the conversation that are read at most.

        Raises:
            ConfigurationError: a value out of its domain.
            UnknownCandidateError: `default` is none of the candidates.
        """
        super().__init__()
        if per not in ("run", "call"):
            raise ConfigurationError(f"per must be 'run' or 'call', not {per!r}")
        if fallbacks not in ("next-best", None):
            raise ConfigurationError(f"fallbacks must be 'next-best' or None, not {fallbacks!r}")
        check_source(router, revision)
        self.per = per
        self._planner = Planner(
            candidates=chat_models(candidates),
            router=router,
            revision=revision,
            aliases=aliases,
            policy=policy,
            default=default,
            fallbacks=fallbacks,
            fallback_on=fallback_on,
            context_chars=context_chars,
        )
        if default is not None:
            self._planner.check_name(default)

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
            else:
                return _recorded(response, attempts.record)

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
            else:
                return _recorded(response, attempts.record)

    def _attempts(self, request: ModelRequest) -> Attempts | None:
        """The plan of the call; `None` leaves it to the agent's own model."""
        decided = request.state.get(RECORD_KEY) if self.per == "run" else None
        need = "tools" if request.tools else "structured output" if request.response_format else None
        try:
            attempts = self._planner.attempts(request.messages, need=need, keep=decided and decided["candidate"])
        except ConfigurationError:
            raise
        except Exception as error:
            logger.warning("the predictor failed with %s; the agent's own model answers", type(error).__name__)
            return None
        if attempts.plan.record["reason"] == "sticky":
            attempts.plan = Plan(attempts.plan.names, decided)  # this run's decision still holds
        return attempts

    def _routed(self, request: ModelRequest, attempts: Attempts) -> ModelRequest:
        messages = list(self._planner.portable(request.messages, attempts.name))
        return request.override(model=self._planner.candidates[attempts.name], messages=messages)


def _recorded(response: ModelResponse, record: dict[str, Any]) -> ExtendedModelResponse:
    """The response with the record in its messages and in the agent's state."""
    stamped = replace(response, result=[stamp(message, record) for message in response.result])
    return ExtendedModelResponse(stamped, command=Command(update={RECORD_KEY: record}))
