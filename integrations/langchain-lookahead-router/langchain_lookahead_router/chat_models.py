"""`ChatLookaheadRouter`: a chat model that hands each call to the candidate that will answer it best.

Calls are handed over at the public methods, so that there is one run of one chat model per answer: tokens
are counted and streamed once, and callbacks, caches and tools are those of the candidate.
"""

import asyncio
import dataclasses
import difflib
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.callbacks import Callbacks
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatResult, LLMResult
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from lookahead_router import Cooldowns, RecentThreads
from lookahead_router.errors import ConfigurationError, LookaheadRouterWarning, describing
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from langchain_lookahead_router._calls import Call, Step, acomplete, astream, complete, stream
from langchain_lookahead_router._candidates import SchemaBinding, ToolBinding, chat_models
from langchain_lookahead_router._capabilities import shared_profile
from langchain_lookahead_router._learning import Learner, MadeOfFields
from langchain_lookahead_router._messages import CANDIDATE_KEY, POLICY_KEY, QUERY_KEY, check_route_on
from langchain_lookahead_router._planner import Fallbacks, Planner, Sticky

if TYPE_CHECKING:
    from lookahead_router import Router

_BINDING = "lookahead_binding"

# What chat models are often built with. Code that treats models alike passes them, so they are no error.
_GENERATION_OPTIONS = frozenset(
    {
        *("api_key", "base_url", "max_retries", "timeout"),
        *("max_completion_tokens", "max_tokens", "n", "stop", "temperature", "top_k", "top_p"),
        *("stream_usage", "streaming"),
    }
)
# These shape what callers see, so the router's setting is passed on. Caches and limits belong to a provider.
_FORWARDED = ("output_version", "disable_streaming")
_CANDIDATES_OWN = ("cache", "rate_limiter")


