"""Chat models by name, and what is bound to them at the moment of the call."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
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


class Binding:
    """Something bound to the router, replayed on whichever model is chosen."""

    need: str
    """The capability that the chosen model must have."""

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

    need = "tools"

    def __init__(self, tools: Sequence[Any], tool_choice: Any, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.tools, self.kwargs = list(tools), kwargs
        if tool_choice is not None:  # not every bind_tools knows it
            self.kwargs = {**kwargs, "tool_choice": tool_choice}

    def _apply(self, model: BaseChatModel) -> Runnable:
        return model.bind_tools(self.tools, **self.kwargs)


class SchemaBinding(Binding):
    """Arguments of `with_structured_output`."""

    need = "structured output"

    def __init__(self, schema: Any, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.schema, self.kwargs = schema, kwargs

    def _apply(self, model: BaseChatModel) -> Runnable:
        return model.with_structured_output(self.schema, **self.kwargs)
