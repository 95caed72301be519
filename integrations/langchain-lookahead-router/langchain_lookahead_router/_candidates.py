"""Chat models by name, and what is bound to them at the moment of the call."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from lookahead_router.errors import ConfigurationError

EXTRA_HINT = "pip install 'langchain-lookahead-router[agents]'"


def chat_models(candidates: Any) -> dict[str, BaseChatModel]:
    """Chat models by name; strings are made into models by `init_chat_model`.

    Raises:
        ConfigurationError: no candidates, or one that is not a chat model.
        ImportError: a string, without `langchain`.
    """
    if not isinstance(candidates, Mapping) or not candidates:
        raise ConfigurationError("candidates must be a mapping {name: chat model or model string}, and not empty")
    return {name: _chat_model(name, value) for name, value in candidates.items()}


def _chat_model(name: Any, value: Any) -> BaseChatModel:
    if not isinstance(name, str):
        raise ConfigurationError(f"candidate names must be strings, got {type(name).__name__}")
    if isinstance(value, BaseChatModel):
        return value
    if isinstance(value, str):
        try:
            from langchain.chat_models import init_chat_model
        except ImportError as error:
            raise ImportError(f"candidate {name!r} is a model string, which needs langchain: {EXTRA_HINT}") from error
        return init_chat_model(value)
    hint = "; bind tools, retries and fallbacks to the router instead" if isinstance(value, Runnable) else ""
    raise ConfigurationError(
        f"candidate {name!r} must be a chat model or a model string, not {type(value).__name__}{hint}"
    )


class Definitions:
    """Tools in OpenAI's form, which is that of windows and tokens; those of the last call are kept, since schemas are
    slow to convert."""

    def __init__(self) -> None:
        self._last: tuple[list[Any], list[dict[str, Any]]] = ([], [])

    def of(self, tools: Any) -> list[dict[str, Any]]:
        """The definitions of a call's tools, whatever a model's `bind_tools` takes."""
        tools = list(tools) if isinstance(tools, Sequence) and not isinstance(tools, str) else []
        known, definitions = self._last
        if len(known) != len(tools) or any(old is not new for old, new in zip(known, tools, strict=True)):
            definitions = [_definition(tool) for tool in tools]
            self._last = tools, definitions
        return definitions


def _definition(tool: Any) -> dict[str, Any]:
    try:
        return convert_to_openai_tool(tool)
    except Exception:  # a provider's own kind of tool; its class knows what to do with it
        return {"type": str(tool)}


def needs_of(kwargs: Mapping[str, Any]) -> list[str]:
    """What a call's own arguments say that it needs, beside its tools."""
    form = kwargs.get("response_format")
    is_text = isinstance(form, Mapping) and form.get("type") == "text"
    return ["structured output"] if form is not None and not is_text else []


class Binding:
    """Something bound to the router, replayed on whichever model is chosen."""

    needs: tuple[str, ...] = ()
    """Capabilities that the chosen model must have."""
    tools: Sequence[Any] = ()
    """Handed over with the call."""

    def __init__(self) -> None:
        self._applied: dict[int, tuple[BaseChatModel, Runnable]] = {}

    def to(self, model: BaseChatModel) -> Runnable:
        """The model with the binding; made once per model, since schemas are slow to convert."""
        kept = self._applied.get(id(model))
        if kept is None or kept[0] is not model:
            kept = self._applied[id(model)] = (model, self._apply(model))
        return kept[1]

    def _apply(self, model: BaseChatModel) -> Runnable:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_applied": {}}  # ids mean nothing elsewhere


class ToolBinding(Binding):
    """Arguments of `bind_tools`, unconverted: every provider has its own format."""

    def __init__(self, tools: Sequence[Any], tool_choice: Any, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.tools, self.kwargs = list(tools), kwargs
        if tool_choice is not None:  # not every bind_tools knows it
            self.kwargs = {**kwargs, "tool_choice": tool_choice}

    def _apply(self, model: BaseChatModel) -> Runnable:
        return model.bind_tools(self.tools, **self.kwargs)


class SchemaBinding(Binding):
    """Arguments of `with_structured_output`."""

    needs = ("structured output",)

    def __init__(self, schema: Any, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.schema, self.kwargs = schema, kwargs

    def _apply(self, model: BaseChatModel) -> Runnable:
        return model.with_structured_output(self.schema, **self.kwargs)