class ChatLookaheadRouter(Learner, MadeOfFields[Planner], BaseChatModel):
    """A chat model made of several, which answers each call with the one predicted to answer best.

    Example:
        ```python
        llm = ChatLookaheadRouter(
            candidates={"small": ChatOpenAI(model="gpt-5-mini"), "large": "anthropic:claude-opus-5"},
            router="org/my-predictor",
            default="small",
            fallbacks="next-best",
        )
        message = llm.invoke("Prove that the square root of 2 is irrational.")
        message.response_metadata["lookahead_router"]["candidate"]
        ```

    A call goes, in this order, to the candidate named by `model=` in the call, by
    `config["configurable"]["lookahead_candidate"]` or by the field `candidate`; to the one that `sticky`
    keeps; to the one that the router decides for, among those that can take the request (tools, media,
    length); and to `default` if the predictor fails.

    The routing record stands in `response_metadata["lookahead_router"]` of the answer and in the metadata
    of the candidate's run: plain JSON, without the prompt.
    """

    candidates: dict[str, Any] = Field(exclude=True, repr=False)
    """Chat models, or strings for `init_chat_model`, by name. The embedded predictor, as any for open pools, takes
    whatever names you use; another one must know them."""
    router: Any = Field(default=None, exclude=True, repr=False)
    """A `Router`, the folder or Hub id of a saved predictor, or `None` for the embedded one. Locations are
    loaded when the model is built, once per process."""
    revision: str | None = None
    """Commit or tag of a Hub repository."""
    aliases: dict[str, Any] | None = None
    """`{name in the pool: the name in candidates, or a Candidate with prices}`."""
    profiles: dict[str, str] | None = None
    """`{name in candidates: known name}`: whose profile a candidate starts from that nobody knows."""
    policy: Any = None
    """Scores to utilities; the router's own when absent."""
    quality: float | None = None
    """In place of a policy, the share of the best candidate's expected quality to keep, as cheaply as that allows."""
    prices: dict[str, Any] | None = None
    """`{name in candidates: dollars of a call}`, or `{name: (dollars per million prompt tokens, dollars per million
    response tokens)}`; those of the aliases or of what is known of the name where it is not there."""
    default: str | None = None
    """Answers when the predictor fails, or there is nothing to route on; without it the failure is raised."""
    fallbacks: Fallbacks = None
    """`"next-best"`: where a candidate fails before it has shown anything, the next of the decision's ranking
    is asked, by the core's rule for the class of failure. A forced candidate has no fallback."""
    fallback_on: Any = Field(default=None, exclude=True, repr=False)
    """Which exceptions are worth another candidate: a function to bool, which goes before the rules."""
    cooldowns: Any = Field(default_factory=Cooldowns, exclude=True, repr=False)
    """Who is asked last for a while after failures, with `fallbacks`; may be shared by several routers."""
    sticky: Sticky = None
    """`"turn"` stays with the candidate that has answered since the last human message, as in a tool loop.
    `"thread"` stays with the one that answered last in the history or, where no message there has a
    record, in the thread of `config["configurable"]["thread_id"]`. `"adaptive"` stays with a turn's candidate
    as `"turn"` does, and with a conversation's unless another one's predicted score is higher by more than
    `switch_gain`; a greeting holds nothing."""
    switch_gain: float | None = None
    """Predicted score in [0, 1] that another candidate must add, for `sticky="adaptive"`; 0.02 when absent, and more,
    up to all of it, the likelier the question goes on with its topic."""
    threads: Any = Field(default_factory=RecentThreads, exclude=True, repr=False)
    """Candidate by thread id, a mutable mapping; by default in memory, the 10,000 threads used last."""
    candidate: str | None = None
    """Answers every call, without a prediction; meant for `configurable_fields`."""
    route_on: Any = Field(default=None, exclude=True, repr=False)
    """From the messages to the text to route on, where that is not the user's last question: a function that
    gives `None` where the question will do. `config["configurable"]["lookahead_query"]` goes before it."""
    context_chars: int | None = Field(default=None, ge=0, strict=True)
    """Characters of earlier turns that go along with a question which cannot stand alone; 0 for none, and the core's
    own budget when absent."""
    routes: Any = Field(default=None, exclude=True, repr=False)
    """Kinds of requests in plain words with their candidates: `Routes`, fitted or not. Within the one that a request
    belongs to, the policy decides among its candidates."""
    privacy: Any = Field(default=None, exclude=True, repr=False)
    """`Privacy(local=[names])`: requests with personal data or secrets go to local candidates alone."""

    cascade: Any = Field(default=None, exclude=True, repr=False)
    """A `Cascade`: looks at the answers of routed calls without tools, and asks another candidate where that is worth
    its price. A stream shows the accepted answer, so that it may begin only when that is whole."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    _made_of: ClassVar = tuple(field.name for field in dataclasses.fields(Planner))
    _make: ClassVar = Planner
    _made_by: tuple[tuple, Planner] | None = PrivateAttr(default=None)

    def __init__(self, **fields: Any) -> None:
        """Takes the fields above, and those of every chat model but `cache` and `rate_limiter`.

        Generation options such as `temperature` warn: they are set on the candidates.

        Raises:
            ConfigurationError: an unknown field, or a value out of its domain.
            UnknownCandidateError: `default` or `candidate` is none of the candidates, a candidate is not in the
                router's pool and that is fixed, or a profile is of a name that is not known.
            CheckpointError, HubError: there is nothing to load at the router's location.
        """
        _check_names(fields, type(self).model_fields)
        check_route_on(fields.get("route_on"))
        fields["candidates"] = chat_models(fields.get("candidates"))
        with describing():
            super().__init__(**fields)
        dispatcher = self._made.dispatcher
        if self.candidate is not None:
            dispatcher.check_name(self.candidate)

    @model_validator(mode="after")
    def _forward_settings(self) -> "ChatLookaheadRouter":
        settings = {name: value for name in _FORWARDED if (value := getattr(self, name))}
        if settings:
            self.candidates = {name: model.model_copy(update=settings) for name, model in self.candidates.items()}
        return self

    def _resolve_model_profile(self) -> Any:
        return shared_profile(self.candidates.values())

    # Calls

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """The chosen candidate's answer; with `model="name"`, that candidate's.

        Raises:
            UnknownCandidateError: `model` is none of the candidates.
            PromptError: nothing to route on, and no `default`.
            ConfigurationError: no candidate can take the request.
            Exception: a candidate's own, where no other was to be asked; notes say who had failed before.
        """
        call = self._call(input, config, stop, kwargs)
        return complete(call, lambda step: step.target.invoke(step.messages, step.config, **call.kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Like `invoke`, with the prediction off the event loop."""
        call = self._call(input, config, stop, kwargs)
        return await acomplete(call, lambda step: step.target.ainvoke(step.messages, step.config, **call.kwargs))

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """The chunks of the accepted answer; the first one carries the routing record."""
        yield from stream(self._call(input, config, stop, kwargs))

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Like `stream`, with the prediction off the event loop."""
        chunks = astream(self._call(input, config, stop, kwargs))
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: str = "v2",
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """For `version="v3"` the chosen candidate's own stream, which has no fallback; else as in LangChain."""
        if version != "v3":
            return super().stream_events(input, config, version=version, stop=stop, **kwargs)
        call = self._call(input, config, stop, kwargs)
        with call.run() as run:
            attempts = call.plan()
            step = call.step(attempts, run)
            run.on_chain_end(attempts.record)
        return step.target.stream_events(step.messages, step.config, version="v3", **call.kwargs)

    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: str = "v2",
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """For `version="v3"` an awaitable of the chosen candidate's own stream; else as in LangChain."""
        if version != "v3":
            return super().astream_events(input, config, version=version, stop=stop, **kwargs)
        return self._astream_events_v3(self._call(input, config, stop, kwargs))

    async def _astream_events_v3(self, call: Call) -> Any:
        async with call.arun() as run:
            attempts = await call.aplan()
            step = call.step(attempts, run)
            await run.on_chain_end(attempts.record)
        return await step.target.astream_events(step.messages, step.config, version="v3", **call.kwargs)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """The chosen candidates' results, one conversation after the other."""
        calls = self._generate_calls(messages, stop, callbacks, kwargs)
        return _joined([complete(call, lambda step, call=call: _generate(step, call)) for call in calls])

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Like `generate`, all conversations at once."""
        calls = self._generate_calls(messages, stop, callbacks, kwargs)
        return _joined(
            await asyncio.gather(*(acomplete(call, lambda step, call=call: _agenerate(step, call)) for call in calls))
        )

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("the router hands calls over before generation; call invoke, stream or generate")

    def _call(self, input: Any, config: RunnableConfig | None, stop: Any, kwargs: dict[str, Any]) -> Call:
        return self._make_call(input, self._convert_input(input).to_messages(), ensure_config(config), stop, kwargs)

    def _generate_calls(self, conversations: Any, stop: Any, callbacks: Callbacks, kwargs: dict) -> list[Call]:
        names = {"tags": [], "metadata": {}, "run_name": None, "run_id": None}
        config = {"callbacks": callbacks, **{name: kwargs.pop(name, None) or empty for name, empty in names.items()}}
        calls = []
        for messages in conversations:
            calls.append(self._make_call(messages, messages, RunnableConfig(**config), stop, kwargs))
            config["run_id"] = None  # it can name one run only
        return calls

    def _make_call(
        self, input: Any, messages: list[BaseMessage], config: RunnableConfig, stop: Any, kwargs: dict
    ) -> Call:
        kwargs = dict(kwargs)
        binding, forced = kwargs.pop(_BINDING, None), kwargs.pop("model", None)
        configurable = config.get("configurable") or {}
        if stop is not None:  # chains behind a structured output know no `stop`
            kwargs["stop"] = stop
        return Call(
            llm=self,
            planner=self._made,
            input=input,
            messages=messages,
            config=config,
            kwargs=kwargs,
            binding=binding,
            forced=next((name for name in (forced, configurable.get(CANDIDATE_KEY), self.candidate) if name), None),
            policy=configurable.get(POLICY_KEY),
        )

    def _learnt(self, prompt: LanguageModelInput, candidate: str, score: float) -> "Router":
        planner = self._made
        planner.observe(prompt, candidate, score)
        return planner.dispatcher.base

    # Bindings. Return annotations are resolved at runtime, so that they work through `with_fallbacks`.

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The router with tools, which are bound to whichever candidate is chosen.

        Args:
            tools: whatever the candidates' own `bind_tools` takes.
            tool_choice: the tool to call; passed on where it is set.
            **kwargs: passed on.
        """
        return self.bind(**{_BINDING: ToolBinding(tools, tool_choice, kwargs)})

    def with_structured_output(
        self, schema: dict[str, Any] | type, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """The router with answers of a schema, by whichever method the chosen candidate has for it.

        Args:
            schema: whatever the candidates' own `with_structured_output` takes.
            **kwargs: passed on; `include_raw=True` also gives the message, with the routing record.
        """
        output_type = schema if isinstance(schema, type) and not kwargs.get("include_raw") else dict
        binding = {_BINDING: SchemaBinding(schema, kwargs)}
        return RunnableBinding(bound=self, kwargs=binding, config={}, custom_output_type=output_type)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What `config["configurable"]` is read for."""
        return [
            ConfigurableFieldSpec(
                id=CANDIDATE_KEY,
                annotation=str | None,
                name="Candidate",
                description="Name of the candidate that answers, without a prediction.",
                default=None,
            ),
            ConfigurableFieldSpec(
                id=POLICY_KEY,
                annotation=Any,
                name="Policy",
                description="Rule from predicted scores to utilities.",
                default=None,
            ),
            ConfigurableFieldSpec(
                id=QUERY_KEY,
                annotation=str | None,
                name="Query",
                description="What to route on, where the messages hold more than the question.",
                default=None,
            ),
        ]

    # What others see of the router

    def get_num_tokens(self, text: str) -> int:
        """The most tokens that a candidate counts."""
        return max(model.get_num_tokens(text) for model in self.candidates.values())

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence | None = None) -> int:
        """The most tokens that a candidate counts."""
        models = self.candidates.values()
        return max(model.get_num_tokens_from_messages(messages, tools=tools) for model in models)

    @property
    def _llm_type(self) -> str:
        return "lookahead-router"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {name: value for name, value in self.__repr_args__() if name}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        name = kwargs.get("model") or self.candidate or "lookahead-router"
        params = LangSmithParams(ls_provider="lookahead_router", ls_model_type="chat", ls_model_name=name)
        if stop:
            params["ls_stop"] = stop
        return params

    def __repr_args__(self) -> list[tuple[str, Any]]:
        # Candidates by name only: their own repr may hold keys.
        names = ("policy", "default", "fallbacks", "sticky", "candidate")
        settings = ((name, getattr(self, name)) for name in names)
        return [("candidates", list(self.candidates)), *((name, value) for name, value in settings if value)]

    def __deepcopy__(self, memo: dict | None = None) -> "ChatLookaheadRouter":
        # Weights are shared, and clients too: most of them hold locks that cannot be copied.
        return self.model_copy(update={"candidates": dict(self.candidates)})


def _check_names(fields: dict[str, Any], known: Any) -> None:
    for name in fields:
        if name not in known and name not in _GENERATION_OPTIONS:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ConfigurationError(f"ChatLookaheadRouter has no option {name!r}{hint}")
    for name in _CANDIDATES_OWN:
        if fields.get(name) is not None:
            raise ConfigurationError(f"the router has no {name}; set it on the candidates")
    ignored = sorted(set(fields) & _GENERATION_OPTIONS)
    for name in ignored:
        del fields[name]
    if ignored:
        message = f"the router ignores {', '.join(ignored)}; set it on the candidates"
        warnings.warn(message, LookaheadRouterWarning, stacklevel=3)


def _run_settings(step: Step) -> dict[str, Any]:
    return {name: step.config.get(name) for name in ("callbacks", "tags", "metadata")}


def _generate(step: Step, call: Call) -> LLMResult:
    return step.model.generate([step.messages], **_run_settings(step), **call.kwargs)


async def _agenerate(step: Step, call: Call) -> LLMResult:
    return await step.model.agenerate([step.messages], **_run_settings(step), **call.kwargs)


def _joined(results: Sequence[LLMResult]) -> LLMResult:
    return LLMResult(
        generations=[row for result in results for row in result.generations],
        llm_output=results[0].llm_output if len(results) == 1 else {},
        run=[run for result in results for run in result.run or []],
    )
