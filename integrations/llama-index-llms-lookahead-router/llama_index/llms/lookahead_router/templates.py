"""Calls by a template, which say what the question is among the text that they send."""

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.llms.structured_llm import StructuredLLM

from llama_index.llms.lookahead_router.scope import (
    RECORD_KEY,
    Records,
    aeach_within,
    asking,
    each_within,
    recording,
    within,
)


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
    """What `as_structured_llm` gives. Chunks of a stream say who answers, as whole responses do."""

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        """As `StructuredLLM.stream_chat`."""
        records, scope = recording()
        with within(scope):
            stream = super().stream_chat(messages, **kwargs)
        return _each_told(each_within(scope, stream), records)

    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        """As `StructuredLLM.astream_chat`."""
        records, scope = recording()
        with within(scope):
            stream = await super().astream_chat(messages, **kwargs)
        return _aeach_told(aeach_within(scope, stream), records)


def _each_told(stream: Generator, records: Records) -> Generator:
    with closing(stream):
        for response in stream:
            response.additional_kwargs[RECORD_KEY] = records.summary
            yield response


async def _aeach_told(stream: AsyncGenerator, records: Records) -> AsyncGenerator:
    async with aclosing(stream):
        async for response in stream:
            response.additional_kwargs[RECORD_KEY] = records.summary
            yield response
