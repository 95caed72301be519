"""Calls by a template, which say what the question is among the text that they send."""

from typing import Any

from llama_index.core.llms.structured_llm import StructuredLLM

from llama_index.llms.lookahead_router.scope import aeach_within, asking, each_within, within


class AsksByTemplate:
    """The methods of `LLM` that take a template; the question among its variables holds for the calls they make."""

    def predict(self, prompt: Any, **prompt_args: Any) -> Any:
        """As `LLM.predict`."""
        with within(asking(prompt, prompt_args)):
            return super().predict(prompt, **prompt_args)

    async def apredict(self, prompt: Any, **prompt_args: Any) -> Any:
        """As `LLM.apredict`."""
        with within(asking(prompt, prompt_args)):
            return await super().apredict(prompt, **prompt_args)

    def stream(self, prompt: Any, **prompt_args: Any) -> Any:
        """As `LLM.stream`."""
        with within(asking(prompt, prompt_args)):
            return super().stream(prompt, **prompt_args)

    async def astream(self, prompt: Any, **prompt_args: Any) -> Any:
        """As `LLM.astream`."""
        with within(asking(prompt, prompt_args)):
            return await super().astream(prompt, **prompt_args)

    def structured_predict(self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any) -> Any:
        """As `LLM.structured_predict`."""
        with within(asking(prompt, prompt_args)):
            return super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        """As `LLM.astructured_predict`."""
        with within(asking(prompt, prompt_args)):
            return await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    def stream_structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        """As `LLM.stream_structured_predict`."""
        scope = asking(prompt, prompt_args)
        with within(scope):
            return each_within(scope, super().stream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args))

    async def astream_structured_predict(
        self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **prompt_args: Any
    ) -> Any:
        """As `LLM.astream_structured_predict`."""
        scope = asking(prompt, prompt_args)
        with within(scope):
            stream = await super().astream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return aeach_within(scope, stream)


class RoutedStructuredLLM(AsksByTemplate, StructuredLLM):
    """What `as_structured_llm` gives."""
